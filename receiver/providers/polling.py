"""Polling: asks a provider about a job. A transient error never fails a job."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from handlers.contract import FailureCode, JobRef
from handlers.errors import (
    AccountRefused,
    ContentRefused,
    Garbled,
    ProviderError,
    Redirected,
    Rejected,
    Throttled,
    Unavailable,
    Unreachable,
)
from receiver.domain.backoff import LONGEST_HINT
from receiver.domain.clock import Clock
from receiver.domain.model import By, Claim, Job, JobError, Source, State, WaitReason, Work
from receiver.domain.reports import (
    Action,
    Command,
    FailureKind,
    ProviderFailure,
    ProviderUpdate,
    Report,
    callback_missed,
)
from receiver.egress.address_guard import peer_of
from receiver.events.recorder import Recorder
from receiver.providers.accounts import CANCEL, FAILURES, POLL, Accounts
from receiver.providers.circuit_breaker import CircuitBreaker
from receiver.store.due import release
from receiver.store.jobs import ClaimedPoll, claim_for_poll
from receiver.store.statements import Transaction
from receiver.tracing.spans import JobSpans
from receiver.work.limits import ConcurrencyLimits

CONSEQUENCES: Mapping[type[ProviderError], FailureKind] = {
    Unreachable: FailureKind.TRANSIENT,
    Throttled: FailureKind.TRANSIENT,
    AccountRefused: FailureKind.TRANSIENT,
    Rejected: FailureKind.MISS,
    ContentRefused: FailureKind.REJECT,
    Unavailable: FailureKind.TRANSIENT,
    Garbled: FailureKind.TRANSIENT,
    Redirected: FailureKind.TRANSIENT,
}
"""The consequence of each error of a poll. Only an error about the job itself counts against it."""
POLICIES = {"fail": Action.GIVE_UP, "resubmit": Action.RESUBMIT}
"""The action of each `on_unconfirmed` policy; `hold` has none."""
FORBIDDEN = 403
"""The HTTP status of a refusal that is about the caller."""


class Poller:
    """A performer of polls, and of the policy for unconfirmed jobs."""

    work = Work.POLL
    lease = timedelta(seconds=2 * POLL.timeout + 30)

    def __init__(
        self,
        accounts: Accounts,
        recorder: Recorder,
        breaker: CircuitBreaker,
        limits: ConcurrencyLimits,
        clock: Clock,
        on_unconfirmed: str,
        spans: JobSpans,
    ) -> None:
        self._accounts = accounts
        self._spans = spans
        self._recorder = recorder
        self._breaker = breaker
        self._limits = limits
        self._clock = clock
        self._policy = POLICIES.get(on_unconfirmed)

    def serves(self, lane: str) -> bool:
        """Return whether the account is configured and on."""
        return self._accounts.serves(lane)

    def job_limits(self) -> Mapping[str, int]:
        """Return no limits: polls are not limited by running jobs."""
        return {}

    def prepare(self, claims: Sequence[Claim]) -> Transaction[Sequence[ClaimedPoll]]:
        """Load the jobs of the claims."""
        return (yield from claim_for_poll(claims))

    def give_back(self, prepared: Sequence[ClaimedPoll], now: datetime) -> Transaction[None]:
        """Release claimed polls untried."""
        yield from release([one.claim for one in prepared], now)

    async def perform(self, claimed: ClaimedPoll) -> None:
        """Poll the provider, cancel the job there, or apply the policy; and record the outcome."""
        job = claimed.job
        if job.cancel_wanted and job.state.final:
            await self._recorder.settle(await self._canceled(job, claimed.claim))
            return
        # Without an id or a guess there is nothing to ask for: the work that was due is the policy.
        if job.state is State.UNCONFIRMED and job.provider_job_id is None and job.guessed_id is None:
            await self._decide(claimed)
            return
        began = self._spans.now()
        report = await self.poll(job, claimed.claim, hinted=claimed.hinted)
        recorded = await self._recorder.settle(report)
        peer = peer_of(self._accounts.setups[job.account].base_url)
        self._spans.polled(recorded.job or job, began, peer, recorded.outcome.value)
        if recorded.events and recorded.job is not None and callback_missed(report, job, recorded.job):
            self._accounts.count(job.account, "missed")

    async def poll(self, job: Job, claim: Claim, *, hinted: bool = False) -> Report:
        """Poll the provider once. Returns the report that this brought.

        `hinted` means that an unproved callback caused the poll.
        """
        setup = self._accounts.setups[job.account]
        self._accounts.count(setup.name, "polls")
        theirs = job.provider_job_id or job.guessed_id
        if setup.handler.poll is None or theirs is None:
            return self._failure(job, claim, FailureKind.TRANSIENT)
        ref = JobRef(job.id, theirs, job.operation, job.kept_url)
        guess, asked = theirs if job.provider_job_id is None else None, self._clock.monotonic()
        try:
            (update, note), message = await self._accounts.polled(job, ref)
        except ProviderError as error:
            return replace(await self._failed(job, claim, error, hinted=hinted), guess=guess)
        await self._breaker.record_success(job, submit=False, asked=asked)
        return ProviderUpdate(
            job_id=job.id,
            source=Source.POLL,
            at=self._clock.now(),
            update=update,
            claim=claim,
            guess=guess,
            hinted=hinted,
            status=message.status,
            note=note,
        )

    async def _canceled(self, job: Job, claim: Claim) -> Command:
        """Ask the provider to cancel the job. Returns the outcome; a refusal is final."""
        setup = self._accounts.setups[job.account]
        command = Command(
            job_id=job.id,
            source=Source.NOTE,
            at=self._clock.now(),
            claim=claim,
            action=Action.CANCEL_ASKED,
        )
        if setup.handler.cancel is None or job.provider_job_id is None:
            return command
        ref = JobRef(job.id, job.provider_job_id, job.operation, job.kept_url)
        try:
            await self._accounts.ask(setup, self._accounts.heard(job, setup.handler.cancel), ref, CANCEL)
        except (Rejected, ContentRefused) as error:
            return replace(command, note=f"the provider did not cancel: {self._error(job, error).message}")
        except ProviderError as error:
            note = f"the provider could not be asked to cancel: {self._error(job, error).message}"
            return replace(command, action=Action.CANCEL_FAILED, wait=_wait(error), note=note)
        return replace(command, note="the provider was asked to cancel")

    async def _failed(self, job: Job, claim: Claim, error: ProviderError, *, hinted: bool) -> ProviderFailure:
        """Return the report for an error of a poll. An error about the request says nothing about the job.

        A hinted poll does not hold the account, and blocks it only where the key or the balance is surely
        refused: otherwise the callback URL of one job would be enough to hold up the polls of all others.
        """
        self._accounts.count(job.account, "errors")
        kind, found, wait = CONSEQUENCES[type(error)], self._error(job, error), _wait(error)
        if isinstance(error, AccountRefused) and (error.certain or not hinted):
            wait = await self._breaker.record_refusal(job, error, found.message, submit=False)
        elif isinstance(error, Throttled) and not hinted:
            self._limits.hold(self.work, job.account, (wait or timedelta(seconds=1)).total_seconds())
        known = job.operation in self._accounts.setups[job.account].handler.operations
        # Neither says that the job is unknown: a 403 is about the caller, and without its operation the
        # account's handler was changed, so that another provider was asked.
        if kind is FailureKind.MISS and (error.status == FORBIDDEN or not known):
            kind = FailureKind.TRANSIENT
        trouble, status = WaitReason.POLL_FAILING, error.status
        return self._failure(job, claim, kind, status=status, wait=wait, trouble=trouble, error=found)

    def _error(self, job: Job, error: ProviderError) -> JobError:
        """Return the error for people, without secrets."""
        code = FAILURES.get(type(error), FailureCode.LOST)
        return replace(self._accounts.plain(job, error), code=code)

    async def _decide(self, claimed: ClaimedPoll) -> None:
        """Apply the policy for unconfirmed jobs, after the time that the callback had to arrive.

        The policy is queued as a poll because an unconfirmed job without an id has nothing else due.
        """
        # Due work from before the policy became `hold`: settling it leaves nothing due.
        if self._policy is None:
            await self._recorder.settle(self._failure(claimed.job, claimed.claim, FailureKind.TRANSIENT))
            return
        command = Command(
            job_id=claimed.job.id,
            source=Source.NOTE,
            at=self._clock.now(),
            action=self._policy,
            claim=claimed.claim,
            by=By.SUBMIT,
            error=JobError(FailureCode.LOST, "the submission's answer was lost, and no callback came"),
            note="on_unconfirmed",
        )
        await self._recorder.settle(command)

    def _failure(self, job: Job, claim: Claim, kind: FailureKind, **others: Any) -> ProviderFailure:
        at = self._clock.now()
        return ProviderFailure(job_id=job.id, source=Source.POLL, at=at, kind=kind, claim=claim, **others)


def _wait(error: ProviderError) -> timedelta | None:
    """Return the wait that the provider requests, at most `LONGEST_HINT`."""
    return min(error.retry_after, LONGEST_HINT) if error.retry_after is not None else None
