"""The interpreter of reports: handler rules, poll schedules and the state machine, applied together.

It is pure apart from the dependencies that it was made with, and runs inside the recording transaction.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from handlers.contract import Operation, Proof
from receiver.config.load import AccountSetup
from receiver.config.provider_handlers import operation_label
from receiver.domain import lifecycle
from receiver.domain.lifecycle import BECOMES, RANK, Change
from receiver.domain.model import By, Event, Job, Outcome, Source, State
from receiver.domain.poll_schedule import (
    ENDED_POLLS,
    HINTED_POLLS,
    RETRIES,
    PollSchedule,
    hint_gap,
    is_polled,
)
from receiver.domain.rendering import asset_view, event_body, job_view
from receiver.domain.reports import (
    LOST_ANSWER,
    Action,
    Command,
    FailureKind,
    Note,
    ProviderFailure,
    ProviderUpdate,
    Report,
    guess_of,
    meaning_of,
)
from receiver.domain.statistics import OTHER
from receiver.events.next_work import UNANSWERED, JobPolicy, NextWork, with_wait_reason
from receiver.security.ids import event_id
from receiver.security.tokens import MasterKeys
from receiver.store.due_changes import Keep
from receiver.store.record_context import Folded

ENDED_BY = {Source.CALLBACK: By.CALLBACK, Source.POLL: By.POLL, Source.SUBMISSION: By.SUBMIT}
DOUBTFUL = frozenset({Outcome.HINT, Outcome.UNPARSED, Outcome.INCOMPLETE, Outcome.UNKNOWN_WORD})
"""The outcomes of a callback after which a poll is needed to find out the job's state."""
RESUBMISSIONS = 8
"""Times that a submission with a lost answer is repeated, under the provider's own idempotency key."""
ONCE = {f"job.{state.value}": "final" for state in lifecycle.ABANDONED} | {
    "job.succeeded": "final",
    "job.failed": "final",
}
"""The events of which a job has only one in all: they share their id."""


class Interpreter:
    """An interpreter that folds reports and renders events for the accounts of one service."""

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
        """Return the operation of a job, None when its account is not configured or lacks it."""
        setup = self._accounts.get(job.account)
        return setup.handler.operations.get(job.operation) if setup else None

    def operation_label(self, job: Job) -> str:
        """Return the name of a job's operation for the statistics: `other` where users choose it freely."""
        setup = self._accounts.get(job.account)
        return operation_label(setup.handler, job.operation) if setup else OTHER

    def fold(self, job: Job, report: Report) -> Folded:
        """Return the change that `report` makes to `job`, and the work that is due after it.

        A poll at or after the deadline is the last one: the job expires unless that poll ends it. Any other
        update of that poll makes no event, because the event would show a state that the job is no longer in.
        """
        change = self._change(job, report)
        # The last poll is scheduled for the deadline itself, so a result that exists by then still counts:
        # that poll ends the job, not the clock.
        if report.source is Source.POLL and not change.job.state.final and report.at >= job.deadline_at:
            change = replace(change, job=(ended := lifecycle.expire(change.job, now=report.at)).job)
            change = replace(change, events=ended.events)
        # Before the due work: `poll_wanted` moves the next poll forward.
        change = self._remember(job, change, report)
        due = self.next_work.after(job, change, report)
        scheduled = None if isinstance(due, Keep) else due.due
        after = with_wait_reason(change.job, report, scheduled)
        return Folded(after, change.events, change.outcome, due)

    def render(self, job: Job, event_type: str) -> Event:
        """Return the event of this type about a job as it is now."""
        kind = ONCE.get(event_type, f"{event_type}|{job.sequence}")
        identity = event_id(job.id, kind)
        data = self.view(job)
        data = {"object": "job", "id": job.id, "sequence": job.sequence} | data
        body = event_body(identity, event_type, job.updated_at, data)
        return Event(
            id=identity,
            type=event_type,
            job_id=job.id,
            at=job.updated_at,
            sequence=job.sequence,
            body=body,
            result=job.result,
        )

    def view(self, job: Job) -> dict[str, Any]:
        """Return a job as responses and events show it, without its result."""
        ended, revoked = job.completed_at or job.updated_at, job.assets_revoked_at is not None
        assets = [
            asset_view(index, asset, None if revoked else self.link(job.id, index, ended))
            for index, asset in enumerate(job.assets)
        ]
        return job_view(job, assets)

    def link(self, job_id: str, index: int, ended: datetime) -> str:
        """Return the service's own stable link to an asset."""
        token = self._master_keys.asset_token(job_id, index, ended + self._rules.link_life)
        return f"{self._rules.link_base}/assets/{token}"

    def _change(self, job: Job, report: Report) -> Change:
        if guess_of(report) is not None:
            return self._guessed(job, report)
        match report:
            case ProviderUpdate():
                return self._advance(job, report)
            case ProviderFailure():
                change = self._failed(job, report)
                return replace(change, outcome=report.kept_as) if report.kept_as else change
            case Command():
                return self._obey(job, report)
            case Note():
                late = job.state.final and report.kept_as is not Outcome.REFUSED
                return Change(job, outcome=Outcome.LATE if late else report.kept_as)

    def _advance(self, job: Job, report: ProviderUpdate) -> Change:
        if report.source is Source.CALLBACK and (report.proof is Proof.UNPROVED or report.confirm):
            return lifecycle.hint(job, report.update, now=report.at, guess=self._guesses(job))
        operation = self.operation(job)
        return lifecycle.advance(
            job,
            report.update,
            now=report.at,
            by=ENDED_BY[report.source],
            needs_file=operation is None or operation.kind is not None,
            can_poll=self.can_poll(job),
        )

    def _guessed(self, job: Job, report: Report) -> Change:
        """Fold the answer to a poll of a guessed id: an update confirms the guess, a failure drops it."""
        guess = guess_of(report)
        # Another id was named while the poll was under way: its answer is about an id that no longer matters.
        if job.guessed_id != guess or job.provider_job_id is not None:
            return Change(job, outcome=Outcome.LATE)
        if isinstance(report, ProviderUpdate):
            update = replace(report.update, provider_job_id=guess)
            return self._advance(job.but(provider_job_id=guess), replace(report, update=update))
        transient = meaning_of(report) is FailureKind.TRANSIENT
        # A transient error says nothing about the guess, so it is kept until the
        # last try. Why: receiver/README.md#a-guess-is-not-knowledge
        if transient and report.claim is not None and not _last(report):
            return Change(job, outcome=Outcome.ERROR)
        return Change(job.but(guessed_id=None), outcome=Outcome.ERROR)

    def _failed(self, job: Job, report: ProviderFailure) -> Change:
        now, by = report.at, ENDED_BY.get(report.source, By.OPERATOR)
        match report.kind:
            case FailureKind.LOST:
                return self._lose(job, report)
            case FailureKind.RESTORE:
                return lifecycle.restore(job, now=now)
            case FailureKind.REJECT:
                return lifecycle.fail(job, report.error or LOST_ANSWER, now=now, by=by)
            case FailureKind.MISS:
                return lifecycle.miss(job, now=now, by=by)
            case FailureKind.TRANSIENT:
                return Change(job, outcome=Outcome.ERROR)

    def _obey(self, job: Job, command: Command) -> Change:
        now = command.at
        match command.action:
            case Action.RESUBMIT:
                return lifecycle.resubmit(job, now=now)
            case Action.GIVE_UP:
                by = command.by or By.OPERATOR
                return lifecycle.give_up(job, command.error or LOST_ANSWER, now=now, by=by)
            case Action.EXPIRE:
                return lifecycle.expire(job, now=now)
            case Action.CANCEL:
                return lifecycle.cancel(job, now=now, ask=self._cancels(job))
            case Action.CANCEL_ASKED:
                return Change(job.but(cancel_wanted=False))
            case Action.CANCEL_FAILED:
                return lifecycle.cancel_failed(job, last=_last(command))
            case Action.BIND:
                return lifecycle.bind(job, command.provider_job_id or "", now=now)

    def _lose(self, job: Job, report: Report) -> Change:
        setup = self._accounts.get(job.account)
        # Under the provider's own idempotency key a repeated request creates no second job, so it is sent
        # again for its answer instead of leaving the job unconfirmed.
        again = setup is not None and setup.handler.idempotent_submit and job.state is State.SUBMITTING
        if again and report.claim is not None and report.claim.tries < RESUBMISSIONS:
            return Change(job, outcome=Outcome.ERROR)
        return lifecycle.lose(job, now=report.at)

    def _remember(self, before: Job, change: Change, report: Report) -> Change:
        """Set `poll_wanted` after a callback that only a poll can confirm, within the budget of hints."""
        job = change.job
        # The poll brought something new: the budget and the gaps start again.
        if report.source is Source.POLL and change.outcome is Outcome.APPLIED and not job.state.final:
            return replace(change, job=job.but(hinted_polls=0, hint_after=None))
        if not self._doubtful(before, change, report) or job.poll_wanted:
            return change
        # A hint needs no proof, so it must not cause any number
        # of polls. Why: receiver/README.md#hints-have-a-budget
        budget = ENDED_POLLS if job.state.final else HINTED_POLLS
        if job.hinted_polls >= budget:
            return change
        # The gap counts from the earliest start of this poll, so several hints at once do not shorten it.
        at = max(report.at, job.hint_after or report.at)
        hinted = job.but(poll_wanted=True, hinted_polls=job.hinted_polls + 1)
        return replace(change, job=hinted.but(hint_after=at + hint_gap(hinted)))

    def _doubtful(self, before: Job, change: Change, report: Report) -> bool:
        """Return whether a callback reports something that only a poll can confirm."""
        if report.source is not Source.CALLBACK or change.outcome not in DOUBTFUL:
            return False
        job = change.job
        if job.state.final:
            # After the end only a late result is worth a poll. Without an id the poll is kept for a late
            # answer to the submission, which may still name the id.
            late = change.outcome in {Outcome.HINT, Outcome.INCOMPLETE}
            unnamed = job.provider_job_id is None and self.can_poll(job)
            return late and before.state.final and (unnamed or self.polls(job))
        # A callback may come before the answer to the submission; the poll then follows once the id is known.
        known = self.polls(job) or job.state in UNANSWERED or job.guessed_id is not None
        return known and self._news(job, report)

    def can_poll(self, job: Job) -> bool:
        """Return whether the job's provider can be asked about it."""
        setup = self._accounts.get(job.account)
        operation = self.operation(job)
        return setup is not None and setup.handler.poll is not None and (operation is None or operation.poll)

    def polls(self, job: Job) -> bool:
        """Return whether a poll of the provider can yield anything about the job now."""
        return is_polled(job, can_poll=self.can_poll(job))

    def rhythm(self, job: Job) -> PollSchedule:
        """Return the poll schedule of the job's account."""
        setup = self._accounts[job.account]
        return PollSchedule(
            setup.handler.cadence,
            _seconds(setup.settings.poll_interval),
            _seconds(setup.settings.backstop_after),
        )

    def _news(self, job: Job, report: Report) -> bool:
        """Return whether a doubtful callback reports more than is known."""
        if not isinstance(report, ProviderUpdate):
            return True
        state = BECOMES.get(report.update.phase)
        return state is None or RANK[state] > RANK[job.state]

    def _guesses(self, job: Job) -> bool:
        """Return whether an unproved callback may name the provider's id.

        Where callbacks can be proved, an unproved one may name another job of the account, and a poll of that
        id proves nothing: such a job waits for a proof or for its operator.
        """
        setup = self._accounts.get(job.account)
        callback = setup.handler.callback if setup else None
        # An unprovable account has no better source. Why: receiver/README.md#a-guess-is-not-knowledge
        return callback is not None and not callback.provable and self.can_poll(job)

    def _cancels(self, job: Job) -> bool:
        setup = self._accounts.get(job.account)
        return setup is not None and setup.handler.cancel is not None


def _last(report: Report) -> bool:
    return report.claim is not None and report.claim.tries + 1 >= RETRIES


def _seconds(value: float | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)
