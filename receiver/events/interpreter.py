"""What a word means for a job: the handler's rules, the account's rhythm and the state machine together.

Pure but for what it was made with; it runs inside the recording transaction.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from handlers.contract import FailureCode, Operation, Proof, Update
from receiver.config.load import AccountSetup
from receiver.domain import lifecycle
from receiver.domain.lifecycle import BECOMES, RANK, Change
from receiver.domain.model import By, Event, Job, JobError, Outcome, Source, State, Verdict, Word
from receiver.domain.poll_schedule import (
    ENDED_POLLS,
    HINTED_POLLS,
    RETRIES,
    PollSchedule,
    hint_gap,
    is_polled,
)
from receiver.domain.rendering import asset_view, event_body, job_view
from receiver.events.next_work import UNANSWERED, JobPolicy, NextWork, with_wait_reason
from receiver.security.ids import event_id
from receiver.security.tokens import MasterKeys
from receiver.store.record import Folded

ENDED_BY = {Source.CALLBACK: By.CALLBACK, Source.POLL: By.POLL, Source.SUBMISSION: By.SUBMIT}
DOUBTFUL = frozenset({Outcome.HINT, Outcome.UNPARSED, Outcome.INCOMPLETE, Outcome.UNKNOWN_WORD})
"""What a callback may come to that a poll should clear up."""
RESUBMISSIONS = 8
"""How often a lost answer is asked for again under the provider's own idempotency key."""
ONCE = {f"job.{state.value}": "final" for state in lifecycle.ABANDONED} | {
    "job.succeeded": "final",
    "job.failed": "final",
}
"""Events of which a job has one of all these: they share their id."""


class Interpreter:
    """Folds words and renders events for the accounts and endpoints of one service."""

    def __init__(
        self,
        accounts: Mapping[str, AccountSetup],
        master_keys: MasterKeys,
        rules: JobPolicy,
        chance: Callable[[], float],
    ) -> None:
        self._accounts = accounts
        self._master_keys = master_keys
        self._rules = rules
        self.next_work = NextWork(self, rules, chance)

    def operation(self, job: Job) -> Operation | None:
        """The operation of a job, while its account is configured."""
        setup = self._accounts.get(job.account)
        return setup.handler.operations.get(job.operation) if setup else None

    def fold(self, job: Job, word: Word) -> Folded:
        """Return the change that `word` makes to `job`, and the work that is due after it.

        A job past its deadline expires with its last poll. What that poll told short of an end is no event:
        it would show a state that the job is no longer in.
        """
        change = self._change(job, word)
        if word.source is Source.POLL and not change.job.state.final and word.at >= job.deadline_at:
            change = replace(change, job=(ended := lifecycle.expire(change.job, now=word.at)).job)
            change = replace(change, events=ended.events)
        change = self._remember(job, change, word)
        due, then = self.next_work.after(job, change, word)
        return Folded(with_wait_reason(change.job, word, due), change.events, change.outcome, due, then)

    def render(self, job: Job, event_type: str) -> Event:
        """The event of this type about `job` as it is now."""
        kind = ONCE.get(event_type, f"{event_type}|{job.sequence}")
        identity = event_id(job.id, kind)
        data = self.view(job)
        data = {"object": "job", "id": job.id, "sequence": job.sequence} | data
        body = event_body(identity, event_type, job.updated_at, data)
        return Event(identity, event_type, job.id, job.updated_at, job.sequence, body, job.result)

    def view(self, job: Job) -> dict[str, Any]:
        """A job as answers and events show it, without its result."""
        ended = job.completed_at or job.updated_at
        assets = [
            asset_view(index, asset, self.link(job.id, index, ended))
            for index, asset in enumerate(job.assets)
        ]
        return job_view(job, assets)

    def link(self, job_id: str, index: int, ended: datetime) -> str:
        """Our own stable link to an asset."""
        token = self._master_keys.asset_token(job_id, index, ended + self._rules.link_life)
        return f"{self._rules.link_base}/assets/{token}"

    def _change(self, job: Job, word: Word) -> Change:
        if word.guess is not None:
            return self._guessed(job, word)
        if word.update is not None:
            return self._advance(job, word, word.update)
        if word.verdict is None:
            late = job.state.final and word.kept_as is not Outcome.REFUSED
            return Change(job, outcome=Outcome.LATE if late else word.kept_as or Outcome.UNPARSED)
        change = self._rule(job, word)
        return replace(change, outcome=word.kept_as) if word.kept_as else change

    def _advance(self, job: Job, word: Word, update: Update) -> Change:
        if word.source is Source.CALLBACK and (word.proof is Proof.UNPROVED or word.confirm):
            return lifecycle.hint(job, update, now=word.at, guess=self._guesses(job))
        operation = self.operation(job)
        return lifecycle.advance(
            job,
            update,
            now=word.at,
            by=ENDED_BY[word.source],
            needs_file=operation is None or operation.kind is not None,
            can_poll=self.can_poll(job),
        )

    def _guessed(self, job: Job, word: Word) -> Change:
        """Take the answer to a poll of a guessed id: it makes the guess known, or drops it."""
        if job.guessed_id != word.guess or job.provider_job_id is not None:
            return Change(job, outcome=Outcome.LATE)
        if word.update is not None:
            known = job.but(provider_job_id=word.guess)
            return self._advance(known, word, replace(word.update, provider_job_id=word.guess))
        if word.verdict is Verdict.TRANSIENT and word.claim is not None and not _last(word):
            return Change(job, outcome=Outcome.ERROR)
        return Change(job.but(guessed_id=None), outcome=Outcome.ERROR)

    def _rule(self, job: Job, word: Word) -> Change:
        now, by = word.at, word.by or ENDED_BY.get(word.source, By.OPERATOR)
        error = word.error or JobError(FailureCode.LOST, "the submission's answer was lost")
        rules: Mapping[Verdict | None, Callable[[], Change]] = {
            Verdict.LOST: lambda: self._lose(job, word),
            Verdict.RESTORE: lambda: lifecycle.restore(job, now=now),
            Verdict.RESUBMIT: lambda: lifecycle.resubmit(job, now=now),
            Verdict.REJECT: lambda: lifecycle.fail(job, error, now=now, by=by),
            Verdict.GIVE_UP: lambda: lifecycle.give_up(job, error, now=now, by=by),
            Verdict.MISS: lambda: lifecycle.miss(job, now=now, by=by),
            Verdict.EXPIRE: lambda: lifecycle.expire(job, now=now),
            Verdict.CANCEL: lambda: lifecycle.cancel(job, now=now, ask=self._cancels(job)),
            Verdict.CANCEL_ASKED: lambda: Change(job.but(cancel_wanted=False)),
            Verdict.CANCEL_FAILED: lambda: lifecycle.cancel_failed(job, last=_last(word)),
            Verdict.BIND: lambda: lifecycle.bind(job, word.note or "", now=now),
            Verdict.TRANSIENT: lambda: Change(job, outcome=Outcome.ERROR),
        }
        return rules[word.verdict]()

    def _lose(self, job: Job, word: Word) -> Change:
        setup = self._accounts.get(job.account)
        again = setup is not None and setup.handler.idempotent_submit and job.state is State.SUBMITTING
        if again and word.claim is not None and word.claim.tries < RESUBMISSIONS:
            return Change(job, outcome=Outcome.ERROR)
        return lifecycle.lose(job, now=word.at)

    def _remember(self, before: Job, change: Change, word: Word) -> Change:
        """Note that a poll is to clear up a doubtful callback, within the budget of such polls."""
        job = change.job
        if word.source is Source.POLL and change.outcome is Outcome.APPLIED and not job.state.final:
            return replace(change, job=job.but(hinted_polls=0, hint_after=None))
        if not self._doubtful(before, change, word) or job.poll_wanted:
            return change
        budget = ENDED_POLLS if job.state.final else HINTED_POLLS
        if job.hinted_polls >= budget:
            return change
        at = max(word.at, job.hint_after or word.at)
        hinted = job.but(poll_wanted=True, hinted_polls=job.hinted_polls + 1)
        return replace(change, job=hinted.but(hint_after=at + hint_gap(hinted)))

    def _doubtful(self, before: Job, change: Change, word: Word) -> bool:
        """Return whether a callback tells of something that only a poll can confirm."""
        if word.source is not Source.CALLBACK or change.outcome not in DOUBTFUL:
            return False
        job = change.job
        if job.state.final:
            late = change.outcome in {Outcome.HINT, Outcome.INCOMPLETE}
            unnamed = job.provider_job_id is None and self.can_poll(job)
            return late and before.state.final and (unnamed or self.polls(job))
        known = self.polls(job) or job.state in UNANSWERED or job.guessed_id is not None
        return known and self._news(job, word)

    def can_poll(self, job: Job) -> bool:
        """Return whether the job's provider can be asked about it."""
        setup = self._accounts.get(job.account)
        operation = self.operation(job)
        return setup is not None and setup.handler.poll is not None and (operation is None or operation.poll)

    def polls(self, job: Job) -> bool:
        """Return whether asking the provider now can tell anything about the job."""
        return is_polled(job, can_poll=self.can_poll(job))

    def rhythm(self, job: Job) -> PollSchedule:
        """Return when the job's account is polled."""
        setup = self._accounts[job.account]
        return PollSchedule(
            setup.handler.cadence,
            _seconds(setup.settings.poll_interval),
            _seconds(setup.settings.backstop_after),
        )

    def _news(self, job: Job, word: Word) -> bool:
        """Return whether a doubtful callback tells of more than is known."""
        if word.update is None:
            return True
        state = BECOMES.get(word.update.phase)
        return state is None or RANK[state] > RANK[job.state]

    def _guesses(self, job: Job) -> bool:
        """Return whether an unproved callback may name the provider's id.

        Where callbacks can be proved, an unproved one may name another job of the account, and a poll for
        that id proves nothing: such a job waits for a proof or for its operator.
        """
        setup = self._accounts.get(job.account)
        callback = setup.handler.callback if setup else None
        return callback is not None and not callback.provable and self.can_poll(job)

    def _cancels(self, job: Job) -> bool:
        setup = self._accounts.get(job.account)
        return setup is not None and setup.handler.cancel is not None


def _last(word: Word) -> bool:
    return word.claim is not None and word.claim.tries + 1 >= RETRIES


def _seconds(value: float | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)
