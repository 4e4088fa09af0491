"""When a job is looked at next: the work that is due after each word about it.

Whatever is open has something due, except a job that only its operator or its deadline can move on.
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
ACCEPTED = frozenset({State.QUEUED, State.RUNNING})
PAID_TRIES = 3
"""Submissions that `on_unconfirmed = "resubmit"` pays for before a job is left to its operator."""
UNCHANGED = Keep()
NOTHING = Replace(None)


@immutable
class JobPolicy:
    """The settings that decide the consequences of a word."""

    on_unconfirmed: str
    unconfirmed_after: timedelta
    link_base: str
    link_life: timedelta


class PollPolicy(Protocol):
    """The knowledge of which jobs can be polled, and when."""

    def can_poll(self, job: Job, /) -> bool:
        """Return whether the job's provider can be asked about it."""

    def polls(self, job: Job, /) -> bool:
        """Return whether asking the provider now can tell anything about the job."""

    def rhythm(self, job: Job, /) -> PollSchedule:
        """Return when the job's account is polled."""


class NextWork:
    """The rules for the next due work of a job."""

    def __init__(self, polls: PollPolicy, rules: JobPolicy, chance: Callable[[], float]) -> None:
        self._polls = polls
        self._rules = rules
        self._chance = chance

    def after(self, before: Job, change: Change, report: Report) -> DueChange:
        """Return the due work after a word, and how it stands to the work that was due before."""
        job = change.job
        if change.outcome is Outcome.REFUSED:
            return UNCHANGED
        if job.state.final:
            return self._ended(before, change, report)
        if job.state in UNANSWERED:
            return self._submit_again(before, job, report)
        if job.provider_job_id is None:
            return self._unidentified(before, job, report)
        if not self._polls.can_poll(job):
            return UNCHANGED if before.state is job.state and report.claim is None else NOTHING
        return self._polled(before, job, report)

    @property
    def decides(self) -> timedelta | None:
        """How long after a lost answer the policy decides; None where it holds."""
        return None if self._rules.on_unconfirmed == "hold" else self._rules.unconfirmed_after

    def policy(self, job: Job, now: datetime) -> ScheduledWork | None:
        """Return when the policy for a lost answer decides about an unconfirmed job; None: never."""
        policy = self._rules.on_unconfirmed
        if job.state is not State.UNCONFIRMED or policy == "hold":
            return None
        if policy == "resubmit" and job.intents >= PAID_TRIES:
            return None
        return ScheduledWork(
            Work.POLL, job.account, min(now + self._rules.unconfirmed_after, job.deadline_at)
        )

    def _polled(self, before: Job, job: Job, report: Report) -> DueChange:
        if meaning_of(report) is Action.BIND:
            return Replace(ScheduledWork(Work.POLL, job.account, report.at))
        if report.source is Source.CALLBACK:
            return self._after_callback(before, job, report)
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
        if not job.poll_wanted or wait_of(report) is not None:
            return due
        hinted = hinted_poll(job, now=report.at)
        return hinted if hinted.at < due.at else due

    def _ended(self, before: Job, change: Change, report: Report) -> DueChange:
        """A job that ended is asked about again for two reasons: to cancel it at the provider, and to confirm
        that its result came late."""
        job = change.job
        answers = report.claim is not None and report.source is not Source.SUBMISSION
        if job.cancel_wanted and job.provider_job_id is not None:
            if meaning_of(report) is Action.CANCEL_FAILED:
                return Replace(self._again(job, report))
            unasked = not before.state.final or before.provider_job_id is None
            return Replace(ScheduledWork(Work.POLL, job.account, report.at)) if unasked else UNCHANGED
        if not before.state.final:
            return NOTHING
        if job.poll_wanted and job.provider_job_id is not None:
            hinted = hinted_poll(job, now=report.at)
            return Replace(hinted) if answers else Hasten(hinted)
        if not answers:
            return UNCHANGED
        if job.hinted_polls and _leaves_open(change, report):
            return Replace(self._again(job, report))
        return NOTHING

    def _again(self, job: Job, report: Report) -> ScheduledWork | None:
        asked = report.claim is not None and meaning_of(report) is not Action.CANCEL_ASKED
        tries = report.claim.tries + 1 if asked and report.claim else 0
        return retried(job, now=report.at, tries=tries, jitter=self._chance(), wait=wait_of(report))

    def _submit_again(self, before: Job, job: Job, report: Report) -> DueChange:
        if report.claim is None and before.state is job.state:
            return UNCHANGED
        if job.state is State.SUBMITTING and meaning_of(report) is not FailureKind.LOST:
            return UNCHANGED
        tries = report.claim.tries + 1 if report.claim else 0
        if wait_of(report) is not None and meaning_of(report) is FailureKind.RESTORE:
            tries -= 1
        due = next_submit(
            job, now=report.at, tries=max(tries, 0), jitter=self._chance(), wait=wait_of(report)
        )
        return Replace(due)

    def _unidentified(self, before: Job, job: Job, report: Report) -> DueChange:
        """A job without a known id at the provider: there is only a guess to poll, or nothing."""
        if job.state is not State.UNCONFIRMED:
            # A submission that is still out loses its lease, and its answer is folded as a late one.
            return UNCHANGED if before.state is job.state and report.claim is None else NOTHING
        if job.guessed_id is not None and job.poll_wanted:
            hinted = hinted_poll(job, now=report.at)
            return Hasten(hinted) if before.state is job.state else Replace(hinted)
        if job.guessed_id is not None and guess_of(report) is not None and report.claim is not None:
            again = retried(job, now=report.at, tries=report.claim.tries + 1, jitter=self._chance())
            return Replace(again)
        if before.state is job.state and report.claim is None:
            return UNCHANGED
        return Replace(self.policy(job, report.at))

    def _after_callback(self, before: Job, job: Job, report: Report) -> DueChange:
        if before.provider_job_id is None or before.state not in ACCEPTED:
            return Replace(self._next_poll(job, report))
        if job.poll_wanted and not before.poll_wanted:
            return Hasten(hinted_poll(job, now=report.at))
        return UNCHANGED


def _leaves_open(change: Change, report: Report) -> bool:
    """Return whether an answer about an ended job says nothing of the result that a callback told of."""
    unsaid = {FailureKind.TRANSIENT, FailureKind.MISS, Action.CANCEL_ASKED}
    return meaning_of(report) in unsaid or change.outcome is Outcome.INCOMPLETE


def with_wait_reason(job: Job, report: Report, due: ScheduledWork | None) -> Job:
    """Return `job` with the reason why it waits, as the report leaves it."""
    trouble = report.trouble if isinstance(report, ProviderFailure) else None
    if job.state.final or trouble is None or due is None:
        moves = job.waiting is not None and (isinstance(report, ProviderUpdate) or job.state.final)
        return job.but(waiting=None) if moves else job
    error, known = error_of(report), job.waiting
    since = known.since if known is not None and known.reason is trouble else report.at
    return job.but(waiting=Waiting(trouble, error.message if error else "", since, due.at))
