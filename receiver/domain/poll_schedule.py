"""Schedules of polls and of repeated submissions."""

from datetime import datetime, timedelta

from handlers.contract import Cadence
from handlers.values import immutable
from receiver.domain.model import Job, ScheduledWork, State, Work

SUBMIT_BACKOFF = timedelta(seconds=2)
"""The first pause between tries of a submission, of a call about an ended job or of a guess's poll. It
doubles with each try, so that an unavailable provider receives few calls.
"""
BACKOFF_CEILING = timedelta(minutes=2)
"""The longest of these pauses, unless the provider requests a longer one. It bounds the delay of a job once
its provider is available again.
"""
# Hints need no proof, so their polls are bounded. Why: receiver/README.md#hints-have-a-budget
HINTED_POLLS = 20
"""The number of polls that hints may cause until a poll brings something new."""
ENDED_POLLS = 2
"""The same after the end of a job: fewer, because only a late result can still be new."""
HINT_GAP = timedelta(seconds=1)
"""The time between the first two hinted polls. It doubles with each hinted poll, so that a burst of hints
causes few of them.
"""
HINT_GAP_CEILING = timedelta(minutes=1)
"""The longest time between two hinted polls of an open job, and the time between any two of an ended job. It
bounds the delay of the poll after a hint.
"""
RETRIES = 10
"""The most tries, without an answer, of a call about an ended job or of a poll of a guess. Bounded because no
deadline ends the tries for an ended job, and a guess may be wrong.
"""


@immutable
class PollSchedule:
    """A provider's cadence, overridden by the account's settings."""

    cadence: Cadence
    interval: timedelta | None = None
    backstop: timedelta | None = None

    def first(self, *, expects_callback: bool) -> timedelta:
        """Return the time between the acceptance of a job and its first poll."""
        if expects_callback:
            return self.backstop if self.backstop is not None else self.cadence.backstop
        return self.interval or self.cadence.first

    def after(self, polls: int, *, expects_callback: bool) -> timedelta:
        """Return the time to wait after poll number `polls`, counted from 1."""
        base = self.interval or self.cadence.interval
        if expects_callback:
            base = max(base, self.first(expects_callback=True))
        ceiling = max(self.cadence.ceiling, base)
        # The bounds 60 and 1000 keep the power within a float and the product within a timedelta.
        return min(base * min(self.cadence.factor ** min(polls, 60), 1000.0), ceiling)


def next_poll(
    job: Job, rhythm: PollSchedule, *, now: datetime, polls: int, jitter: float, wait: timedelta | None = None
) -> ScheduledWork:
    """Return the next poll, at the latest at the deadline.

    `jitter` in 0..1 delays a poll by up to a tenth of its pause, except a first poll without `wait`: first
    polls keep the distances and the order of the acceptances, so that rows written together stay together.
    """
    callback = job.expects_callback
    pause = (
        rhythm.after(polls, expects_callback=callback) if polls else rhythm.first(expects_callback=callback)
    )
    # Jitter moved neighbouring rows to distant pages. Why: receiver/README.md#the-first-poll-is-not-spread
    spread = 1 + 0.1 * jitter if polls or wait else 1.0
    at = min(now + max(pause, wait or timedelta()) * spread, max(job.deadline_at, now))
    return ScheduledWork(Work.POLL, job.account, at, polls)


def next_submit(
    job: Job, *, now: datetime, tries: int, jitter: float, wait: timedelta | None
) -> ScheduledWork:
    """Return the next try of a submission of which nothing was accepted. The first try is due at once."""
    # The exponent is bounded because a timedelta overflows; 2 s * 2**10 is already above the ceiling.
    pause = min(SUBMIT_BACKOFF * 2 ** min(max(tries - 1, 0), 10), BACKOFF_CEILING) if tries else timedelta()
    pause = max(pause, wait or timedelta())
    return ScheduledWork(Work.SUBMIT, job.account, now + pause * (1 + 0.1 * jitter), tries)


def hint_gap(job: Job) -> timedelta:
    """Return the shortest time from the latest hinted poll to the next one."""
    if job.state.final:
        return HINT_GAP_CEILING
    return min(HINT_GAP * (1 << min(max(job.hinted_polls - 1, 0), 10)), HINT_GAP_CEILING)


def hinted_poll(job: Job, *, now: datetime) -> ScheduledWork:
    """Return the poll that a hint caused, delayed to the pace that hints are allowed."""
    # `hint_after` is the earliest moment of the hinted poll after this one: one gap before it lies this one.
    paced = job.hint_after - hint_gap(job) if job.hint_after else now
    return ScheduledWork(Work.POLL, job.account, max(now, paced))


def retried(
    job: Job, *, now: datetime, tries: int, jitter: float, wait: timedelta | None = None
) -> ScheduledWork | None:
    """Return the next try of a call about an ended job or of a guess's poll; None after `RETRIES` tries."""
    if tries >= RETRIES:
        return None
    pause = max(min(SUBMIT_BACKOFF * 2**tries, BACKOFF_CEILING), wait or timedelta())
    return ScheduledWork(Work.POLL, job.account, now + pause * (1 + 0.1 * jitter), tries)


def is_polled(job: Job, *, can_poll: bool) -> bool:
    """Return whether a poll of the provider can yield anything about this job."""
    return can_poll and job.provider_job_id is not None and job.state is not State.PENDING
