"""When to ask a provider again, and when to try a submission again."""

from datetime import datetime, timedelta

from handlers.contract import Cadence
from handlers.values import immutable
from receiver.domain.model import Job, ScheduledWork, State, Work

SUBMIT_BACKOFF = timedelta(seconds=2)
BACKOFF_CEILING = timedelta(minutes=2)
HINTED_POLLS = 20
"""Polls that unproved callbacks may ask for until a poll brings something new."""
ENDED_POLLS = 2
"""The same once the job has ended."""
HINT_GAP = timedelta(seconds=1)
HINT_GAP_CEILING = timedelta(minutes=1)
RETRIES = 10
"""How often a question about an ended job, or a guess, is repeated when it brings no answer."""


@immutable
class PollSchedule:
    """A provider's cadence with an account's settings laid over it."""

    cadence: Cadence
    interval: timedelta | None = None
    backstop: timedelta | None = None

    def first(self, *, expects_callback: bool) -> timedelta:
        """How long after the acceptance the first poll waits."""
        if expects_callback:
            return self.backstop if self.backstop is not None else self.cadence.backstop
        return self.interval or self.cadence.first

    def after(self, polls: int, *, expects_callback: bool) -> timedelta:
        """How long to wait after the poll number `polls`, counted from 1."""
        base = self.interval or self.cadence.interval
        if expects_callback:
            base = max(base, self.first(expects_callback=True))
        ceiling = max(self.cadence.ceiling, base)
        return min(base * min(self.cadence.factor ** min(polls, 60), 1000.0), ceiling)


def next_poll(
    job: Job, rhythm: PollSchedule, *, now: datetime, polls: int, jitter: float, wait: timedelta | None = None
) -> ScheduledWork:
    """The next poll, never after the deadline; `jitter` in 0..1 spreads polls by up to a tenth. The first are
    as far apart as the acceptances, and in their order: what is written together lies together.
    """
    callback = job.expects_callback
    pause = (
        rhythm.after(polls, expects_callback=callback) if polls else rhythm.first(expects_callback=callback)
    )
    spread = 1 + 0.1 * jitter if polls or wait else 1.0
    at = min(now + max(pause, wait or timedelta()) * spread, max(job.deadline_at, now))
    return ScheduledWork(Work.POLL, job.account, at, polls)


def next_submit(
    job: Job, *, now: datetime, tries: int, jitter: float, wait: timedelta | None
) -> ScheduledWork:
    """The next try of a submission of which nothing was accepted."""
    pause = min(SUBMIT_BACKOFF * 2 ** min(max(tries - 1, 0), 10), BACKOFF_CEILING) if tries else timedelta()
    pause = max(pause, wait or timedelta())
    return ScheduledWork(Work.SUBMIT, job.account, now + pause * (1 + 0.1 * jitter), tries)


def hint_gap(job: Job) -> timedelta:
    """Return how far the latest poll that a callback asked for is from the next such poll."""
    if job.state.final:
        return HINT_GAP_CEILING
    return min(HINT_GAP * (1 << min(max(job.hinted_polls - 1, 0), 10)), HINT_GAP_CEILING)


def hinted_poll(job: Job, *, now: datetime) -> ScheduledWork:
    """Return the poll that an unproved callback asked for, at the pace that such callbacks are allowed."""
    paced = job.hint_after - hint_gap(job) if job.hint_after else now
    return ScheduledWork(Work.POLL, job.account, max(now, paced))


def retried(
    job: Job, *, now: datetime, tries: int, jitter: float, wait: timedelta | None = None
) -> ScheduledWork | None:
    """Return the next try of a question about an ended job, or of a guess; None when there were enough."""
    if tries >= RETRIES:
        return None
    pause = max(min(SUBMIT_BACKOFF * 2**tries, BACKOFF_CEILING), wait or timedelta())
    return ScheduledWork(Work.POLL, job.account, now + pause * (1 + 0.1 * jitter), tries)


def is_polled(job: Job, *, can_poll: bool) -> bool:
    """Whether asking the provider can tell us anything about this job."""
    return can_poll and job.provider_job_id is not None and job.state is not State.PENDING
