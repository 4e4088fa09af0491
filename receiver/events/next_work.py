"""When a job is looked at next: the work that is due after each word about it.

Whatever is open has something due, except a job that only its operator or its deadline can move on.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from handlers.values import immutable
from receiver.domain.lifecycle import Change
from receiver.domain.model import Job, Outcome, ScheduledWork, Source, State, Verdict, Waiting, Word, Work
from receiver.domain.poll_schedule import PollSchedule, hinted_poll, next_poll, next_submit, retried
from receiver.store.due_changes import Then

UNANSWERED = frozenset({State.PENDING, State.SUBMITTING})
ACCEPTED = frozenset({State.QUEUED, State.RUNNING})
PAID_TRIES = 3
"""Submissions that `on_unconfirmed = "resubmit"` pays for before a job is left to its operator."""
UNCHANGED: tuple[ScheduledWork | None, Then] = (None, Then.KEEP)
NOTHING: tuple[ScheduledWork | None, Then] = (None, Then.REPLACE)


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

    def after(self, before: Job, change: Change, word: Word) -> tuple[ScheduledWork | None, Then]:
        """Return the due work after a word, and how it stands to the work that was due before."""
        job = change.job
        if change.outcome is Outcome.REFUSED:
            return UNCHANGED
        if job.state.final:
            return self._ended(before, change, word)
        if job.state in UNANSWERED:
            return self._submit_again(before, job, word)
        if job.provider_job_id is None:
            return self._unidentified(before, job, word)
        if not self._polls.can_poll(job):
            return UNCHANGED if before.state is job.state and word.claim is None else NOTHING
        return self._polled(before, job, word)

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

    def _polled(self, before: Job, job: Job, word: Word) -> tuple[ScheduledWork | None, Then]:
        if word.verdict is Verdict.BIND:
            return ScheduledWork(Work.POLL, job.account, word.at), Then.REPLACE
        if word.source is Source.CALLBACK:
            return self._after_callback(before, job, word)
        if word.update is None and word.verdict is None:
            return UNCHANGED
        return self._next_poll(job, word), Then.REPLACE

    def _next_poll(self, job: Job, word: Word) -> ScheduledWork:
        polls = word.claim.tries + 1 if word.claim and word.source is Source.POLL else 0
        due = next_poll(
            job, self._polls.rhythm(job), now=word.at, polls=polls, jitter=self._chance(), wait=word.wait
        )
        if not job.poll_wanted or word.wait is not None:
            return due
        hinted = hinted_poll(job, now=word.at)
        return hinted if hinted.at < due.at else due

    def _ended(self, before: Job, change: Change, word: Word) -> tuple[ScheduledWork | None, Then]:
        """A job that ended is asked about again for two reasons: to cancel it at the provider, and to confirm
        that its result came late."""
        job = change.job
        answers = word.claim is not None and word.source is not Source.SUBMISSION
        if job.cancel_wanted and job.provider_job_id is not None:
            if word.verdict is Verdict.CANCEL_FAILED:
                return self._again(job, word), Then.REPLACE
            unasked = not before.state.final or before.provider_job_id is None
            return (ScheduledWork(Work.POLL, job.account, word.at), Then.REPLACE) if unasked else UNCHANGED
        if not before.state.final:
            return NOTHING
        if job.poll_wanted and job.provider_job_id is not None:
            return hinted_poll(job, now=word.at), Then.REPLACE if answers else Then.HASTEN
        if not answers:
            return UNCHANGED
        if job.hinted_polls and _leaves_open(change, word):
            return self._again(job, word), Then.REPLACE
        return NOTHING

    def _again(self, job: Job, word: Word) -> ScheduledWork | None:
        asked = word.claim is not None and word.verdict is not Verdict.CANCEL_ASKED
        tries = word.claim.tries + 1 if asked and word.claim else 0
        return retried(job, now=word.at, tries=tries, jitter=self._chance(), wait=word.wait)

    def _submit_again(self, before: Job, job: Job, word: Word) -> tuple[ScheduledWork | None, Then]:
        if word.claim is None and before.state is job.state:
            return UNCHANGED
        if job.state is State.SUBMITTING and word.verdict is not Verdict.LOST:
            return UNCHANGED
        tries = word.claim.tries + 1 if word.claim else 0
        if word.wait is not None and word.verdict is Verdict.RESTORE:
            tries -= 1
        due = next_submit(job, now=word.at, tries=max(tries, 0), jitter=self._chance(), wait=word.wait)
        return due, Then.REPLACE

    def _unidentified(self, before: Job, job: Job, word: Word) -> tuple[ScheduledWork | None, Then]:
        """A job without a known id at the provider: there is only a guess to poll, or nothing."""
        if job.state is not State.UNCONFIRMED:
            # A submission that is still out loses its lease, and its answer is folded as a late one.
            return UNCHANGED if before.state is job.state and word.claim is None else NOTHING
        if job.guessed_id is not None and job.poll_wanted:
            then = Then.HASTEN if before.state is job.state else Then.REPLACE
            return hinted_poll(job, now=word.at), then
        if job.guessed_id is not None and word.guess is not None and word.claim is not None:
            again = retried(job, now=word.at, tries=word.claim.tries + 1, jitter=self._chance())
            return again, Then.REPLACE
        if before.state is job.state and word.claim is None:
            return UNCHANGED
        return self.policy(job, word.at), Then.REPLACE

    def _after_callback(self, before: Job, job: Job, word: Word) -> tuple[ScheduledWork | None, Then]:
        if before.provider_job_id is None or before.state not in ACCEPTED:
            return self._next_poll(job, word), Then.REPLACE
        if job.poll_wanted and not before.poll_wanted:
            return hinted_poll(job, now=word.at), Then.HASTEN
        return UNCHANGED


def _leaves_open(change: Change, word: Word) -> bool:
    """Return whether an answer about an ended job says nothing of the result that a callback told of."""
    unsaid = {Verdict.TRANSIENT, Verdict.MISS, Verdict.CANCEL_ASKED}
    return word.verdict in unsaid or change.outcome is Outcome.INCOMPLETE


def with_wait_reason(job: Job, word: Word, due: ScheduledWork | None) -> Job:
    """Return `job` with the reason why it waits, as the word leaves it."""
    if job.state.final or word.trouble is None or due is None:
        moves = job.waiting is not None and (word.update is not None or job.state.final)
        return job.but(waiting=None) if moves else job
    detail = word.error.message if word.error else ""
    known = job.waiting
    since = known.since if known is not None and known.reason is word.trouble else word.at
    return job.but(waiting=Waiting(word.trouble, detail, since, due.at))
