"""Submitting: the intent is committed, one request goes out on a connection of its own, the answer is kept.

What an error means for the job is a table. Only an error that proves that nothing was accepted lets the
request go out again; after any other the job is unconfirmed, because a second request costs money.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from handlers import json
from handlers.contract import FailureCode, Submission
from handlers.errors import (
    AccountRefused,
    Garbled,
    ProviderError,
    Refused,
    Rejected,
    Throttled,
    Unavailable,
    Unreachable,
)
from receiver.accounts import FAILURES, SUBMIT, Accounts, told
from receiver.blocking import Blocking
from receiver.clock import Clock
from receiver.lanes import Lanes
from receiver.model import Claim, JobError, Outcome, Source, Verdict, WaitReason, Word, Work
from receiver.recording import Recording
from receiver.store.jobs import Chosen, choose, unchoose
from receiver.store.statements import Transaction

CONSEQUENCES: Mapping[type[ProviderError], Verdict] = {
    Unreachable: Verdict.RESTORE,
    Throttled: Verdict.RESTORE,
    AccountRefused: Verdict.RESTORE,
    Rejected: Verdict.REJECT,
    Refused: Verdict.REJECT,
    Unavailable: Verdict.LOST,
    Garbled: Verdict.LOST,
}
TROUBLES: Mapping[type[ProviderError], WaitReason] = {
    Throttled: WaitReason.THROTTLED,
    AccountRefused: WaitReason.ACCOUNT_BLOCKED,
}
"""Why a job waits after an error that leaves it open."""
LONGEST_HINT = timedelta(hours=1)


class Submitter:
    """Performs submissions."""

    work = Work.SUBMIT
    lease = timedelta(seconds=SUBMIT.timeout + 30)

    def __init__(
        self, accounts: Accounts, recording: Recording, blocking: Blocking, lanes: Lanes, clock: Clock
    ) -> None:
        self._accounts = accounts
        self._recording = recording
        self._blocking = blocking
        self._lanes = lanes
        self._clock = clock

    def serves(self, lane: str) -> bool:
        """Not an account that is off."""
        return self._accounts.serves(lane)

    def limits(self) -> Mapping[str, int]:
        """The accounts' own limits of running jobs."""
        setups = self._accounts.setups.items()
        return {name: one.settings.max_jobs for name, one in setups if one.settings.max_jobs is not None}

    def prepare(self, claims: Sequence[Claim]) -> Transaction[Sequence[Chosen]]:
        """Commit the intent."""
        return (yield from choose(claims, self._clock.now()))

    def give_back(self, prepared: Sequence[Chosen], now: datetime) -> Transaction[None]:
        """Take the intent back."""
        return (yield from unchoose(prepared, now))

    async def perform(self, chosen: Chosen) -> None:
        """Ask the provider, and record what it said or that it did not."""
        setup = self._accounts.setups[chosen.job.account]
        if chosen.crashed and not setup.handler.idempotent_submit:
            note = "the process ended between sending and the answer"
            await self._recording.settle(replace(self._word(chosen), verdict=Verdict.LOST, note=note))
            return
        self._accounts.count(setup.name, "submissions")
        job = chosen.job
        submission = Submission(
            job.id,
            job.operation,
            json.read_object(chosen.whole_input),
            self._accounts.callback_url(job),
            self._accounts.secret(job) if job.expects_callback else None,
        )
        try:
            update, message = await self._accounts.ask(setup, setup.handler.submit, submission, SUBMIT)
        except ProviderError as error:
            await self._failed(chosen, error)
            return
        update = self._accounts.redacted(update, message.body, self._accounts.secrets_of(job))
        word = replace(self._word(chosen), update=update, status=message.status)
        await self._recording.settle(word)
        await self._blocking.works(setup.name, submit=True)

    async def _failed(self, chosen: Chosen, error: ProviderError) -> None:
        account = chosen.job.account
        self._accounts.count(account, "errors")
        wait = min(error.retry_after, LONGEST_HINT) if error.retry_after is not None else None
        if isinstance(error, AccountRefused):
            wait = timedelta(seconds=await self._blocking.refused(account, told(error), submit=True))
        elif isinstance(error, Throttled) and wait is not None:
            self._lanes.hold(self.work, account, wait.total_seconds())
        verdict = CONSEQUENCES[type(error)]
        code = FAILURES.get(type(error), FailureCode.REJECTED)
        word = replace(
            self._word(chosen),
            verdict=verdict,
            status=error.status,
            wait=wait,
            trouble=TROUBLES.get(type(error), WaitReason.UNREACHABLE),
            error=JobError(code, self._plain(chosen, told(error)), error.provider_code),
        )
        await self._recording.settle(word)

    def _plain(self, chosen: Chosen, text: str) -> str:
        for secret in self._accounts.secrets_of(chosen.job):
            text = text.replace(secret, "[redacted]")
        return text

    def _word(self, chosen: Chosen) -> Word:
        return Word(
            job_id=chosen.job.id,
            source=Source.SUBMISSION,
            at=self._clock.now(),
            claim=chosen.claim,
            intent=chosen.job.intents,
            kept_as=Outcome.ERROR if chosen.crashed else None,
        )
