"""Polling: asking a provider how a job is doing. A transient error never fails a job."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

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
from receiver.domain.model import By, Claim, Job, JobError, Source, State, Verdict, WaitReason, Word, Work
from receiver.events.recorder import Recorder
from receiver.providers.accounts import CANCEL, FAILURES, POLL, Accounts
from receiver.providers.circuit_breaker import CircuitBreaker
from receiver.store.due import release
from receiver.store.jobs import ClaimedPoll, claim_for_poll
from receiver.store.statements import Transaction
from receiver.work.limits import ConcurrencyLimits

CONSEQUENCES: Mapping[type[ProviderError], Verdict] = {
    Unreachable: Verdict.TRANSIENT,
    Throttled: Verdict.TRANSIENT,
    AccountRefused: Verdict.TRANSIENT,
    Rejected: Verdict.MISS,
    ContentRefused: Verdict.REJECT,
    Unavailable: Verdict.TRANSIENT,
    Garbled: Verdict.TRANSIENT,
    Redirected: Verdict.TRANSIENT,
}
POLICIES = {"fail": Verdict.GIVE_UP, "resubmit": Verdict.RESUBMIT}
FORBIDDEN = 403


class Poller:
    """Performs polls, and what the policy says about unconfirmed jobs."""

    work = Work.POLL
    lease = timedelta(seconds=POLL.timeout + 30)

    def __init__(
        self,
        accounts: Accounts,
        recorder: Recorder,
        breaker: CircuitBreaker,
        limits: ConcurrencyLimits,
        clock: Clock,
        on_unconfirmed: str,
    ) -> None:
        self._accounts = accounts
        self._recorder = recorder
        self._breaker = breaker
        self._limits = limits
        self._clock = clock
        self._policy = POLICIES.get(on_unconfirmed)

    def serves(self, lane: str) -> bool:
        """Not an account that is off."""
        return self._accounts.serves(lane)

    def job_limits(self) -> Mapping[str, int]:
        """Polls are not limited by running jobs."""
        return {}

    def prepare(self, claims: Sequence[Claim]) -> Transaction[Sequence[ClaimedPoll]]:
        """Read the jobs."""
        return (yield from claim_for_poll(claims))

    def give_back(self, prepared: Sequence[ClaimedPoll], now: datetime) -> Transaction[None]:
        """Leave polls to others."""
        yield from release([one.claim for one in prepared], now)

    async def perform(self, asked: ClaimedPoll) -> None:
        """Ask once and record what it brought."""
        job = asked.job
        if job.cancel_wanted and job.state.final:
            await self._recorder.settle(await self._canceled(job, asked.claim))
            return
        if job.state is State.UNCONFIRMED and job.provider_job_id is None and job.guessed_id is None:
            await self._decide(asked)
            return
        recorded = await self._recorder.settle(await self.poll(job, asked.claim, hinted=asked.hinted))
        if job.expects_callback and recorded.events and recorded.job and recorded.job.completed_by is By.POLL:
            self._accounts.count(job.account, "missed")

    async def poll(self, job: Job, claim: Claim | None = None, *, hinted: bool = False) -> Word:
        """Ask once. Returns the word that it brought; `hinted` where an unproved callback asked for it."""
        setup = self._accounts.setups[job.account]
        self._accounts.count(setup.name, "polls")
        theirs = job.provider_job_id or job.guessed_id
        if setup.handler.poll is None or theirs is None:
            return self._word(job, claim, Verdict.TRANSIENT)
        ref = JobRef(job.id, theirs, job.operation)
        guess = theirs if job.provider_job_id is None else None
        try:
            heard = self._accounts.heard(job, setup.handler.poll)
            (update, note), message = await self._accounts.ask(setup, heard, ref, POLL)
        except ProviderError as error:
            return replace(await self._failed(job, claim, error, hinted=hinted), guess=guess)
        await self._breaker.record_success(job, submit=False)
        return Word(
            job_id=job.id,
            source=Source.POLL,
            at=self._clock.now(),
            update=update,
            claim=claim,
            guess=guess,
            status=message.status,
            note=note,
        )

    async def _canceled(self, job: Job, claim: Claim) -> Word:
        """Ask the provider to cancel. Returns its answer as a word; a refusal ends the asking."""
        setup = self._accounts.setups[job.account]
        word = replace(self._word(job, claim, Verdict.CANCEL_ASKED), source=Source.NOTE)
        if setup.handler.cancel is None or job.provider_job_id is None:
            return word
        ref = JobRef(job.id, job.provider_job_id, job.operation)
        try:
            await self._accounts.ask(setup, self._accounts.heard(job, setup.handler.cancel), ref, CANCEL)
        except (Rejected, ContentRefused) as error:
            return replace(word, note=f"the provider did not cancel: {self._told(job, error).message}")
        except ProviderError as error:
            note = f"the provider could not be asked to cancel: {self._told(job, error).message}"
            return replace(word, verdict=Verdict.CANCEL_FAILED, wait=_wait(error), note=note)
        return replace(word, note="the provider was asked to cancel")

    async def _failed(self, job: Job, claim: Claim | None, error: ProviderError, *, hinted: bool) -> Word:
        """Return the word for an error of a poll; one that is about the question says nothing about the job.

        Whoever knows the URL of one job's callback must not hold up the polls of all others.
        """
        self._accounts.count(job.account, "errors")
        verdict, told, wait = CONSEQUENCES[type(error)], self._told(job, error), _wait(error)
        if isinstance(error, AccountRefused) and (error.certain or not hinted):
            wait = await self._breaker.record_refusal(job, error, told.message, submit=False)
        elif isinstance(error, Throttled) and not hinted:
            self._limits.hold(self.work, job.account, (wait or timedelta(seconds=1)).total_seconds())
        known = job.operation in self._accounts.setups[job.account].handler.operations
        if verdict is Verdict.MISS and (error.status == FORBIDDEN or not known):
            verdict = Verdict.TRANSIENT
        return Word(
            job_id=job.id,
            source=Source.POLL,
            at=self._clock.now(),
            verdict=verdict,
            claim=claim,
            status=error.status,
            wait=wait,
            trouble=WaitReason.POLL_FAILING,
            error=told,
        )

    def _told(self, job: Job, error: ProviderError) -> JobError:
        """The error for people, without our secrets."""
        code = FAILURES.get(type(error), FailureCode.LOST)
        return replace(self._accounts.plain(job, error), code=code)

    async def _decide(self, asked: ClaimedPoll) -> None:
        """What the policy says, once the callback of an unconfirmed job had its time."""
        if self._policy is None:
            await self._recorder.settle(self._word(asked.job, asked.claim, Verdict.TRANSIENT))
            return
        error = JobError(FailureCode.LOST, "the submission's answer was lost, and no callback came")
        word = Word(
            job_id=asked.job.id,
            source=Source.NOTE,
            at=self._clock.now(),
            verdict=self._policy,
            claim=asked.claim,
            by=By.SUBMIT,
            error=error,
            note="on_unconfirmed",
        )
        await self._recorder.settle(word)

    def _word(self, job: Job, claim: Claim | None, verdict: Verdict) -> Word:
        return Word(job_id=job.id, source=Source.POLL, at=self._clock.now(), verdict=verdict, claim=claim)


def _wait(error: ProviderError) -> timedelta | None:
    """Return how long the provider wants to be left alone."""
    return min(error.retry_after, LONGEST_HINT) if error.retry_after is not None else None
