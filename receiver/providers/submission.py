"""Submitting: the intent is committed, one request goes out on a connection of its own, its answer is stored.

`CONSEQUENCES` decides what an error does to the job. A request is sent again only after an error that proves
that nothing was accepted; where it may have been accepted the job is unconfirmed, because a second request
costs money.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from handlers import json
from handlers.contract import FailureCode, HttpMessage, HttpRequest, Submission
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
from receiver.bodies.large_json import unpack
from receiver.bodies.offload import OFFLOAD
from receiver.bodies.parts import Parts
from receiver.config.load import AccountSetup
from receiver.domain.backoff import LONGEST_HINT, LOST, THROTTLED, UNREACHABLE, Ladder
from receiver.domain.clock import Clock
from receiver.domain.errors import StoreUnavailable
from receiver.domain.model import Claim, Job, JobError, Outcome, Source, WaitReason, Work
from receiver.domain.reports import FailureKind, ProviderFailure, ProviderUpdate
from receiver.egress.address_guard import peer_of
from receiver.events.log_lines import Sparing
from receiver.events.recorder import Recorder
from receiver.providers.accounts import Accounts, Heard, account_of
from receiver.providers.circuit_breaker import CircuitBreaker
from receiver.store import Store, inputs
from receiver.store.jobs import ClaimedSubmission, claim_for_submission, release_submission
from receiver.store.statements import Transaction
from receiver.tracing.spans import JobSpans

LOGGER = logging.getLogger("ringback.submission")
CONSEQUENCES: Mapping[type[ProviderError], FailureKind] = {
    Unreachable: FailureKind.RESTORE,
    Throttled: FailureKind.RESTORE,
    AccountRefused: FailureKind.RESTORE,
    Rejected: FailureKind.REJECT,
    ContentRefused: FailureKind.REJECT,
    Unavailable: FailureKind.LOST,
    Garbled: FailureKind.LOST,
    Redirected: FailureKind.REJECT,
}
"""The consequence of each error. `Unreachable`, `Throttled` and `AccountRefused` prove that nothing was
accepted and may pass: the job is restored and sent again. `Rejected`, `ContentRefused` and `Redirected` prove
it too, but would come again: the job fails. After `Unavailable` and `Garbled` the provider may have accepted
the job: the answer is lost.
"""
LADDERS: Mapping[type[ProviderError], Ladder] = {
    Throttled: THROTTLED,
    Unreachable: UNREACHABLE,
    Unavailable: LOST,
    Garbled: LOST,
}
"""The pauses of an account after the errors that slow its submissions."""
MARGIN = timedelta(seconds=30)
"""The time for which a claim lasts beyond the longest submission."""
TROUBLES: Mapping[type[ProviderError], WaitReason] = {
    Throttled: WaitReason.THROTTLED,
    AccountRefused: WaitReason.ACCOUNT_BLOCKED,
}
"""The reason that is shown for a job that waits after an error; `UNREACHABLE` for all others."""
CRASHED = "the process ended between sending and the answer"
"""The note of a submission that a process began and did not end."""
CONFLICT = 409
"""The HTTP status under the provider's own idempotency key while the earlier request is in progress."""


class Submitter:
    """A performer of submissions."""

    work = Work.SUBMIT

    def __init__(
        self,
        accounts: Accounts,
        recorder: Recorder,
        store: Store,
        breaker: CircuitBreaker,
        clock: Clock,
        spans: JobSpans,
    ) -> None:
        self.lease = accounts.longest_submission() + MARGIN
        self._accounts = accounts
        self._recorder = recorder
        self._store = store
        self._breaker = breaker
        self._clock = clock
        self._spans = spans
        self._sparing = Sparing(clock.monotonic)

    def serves(self, lane: str) -> bool:
        """Return whether the account is configured and on."""
        return self._accounts.serves(lane)

    def job_limits(self) -> Mapping[str, int]:
        """Return `max_jobs` of the accounts that set it."""
        setups = self._accounts.setups.items()
        return {name: one.settings.max_jobs for name, one in setups if one.settings.max_jobs is not None}

    def prepare(self, claims: Sequence[Claim]) -> Transaction[Sequence[ClaimedSubmission]]:
        """Commit the intent to submit. Returns the jobs to submit."""
        return (yield from claim_for_submission(claims, self._clock.now()))

    def give_back(self, prepared: Sequence[ClaimedSubmission], now: datetime) -> Transaction[None]:
        """Take the intent back."""
        return (yield from release_submission(prepared, now))

    async def perform(self, chosen: ClaimedSubmission) -> None:
        """Submit the job to the provider, and record the answer or the lack of one."""
        setup = self._accounts.setups[chosen.job.account]
        # The request may have gone out before the crash. Without an idempotency key of the provider a second
        # one could be paid for twice.
        if chosen.crashed and not setup.handler.idempotent_submit:
            await self._recorder.settle(self._failure(chosen, FailureKind.LOST, note=CRASHED))
            return
        job = chosen.job
        if job.operation not in setup.handler.operations:
            await self._recorder.settle(self._unknown(chosen, setup.handler.name))
            return
        began, peer, asked = self._spans.now(), peer_of(setup.base_url), self._clock.monotonic()
        try:
            answered = await self._asked(setup, chosen)
        except ProviderError as error:
            self._spans.submitted(job, began, peer, error.status, type(error).__name__)
            await self._failed(chosen, error, idempotent=setup.handler.idempotent_submit)
            return
        if answered is None:
            return
        (update, note), message = answered
        self._spans.submitted(job, began, peer, message.status, None)
        accepted = ProviderUpdate(
            job_id=job.id,
            source=Source.SUBMISSION,
            at=self._clock.now(),
            claim=chosen.claim,
            update=update,
            status=message.status,
            note=note,
        )
        await self._recorder.settle(accepted)
        # After the outcome is stored, because this may write too and must not delay it.
        await self._breaker.record_success(job, submit=True, asked=asked)

    async def _asked(
        self, setup: AccountSetup, chosen: ClaimedSubmission
    ) -> tuple[Heard, HttpMessage] | None:
        """Return the provider's answer, None where no request was sent.

        The input and the request are freed when it returns.
        """
        whole = await self._input(chosen)
        if whole is None:
            return None
        self._accounts.count(setup.name, "submissions")
        request, body = await self._built(setup, chosen.job, whole)
        options = self._accounts.submission(setup, chosen.job.operation)
        parse = self._accounts.heard(chosen.job, setup.handler.submit).parse
        return await self._accounts.send(setup, request, body, parse, options)

    async def _input(self, chosen: ClaimedSubmission) -> bytes | None:
        """Return the whole input, None where nothing is to be sent.

        That is when the input cannot be read now, or is no longer needed because the job has ended or a
        report has shown that it was accepted.
        """
        if chosen.input is not None:
            return chosen.input
        try:
            return await self._store.read(inputs.read(chosen.job.id))
        except StoreUnavailable as error:
            # This try sent nothing, so the job may go back to `pending`.
            note = f"not sent: {error.detail}"
            await self._recorder.settle(self._failure(chosen, FailureKind.RESTORE, note=note))
            return None

    async def _built(self, setup: AccountSetup, job: Job, whole: bytes) -> tuple[HttpRequest, bytes | Parts]:
        """Return the request and its body.

        Long texts of the input are short marks while the request is built, and are restored in its body.
        """
        bulk = await OFFLOAD.run(len(whole), lambda: unpack(whole, stored=True))
        submission = Submission(
            job.id,
            job.operation,
            json.as_object(bulk.value),
            self._accounts.callback_url(job),
            self._accounts.secret(job) if job.expects_callback else None,
        )
        build, account = setup.handler.submit.build, account_of(setup)
        request = build(submission, account)
        if not bulk.texts:
            return request, request.body
        body = bulk.restored(request.body)
        # The handler changed a mark, so the request is built again from the whole texts.
        if body is None:
            request = build(replace(submission, input=json.read_object(whole, values=None)), account)
        return request, body or request.body

    async def _failed(self, chosen: ClaimedSubmission, error: ProviderError, *, idempotent: bool) -> None:
        job = chosen.job
        self._accounts.count(job.account, "errors")
        cause = self._accounts.plain(job, error)
        wait = min(error.retry_after, LONGEST_HINT) if error.retry_after is not None else None
        if isinstance(error, AccountRefused):
            wait = await self._breaker.record_refusal(job, error, cause.message, submit=True)
        elif (ladder := LADDERS.get(type(error))) is not None:
            wait = self._breaker.troubled(job.account, ladder, wait) or wait
        # The earlier request has not ended yet: sending it again under the same key is safe, and brings its
        # answer.
        in_progress = idempotent and error.status == CONFLICT
        failure = self._failure(
            chosen,
            FailureKind.RESTORE if in_progress else CONSEQUENCES[type(error)],
            status=error.status,
            wait=wait,
            trouble=TROUBLES.get(type(error), WaitReason.UNREACHABLE),
            error=cause,
        )
        await self._recorder.settle(failure)
        if isinstance(error, Unreachable):
            self._say_unreachable(job, cause.message)

    def _say_unreachable(self, job: Job, why: str) -> None:
        """Warn of submissions that cannot go out, once a minute for each account."""
        count = self._sparing.count(job.account)
        if count:
            about = {"job": job.id, "account": job.account, "operation": job.operation, "count": count}
            LOGGER.warning("a submission cannot go out and is tried again: %s", why, extra=about)

    def _unknown(self, chosen: ClaimedSubmission, handler: str) -> ProviderFailure:
        """Return the report for a job with an operation that the handler no longer has.

        It is rejected before a byte is sent, or lost where it may have been sent already.
        """
        message = f"{handler} has no operation {chosen.job.operation}: the account's handler was changed"
        kind = FailureKind.LOST if chosen.crashed else FailureKind.REJECT
        error = JobError(FailureCode.REJECTED, message)
        return self._failure(chosen, kind, error=error, note=message)

    def _failure(self, chosen: ClaimedSubmission, kind: FailureKind, **others: Any) -> ProviderFailure:
        return ProviderFailure(
            job_id=chosen.job.id,
            source=Source.SUBMISSION,
            at=self._clock.now(),
            claim=chosen.claim,
            intent=chosen.job.intents,
            kind=kind,
            kept_as=Outcome.ERROR if chosen.crashed else None,
            **others,
        )
