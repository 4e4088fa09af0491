"""What a word means for a job: the handler's rules, the account's rhythm and the state machine together.

Pure but for what it was made with; it runs inside the recording transaction.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from handlers.contract import FailureCode, Operation, Proof
from handlers.values import immutable
from receiver import lifecycle
from receiver.addresses import split
from receiver.cadence import Rhythm, is_polled, next_poll, next_submit
from receiver.config import AccountSetup
from receiver.endpoints import Endpoints
from receiver.keys import Masters, event_id
from receiver.lifecycle import BECOMES, RANK, Change
from receiver.model import (
    By,
    Due,
    Endpoint,
    Event,
    Job,
    JobError,
    Outcome,
    Source,
    State,
    Verdict,
    Word,
    Work,
)
from receiver.store.record import Folded
from receiver.views import asset_view, event_body, job_view

ENDED_BY = {Source.CALLBACK: By.CALLBACK, Source.POLL: By.POLL, Source.SUBMISSION: By.SUBMIT}
DOUBTFUL = frozenset({Outcome.HINT, Outcome.UNPARSED, Outcome.INCOMPLETE, Outcome.UNKNOWN_WORD})
"""What a callback may come to that a poll should clear up."""
UNANSWERED = frozenset({State.PENDING, State.SUBMITTING})
RESUBMISSIONS = 8
"""How often a lost answer is asked for again under the provider's own idempotency key."""
ONCE = {f"job.{state.value}": "final" for state in lifecycle.ABANDONED} | {
    "job.succeeded": "final",
    "job.failed": "final",
}
"""Events of which a job has one of all these: they share their id."""


@immutable
class Rules:
    """The settings that decide what follows from a word."""

    on_unconfirmed: str
    unconfirmed_after: timedelta
    link_base: str
    link_life: timedelta


class Meanings:
    """Folds words and renders events for the accounts and endpoints of one service."""

    def __init__(
        self,
        accounts: Mapping[str, AccountSetup],
        endpoints: Endpoints,
        masters: Masters,
        rules: Rules,
        chance: Callable[[], float],
    ) -> None:
        self._accounts = accounts
        self._endpoints = endpoints
        self._masters = masters
        self._rules = rules
        self._chance = chance

    def endpoints(self, generation: str) -> Sequence[Endpoint] | None:
        """The endpoints as of `generation`, if ours are."""
        return self._endpoints.as_of(generation)

    def adopt(self, generation: str, found: Sequence[Any]) -> Sequence[Endpoint]:
        """Take the endpoints of a newer generation."""
        return self._endpoints.adopt(generation, found)

    def lane_of(self, url: str) -> str:
        """A one-off callback shares its lane with all that go to the same origin."""
        return str(split(url)[0])

    def operation(self, job: Job) -> Operation | None:
        """The operation of a job, while its account is configured."""
        setup = self._accounts.get(job.account)
        return setup.handler.operations.get(job.operation) if setup else None

    def fold(self, job: Job, word: Word) -> Folded:
        """What `word` does to `job`, and what is due after it."""
        change = self._change(job, word)
        if word.source is Source.POLL and not change.job.state.final and word.at >= job.deadline_at:
            ended = lifecycle.expire(change.job, now=word.at)
            change = replace(ended, events=(*change.events, *ended.events))
        change = self._remember(change, word)
        due, keep = self._due(job, change, word)
        return Folded(change.job, change.events, change.outcome, due, keep)

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
        token = self._masters.asset_token(job_id, index, ended + self._rules.link_life)
        return f"{self._rules.link_base}/assets/{token}"

    def _change(self, job: Job, word: Word) -> Change:
        if word.update is not None:
            return self._advance(job, word)
        if word.verdict is None:
            late = job.state.final and word.kept_as is not Outcome.REFUSED
            return Change(job, outcome=Outcome.LATE if late else word.kept_as or Outcome.UNPARSED)
        change = self._rule(job, word)
        return replace(change, outcome=word.kept_as) if word.kept_as else change

    def _advance(self, job: Job, word: Word) -> Change:
        update = word.update
        assert update is not None  # noqa: S101  # the caller looked
        if word.source is Source.CALLBACK and (word.proof is Proof.UNPROVED or word.confirm):
            return lifecycle.hint(job, update, now=word.at)
        operation = self.operation(job)
        return lifecycle.advance(
            job,
            update,
            now=word.at,
            by=ENDED_BY[word.source],
            needs_file=operation is None or operation.kind is not None,
            can_poll=self._can_poll(job),
        )

    def _rule(self, job: Job, word: Word) -> Change:
        now, by = word.at, word.by or ENDED_BY.get(word.source, By.OPERATOR)
        error = word.error or JobError(FailureCode.LOST, "the submission's answer was lost")
        rules: Mapping[Verdict | None, Callable[[], Change]] = {
            Verdict.LOST: lambda: self._lose(job, word),
            Verdict.RESTORE: lambda: lifecycle.restore(job, now=now),
            Verdict.RESUBMIT: lambda: lifecycle.restore(job, now=now),
            Verdict.REJECT: lambda: lifecycle.fail(job, error, now=now, by=by),
            Verdict.GIVE_UP: lambda: lifecycle.fail(job, error, now=now, by=by),
            Verdict.MISS: lambda: lifecycle.miss(job, now=now, by=by),
            Verdict.EXPIRE: lambda: lifecycle.expire(job, now=now),
            Verdict.CANCEL: lambda: lifecycle.cancel(job, now=now),
            Verdict.BIND: lambda: lifecycle.bind(job, word.note or "", now=now),
            Verdict.TRANSIENT: lambda: Change(job, outcome=Outcome.ERROR),
        }
        return rules[word.verdict]()

    def _lose(self, job: Job, word: Word) -> Change:
        setup = self._accounts.get(job.account)
        again = setup is not None and setup.handler.idempotent_submit
        if again and word.claim is not None and word.claim.tries < RESUBMISSIONS and word.kept_as is None:
            return Change(job, outcome=Outcome.ERROR)
        return lifecycle.lose(job, now=word.at)

    def _remember(self, change: Change, word: Word) -> Change:
        """A doubtful callback that outruns the submission's answer is cleared up once that has come."""
        job = change.job
        wanted = job.poll_wanted and not job.state.final and not self._polled(job)
        if job.state in UNANSWERED:
            doubtful = word.source is Source.CALLBACK and change.outcome in DOUBTFUL
            wanted = job.poll_wanted or (doubtful and self._news(job, word))
        return change if wanted is job.poll_wanted else replace(change, job=job.but(poll_wanted=wanted))

    def _due(self, before: Job, change: Change, word: Word) -> tuple[Due | None, bool]:
        """What is due after a word, and whether to leave what was due as it is."""
        job = change.job
        if change.outcome is Outcome.REFUSED:
            return None, True
        if job.state.final:
            if change.outcome is Outcome.HINT and self._can_poll(job):
                return Due(Work.POLL, job.account, word.at), False
            return None, before.state.final and word.source is not Source.POLL
        if job.state in UNANSWERED:
            return self._submit_again(job, word)
        if not self._polled(job):
            return self._unconfirmed(job, word), before.state is job.state
        if before.poll_wanted or word.verdict is Verdict.BIND:
            return Due(Work.POLL, job.account, word.at), False
        if word.source is Source.CALLBACK:
            return self._after_callback(before, job, change, word)
        polls = word.claim.tries + 1 if word.claim and word.source is Source.POLL else 0
        rhythm = self._rhythm(job)
        due = next_poll(job, rhythm, now=word.at, polls=polls, jitter=self._chance(), wait=word.wait)
        return due, False

    def _submit_again(self, job: Job, word: Word) -> tuple[Due | None, bool]:
        if job.state is State.SUBMITTING and word.verdict is not Verdict.LOST:
            return None, True
        tries = word.claim.tries + 1 if word.claim else 0
        if word.wait is not None and word.verdict is Verdict.RESTORE:
            tries -= 1
        due = next_submit(job, now=word.at, tries=max(tries, 0), jitter=self._chance(), wait=word.wait)
        return due, False

    def _after_callback(self, before: Job, job: Job, change: Change, word: Word) -> tuple[Due | None, bool]:
        if change.outcome in DOUBTFUL and self._news(job, word):
            return Due(Work.POLL, job.account, word.at), False
        if before.provider_job_id is None or before.state is State.UNCONFIRMED:
            rhythm = self._rhythm(job)
            return next_poll(job, rhythm, now=word.at, polls=0, jitter=self._chance()), False
        return None, True

    def _news(self, job: Job, word: Word) -> bool:
        """Whether a doubtful word tells of something that a poll would confirm."""
        if word.update is None:
            return True
        state = BECOMES.get(word.update.phase)
        return state is None or RANK[state] > RANK[job.state]

    def _unconfirmed(self, job: Job, word: Word) -> Due | None:
        """When the policy for a lost answer is due."""
        if job.state is not State.UNCONFIRMED or self._rules.on_unconfirmed == "hold":
            return None
        return Due(Work.POLL, job.account, min(word.at + self._rules.unconfirmed_after, job.deadline_at))

    def _can_poll(self, job: Job) -> bool:
        setup = self._accounts.get(job.account)
        operation = self.operation(job)
        return setup is not None and setup.handler.poll is not None and (operation is None or operation.poll)

    def _polled(self, job: Job) -> bool:
        return is_polled(job, can_poll=self._can_poll(job))

    def _rhythm(self, job: Job) -> Rhythm:
        setup = self._accounts[job.account]
        return Rhythm(
            setup.handler.cadence,
            _seconds(setup.settings.poll_interval),
            _seconds(setup.settings.backstop_after),
        )


def _seconds(value: float | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)
