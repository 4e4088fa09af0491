"""The due work of a job after each report.

Every open job has something due, except a job that only its operator or its deadline can move on.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from handlers.values import immutable
from receiver.domain.lifecycle import Change
from receiver.domain.model import Job, Outcome, ScheduledWork, Source, State, Waiting, Work
from receiver.domain.poll_schedule import PollSchedule, hinted_poll, next_poll, next_submit, retried
from receiver.domain.reports import (
    Action,
    FailureKind,
    Note,
    ProviderFailure,
    ProviderUpdate,
    Report,
    error_of,
    guess_of,
    meaning_of,
    wait_of,
)
from receiver.store.due_changes import DueChange, Hasten, Keep, Replace

UNANSWERED = frozenset({State.PENDING, State.SUBMITTING})
"""The states of a job before the answer to its submission."""
ACCEPTED = frozenset({State.QUEUED, State.RUNNING})
"""The states of an open job that the provider has accepted."""
PAID_TRIES = 3
"""Submissions that `on_unconfirmed = "resubmit"` pays for before a job is left to its operator."""
UNCHANGED = Keep()
NOTHING = Replace(None)


@immutable
class JobPolicy:
    """The settings that decide the consequences of a report."""

    on_unconfirmed: str
    unconfirmed_after: timedelta
    link_base: str
    link_life: timedelta


class PollPolicy(Protocol):
    """The knowledge of which jobs can be polled, and when."""

    def can_poll(self, job: Job, /) -> bool:
        """Return whether the job's provider can be asked about it."""

    def polls(self, job: Job, /) -> bool:
        """Return whether a poll of the provider can yield anything about the job now."""

    def rhythm(self, job: Job, /) -> PollSchedule:
        """Return the poll schedule of the job's account."""


class NextWork:
    """The rules for the next due work of a job."""

    def __init__(self, polls: PollPolicy, rules: JobPolicy, chance: Callable[[], float]) -> None:
        self._polls = polls
        self._rules = rules
        self._chance = chance

    def after(self, before: Job, change: Change, report: Report) -> DueChange:
        """Return the due work after a report, and how it changes the work that was due before."""
        job = change.job
        # A callback that failed its proof may come from any sender: it must not move due work.
        if change.outcome is Outcome.REFUSED:
            return UNCHANGED
        if job.state.final:
            return self._ended(before, change, report)
        # The order matters: from here on the job was submitted, and from the next test on its id is known.
        if job.state in UNANSWERED:
            return self._submit_again(before, job, report)
        if job.provider_job_id is None:
            return self._unidentified(before, job, report)
        # Only a callback or the deadline can end this job. The due row of its submission, if this report
        # settles or overtakes it, is removed.
        if not self._polls.can_poll(job):
            return UNCHANGED if before.state is job.state and report.claim is None else NOTHING
        return self._polled(before, job, report)

    @property
    def decides(self) -> timedelta | None:
        """Return the time from a lost answer to the policy's decision, None where the policy is `hold`."""
        return None if self._rules.on_unconfirmed == "hold" else self._rules.unconfirmed_after

    def policy(self, job: Job, now: datetime) -> ScheduledWork | None:
        """Return the due work by which the policy for lost answers decides about a job, None for never."""
        policy = self._rules.on_unconfirmed
        if job.state is not State.UNCONFIRMED or policy == "hold":
            return None
        # Each resubmission may be paid for, so their number is bounded.
        if policy == "resubmit" and job.intents >= PAID_TRIES:
            return None
        return ScheduledWork(
            Work.POLL, job.account, min(now + self._rules.unconfirmed_after, job.deadline_at)
        )

    def _polled(self, before: Job, job: Job, report: Report) -> DueChange:
        # The operator has just named the id: its first poll does not wait for the schedule.
        if meaning_of(report) is Action.BIND:
            return Replace(ScheduledWork(Work.POLL, job.account, report.at))
        if report.source is Source.CALLBACK:
            return self._after_callback(before, job, report)
        # A note settles no due work, so the scheduled poll stays.
        if isinstance(report, Note):
            return UNCHANGED
        return Replace(self._next_poll(job, report))

    def _next_poll(self, job: Job, report: Report) -> ScheduledWork:
        polls = report.claim.tries + 1 if report.claim and report.source is Source.POLL else 0
        due = next_poll(
            job,
            self._polls.rhythm(job),
            now=report.at,
            polls=polls,
            jitter=self._chance(),
            wait=wait_of(report),
        )
        # A wait after this report (throttled or refused) is kept: a hint must not shorten it.
        if not job.poll_wanted or wait_of(report) is not None:
            return due
        hinted = hinted_poll(job, now=report.at)
        return hinted if hinted.at < due.at else due

    def _ended(self, before: Job, change: Change, report: Report) -> DueChange:
        """Return the due work of an ended job: a call to cancel it, or a poll to confirm a late result."""
        job = change.job
        answers = report.claim is not None and report.source is not Source.SUBMISSION
        # A cancellation needs the provider's id, which may become known only after the end.
        if job.cancel_wanted and job.provider_job_id is not None:
            if meaning_of(report) is Action.CANCEL_FAILED:
                return Replace(self._again(job, report))
            # The request is due once: when the job ends, or when its id becomes known. After that it is under
            # way or waits for its next try.
            unasked = not before.state.final or before.provider_job_id is None
            return Replace(ScheduledWork(Work.POLL, job.account, report.at)) if unasked else UNCHANGED
        # The job ended with this report: the work that was due before is obsolete.
        if not before.state.final:
            return NOTHING
        if job.poll_wanted and job.provider_job_id is not None:
            hinted = hinted_poll(job, now=report.at)
            # The row of a poll that this report settles is replaced; a poll still under way must not lose its
            # claim to a hint, so it is only hastened.
            return Replace(hinted) if answers else Hasten(hinted)
        # This report settles nothing, so a poll that is due or under way stays.
        if not answers:
            return UNCHANGED
        # A hint announced a late result and the answer did not show it: polled again, a bounded number of
        # times.
        if job.hinted_polls and _leaves_open(change, report):
            return Replace(self._again(job, report))
        return NOTHING

    def _again(self, job: Job, report: Report) -> ScheduledWork | None:
        # The tries of a cancellation that has succeeded do not count for the poll that follows it.
        is_retry = report.claim is not None and meaning_of(report) is not Action.CANCEL_ASKED
        tries = report.claim.tries + 1 if is_retry and report.claim else 0
        return retried(job, now=report.at, tries=tries, jitter=self._chance(), wait=wait_of(report))

    def _submit_again(self, before: Job, job: Job, report: Report) -> DueChange:
        # A report without a claim that moves nothing leaves the submission that is due or under way.
        if report.claim is None and before.state is job.state:
            return UNCHANGED
        # The submission is under way: only its own outcome makes it due again.
        if job.state is State.SUBMITTING and meaning_of(report) is not FailureKind.LOST:
            return UNCHANGED
        tries = report.claim.tries + 1 if report.claim else 0
        if wait_of(report) is not None and meaning_of(report) is FailureKind.RESTORE:
            # The wait paces this try already, so the job's own backoff does not grow.
            tries -= 1
        due = next_submit(
            job, now=report.at, tries=max(tries, 0), jitter=self._chance(), wait=wait_of(report)
        )
        return Replace(due)

    def _unidentified(self, before: Job, job: Job, report: Report) -> DueChange:
        """Return the due work of a job without a provider id: a poll of its guess, the policy, or nothing."""
        if job.state is not State.UNCONFIRMED:
            # Accepted without an id, as by a callback ahead of the answer. A submission under way loses its
            # claim; its answer is folded as a late one. Why: receiver/README.md#a-late-answer-still-counts
            return UNCHANGED if before.state is job.state and report.claim is None else NOTHING
        if job.guessed_id is not None and job.poll_wanted:
            hinted = hinted_poll(job, now=report.at)
            # In the same state the row of the policy is there already, and a poll under way keeps its claim.
            return Hasten(hinted) if before.state is job.state else Replace(hinted)
        # A poll of the guess failed for the moment: tried again, at most `RETRIES` times.
        if job.guessed_id is not None and guess_of(report) is not None and report.claim is not None:
            again = retried(job, now=report.at, tries=report.claim.tries + 1, jitter=self._chance())
            return Replace(again)
        # A report that moves nothing must not postpone the policy's decision.
        if before.state is job.state and report.claim is None:
            return UNCHANGED
        return Replace(self.policy(job, report.at))

    def _after_callback(self, before: Job, job: Job, report: Report) -> DueChange:
        # The callback made the job known: its first poll takes the place of the submission or of the policy.
        if before.provider_job_id is None or before.state not in ACCEPTED:
            return Replace(self._next_poll(job, report))
        if job.poll_wanted and not before.poll_wanted:
            return Hasten(hinted_poll(job, now=report.at))
        return UNCHANGED


def _leaves_open(change: Change, report: Report) -> bool:
    """Return whether an answer about an ended job leaves open the result that a callback announced."""
    unsaid = {FailureKind.TRANSIENT, FailureKind.MISS, Action.CANCEL_ASKED}
    return meaning_of(report) in unsaid or change.outcome is Outcome.INCOMPLETE


def with_wait_reason(job: Job, report: Report, due: ScheduledWork | None) -> Job:
    """Return `job` with the reason why it waits after a report."""
    trouble = report.trouble if isinstance(report, ProviderFailure) else None
    if job.state.final or trouble is None or due is None:
        moves = job.waiting is not None and (isinstance(report, ProviderUpdate) or job.state.final)
        return job.but(waiting=None) if moves else job
    # The wait began with the first failure of its kind: a repeated one does not restart `since`.
    error, known = error_of(report), job.waiting
    since = known.since if known is not None and known.reason is trouble else report.at
    return job.but(waiting=Waiting(trouble, error.message if error else "", since, due.at))
