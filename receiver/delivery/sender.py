"""The sender of deliveries: signs a request, sends it once, and records the attempt and its consequences."""

import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from handlers.contract import HttpMessage
from handlers.wishes import retry_after
from receiver.delivery.endpoint_watch import EndpointWatch
from receiver.delivery.leases import lease_of
from receiver.delivery.request import DeliveryTarget, callback_target, endpoint_target, is_current, request_of
from receiver.domain.clock import Clock
from receiver.domain.errors import StoreUnavailable
from receiver.domain.model import CALLBACK_TARGET, Claim, Endpoint, PendingDelivery, ScheduledWork, Work
from receiver.domain.retry_policy import AttemptOutcome, Decision, decide
from receiver.egress.client import CallFailed, HttpClient
from receiver.egress.http1 import Answer
from receiver.events.endpoint_cache import EndpointCache
from receiver.events.log_lines import Sparing
from receiver.events.recorder import Recorder
from receiver.metrics import Metrics
from receiver.security.ids import IdGenerator
from receiver.security.tokens import BadToken, MasterKeys
from receiver.store import Store, deliveries
from receiver.store import endpoints as table
from receiver.store.attempts import Attempt
from receiver.store.deliveries import ClaimedDelivery
from receiver.store.due import HAND_LANES, plain, postpone, release
from receiver.store.endpoint_health import EndpointAttempt
from receiver.store.group_commit import BatchedWrite
from receiver.store.holds import hold_of
from receiver.store.sealing import EndpointSealer
from receiver.store.settling import Settled, Standing, settle
from receiver.store.statements import Transaction
from receiver.tracing.spans import JobSpans
from receiver.work.dispatcher import Dispatcher
from receiver.work.limits import ConcurrencyLimits
from receiver.work.periodic import retry_until_stored

Result = TypeVar("Result")

LOGGER = logging.getLogger("ringback.fanout")
KEPT = 1024
"""The bytes of an answer's body that an attempt keeps."""
MARGIN = 5.0
"""Seconds that must be left of a lease after the longest attempt, for storing its outcome."""
UNREADABLE = timedelta(minutes=1)
"""The time for which a delivery waits while its secret cannot be decrypted; keys come only with a restart."""
FINAL = {
    AttemptOutcome.DELIVERED: "delivered",
    AttemptOutcome.EXHAUSTED: "exhausted",
    AttemptOutcome.CANCELED: "canceled",
}
"""The final state of a delivery after each outcome; a retry stays pending."""
SETTLE: BatchedWrite[Settled, Standing] = BatchedWrite(name="settle", run=settle)
"""The write of an attempt and its outcome."""
SHORT_OF_SOCKETS = timedelta(seconds=1)
"""The time for which a lane is left alone after this process found no free socket for it."""


class NoSocket(Exception):
    """The error for an attempt that was not made: no socket was free, or the proxy did not serve."""


@dataclass(slots=True, kw_only=True)
class DeliverySender:
    """A performer of deliveries. Deliveries that were recorded with a slot go out without being claimed.

    `schedule` is in seconds between attempts, `timeout` in seconds for one attempt, for callback URLs and for
    endpoints that choose none.
    """

    endpoints: EndpointCache
    sealer: EndpointSealer
    client: HttpClient
    master_keys: MasterKeys
    recorder: Recorder
    store: Store
    limits: ConcurrencyLimits
    clock: Clock
    ids: IdGenerator
    schedule: Sequence[float]
    timeout: float
    dispatcher: Dispatcher
    watch: EndpointWatch
    source: str
    attempted: Callable[[str], None]
    metrics: Metrics
    spans: JobSpans
    sparing: Sparing
    work: Work = Work.DELIVER

    @property
    def lease(self) -> timedelta:
        """Return the lease of a delivery, so long that a live sender never loses its claim."""
        return lease_of(self.timeout)

    def serves(self, lane: str) -> bool:
        """Return whether to send: to any callback URL, and to endpoints that are active and have keys."""
        name = plain(lane)
        return "://" in name or self.endpoints.served(name)

    def job_limits(self) -> Mapping[str, int]:
        """Return no limits: deliveries are not limited by running jobs."""
        return {}

    def prepare(self, claims: Sequence[Claim]) -> Transaction[Sequence[ClaimedDelivery]]:
        """Load the claimed deliveries, and the endpoints if they have changed."""
        present, delivery = yield from deliveries.load(claims)
        # Read in the claiming transaction, so that a delivery goes to its endpoint as it is now.
        if delivery and not self.endpoints.are_of(present):
            self.endpoints.adopt(present, (yield from table.listed()))
        return delivery

    def give_back(self, prepared: Sequence[ClaimedDelivery], now: datetime) -> Transaction[None]:
        """Release claimed deliveries untried."""
        yield from release([one.claim for one in prepared], now)

    async def perform(self, prepared: ClaimedDelivery) -> None:
        """Make one attempt and record its consequences, or put the delivery off."""
        claim, delivery = prepared.claim, prepared.delivery
        if delivery.endpoint_id is None and delivery.url is None:
            delivery = await self._with_callback(claim, delivery)
        # Too little of the lease is left, as after a pause of this process: another replica may take over,
        # and the event would be sent twice. Nothing is stored: the ended lease itself makes the delivery due
        # again.
        if self.clock.monotonic() + self._timeout(delivery) + MARGIN > claim.until:
            return
        if not self.serves(claim.lane):
            await self.store.write(lambda: release([claim], self.clock.now()))
        # Slots are shared by origin but holds are by URL, so only the delivery is
        # put off. Why: receiver/README.md#a-hold-is-a-row
        elif wait := self._waits(claim, delivery):
            until = self.clock.now() + wait
            await self.store.write(lambda: postpone([claim], until))
            self.dispatcher.wake_at(ScheduledWork(self.work, claim.lane, until))
        else:
            try:
                await self.attempt(claim, delivery)
            except NoSocket as error:
                await self._put_back(claim, str(error))

    def _waits(self, claim: Claim, delivery: PendingDelivery) -> timedelta:
        """Return the time for which a callback URL is left alone: it is held, or its secret is unreadable."""
        if delivery.url is None or delivery.secret is None or delivery.job_id is None:
            return timedelta()
        try:
            self.master_keys.unseal(delivery.secret, delivery.job_id)
        except BadToken:
            LOGGER.error(
                "delivery %s waits: its callback_secret needs a master key that is not configured",
                delivery.id,
                extra={"delivery": delivery.id, "job": delivery.job_id},
            )
            return UNREADABLE
        if claim.lane.endswith(HAND_LANES):
            return timedelta()
        return timedelta(seconds=self.limits.held(hold_of(claim.lane, delivery.url)))

    async def attempt(self, claim: Claim, delivery: PendingDelivery, *, last: bool = False) -> Attempt:
        """Send a delivery now. Returns the recorded attempt. After the `last` attempt there is no other."""
        target = self._target(delivery)
        attempt, answer = await self._send(delivery, target, last=last)
        current = target is not None and self._is_current(target.endpoint)
        sent = target.endpoint if target else None
        ruling = self._rule(claim, answer, sent, current=current)
        # Before disabling, the store is asked: the cache may be older than a change through
        # another replica. Why: receiver/README.md#an-answer-counts-for-its-endpoint
        if ruling.disable is not None and not await self._surely(
            lambda: self._is_stored(sent), delivery, last=last
        ):
            current, ruling = False, self._rule(claim, answer, sent, current=False)
        if last and ruling.outcome is AttemptOutcome.RETRY:
            ruling = replace(ruling, outcome=AttemptOutcome.EXHAUSTED, next_at=None)
        if current:
            self._learn(claim, delivery, attempt, ruling)
        if ruling.outcome is AttemptOutcome.DELIVERED:
            # A failure keeps its slot. Why: receiver/README.md#a-slot-is-for-the-call
            self.dispatcher.free(claim)
        # Neither a ping nor a replay nor a retry by hand tells how the endpoint does on its own.
        counts = current and not last and not delivery.origin and not claim.lane.endswith(HAND_LANES)
        noted = None
        if sent is not None:
            delivered = ruling.outcome is AttemptOutcome.DELIVERED
            made = EndpointAttempt(endpoint_id=sent.id, attempt=attempt, delivered=delivered, counts=counts)
            noted = counts if self.watch.notes(made) else None
        settled = self._settled(claim, delivery, attempt, ruling, noted)
        standing = await self._surely(self._settling(settled, last=last), delivery, last=last)
        self.attempted(FINAL.get(ruling.outcome, "failed"))
        self.metrics.add(standing.samples)
        self._follow_up(claim, delivery, settled, standing)
        if sent is not None and ruling.disable is None and (health := standing.health) is not None:
            await self._surely(lambda: self.watch.follow(sent, health), delivery, last=last)
        if (reason := ruling.disable) is not None:
            await self._surely(lambda: self._disable(delivery, sent, reason), delivery, last=last)
        return attempt

    async def _send(
        self, delivery: PendingDelivery, target: DeliveryTarget | None, *, last: bool
    ) -> tuple[Attempt, Answer | None]:
        """Make one call. Returns the attempt and the answer, if there is one. Raises `NoSocket`."""
        started, at, began = self.clock.monotonic(), self.clock.now(), self.spans.now()
        answer, error, place = None, None, self.spans.sends(delivery.traceparent)
        if target is None:
            error = "config: the endpoint or its secret is gone"
        else:
            try:
                # For the receiver's clock. Why: receiver/README.md#no-clock-step-ends-anything
                signed_at = int(self.clock.outside().timestamp())
                call = request_of(
                    target, delivery.event, signed_at, self._timeout(delivery), self.source, place
                )
                answer = await self.client.call(call)
            except CallFailed as failed:
                # No socket was free: no attempt. Why: receiver/README.md#half-the-files-are-for-calls
                if failed.local and not last:
                    raise NoSocket(str(failed)) from None
                error = str(failed)
        took = (self.clock.monotonic() - started) * 1000
        url, status = target.url if target else "", answer.status if answer else None
        self.spans.delivered(delivery, place, began, url, status, error)
        attempt = Attempt(
            id=self.ids.new("att", at),
            delivery_id=delivery.id,
            at=at,
            status=status,
            latency_ms=round(took, 3),
            error=error,
            answer=answer.body[:KEPT] if answer else b"",
        )
        return attempt, answer

    def _settling(self, settled: Settled, *, last: bool) -> Callable[[], Awaitable[Standing]]:
        """Return a function that stores an attempt. A second call may find it stored by the first."""
        tries = itertools.count()
        # Only the caller of a ping waits for this. Why: receiver/README.md#a-success-can-wait
        patient = settled.state == FINAL[AttemptOutcome.DELIVERED] and not last

        def settle() -> Awaitable[Standing]:
            item = replace(settled, again=True) if next(tries) else settled
            return self.store.do(SETTLE, item, reserved=True, patient=patient)

        return settle

    async def _surely(
        self, store: Callable[[], Awaitable[Result]], delivery: PendingDelivery, *, last: bool
    ) -> Result:
        """Store the outcome of an attempt, retrying until the store is available.

        The `last` attempt is a ping that its caller can repeat, so it fails at once.
        """

        def away(error: StoreUnavailable) -> None:
            LOGGER.debug(
                "the outcome of a delivery waits for the store: %s", error.detail, extra=_about(delivery)
            )

        return await (store() if last else retry_until_stored(store, away))

    def _is_current(self, sent: Endpoint | None) -> bool:
        """Return whether an answer is from the endpoint as it is cached: not changed or resumed since."""
        return sent is None or is_current(sent, self.endpoints.get(sent.id))

    async def _is_stored(self, sent: Endpoint | None) -> bool:
        """Return whether an answer is from the endpoint as it is stored."""
        if sent is None:
            return True
        row = await self.store.read(table.get(sent.id))
        return is_current(sent, None if row is None else self.sealer.open(row))

    async def _put_back(self, claim: Claim, reason: str) -> None:
        """Release a delivery untried for a moment: a local `reason` says nothing about its endpoint."""
        if count := self.sparing.count(reason):
            LOGGER.warning("deliveries wait for a connection: %s", reason, extra={"count": count})
        again = self.clock.now() + SHORT_OF_SOCKETS
        self.limits.hold(self.work, claim.lane, SHORT_OF_SOCKETS.total_seconds())
        if await self.store.write(lambda: release([claim], again)):
            self.dispatcher.wake_at(ScheduledWork(self.work, claim.lane, again))

    def _target(self, delivery: PendingDelivery) -> DeliveryTarget | None:
        if delivery.endpoint_id is None:
            return callback_target(delivery, self.master_keys)
        endpoint = self.endpoints.get(delivery.endpoint_id)
        if endpoint is None:
            return None
        keys = self.endpoints.keys(endpoint.id, self.clock.now())
        return endpoint_target(endpoint, keys, self.master_keys.signing_keys)

    def _timeout(self, delivery: PendingDelivery) -> float:
        endpoint = self.endpoints.get(delivery.endpoint_id or "")
        return self.timeout if endpoint is None or endpoint.timeout is None else endpoint.timeout

    def _schedule(self, endpoint: Endpoint | None) -> Sequence[float]:
        chosen = endpoint.retry_schedule if endpoint else None
        return self.schedule if chosen is None else chosen

    async def _with_callback(self, claim: Claim, delivery: PendingDelivery) -> PendingDelivery:
        _, loaded = await self.store.read(deliveries.load([claim]))
        return loaded[0].delivery if loaded else delivery

    def _rule(self, claim: Claim, answer: Answer | None, sent: Endpoint | None, *, current: bool) -> Decision:
        now = self.clock.now()
        hint = directive = None
        if answer is not None:
            directive = answer.header("webhook-delivery")
            if answer.header("retry-after") is not None:
                hint = retry_after(HttpMessage(answer.status, answer.headers, b"", self.clock.outside()))
        return decide(
            answer.status if answer else None,
            directive,
            hint,
            tries=claim.tries + 1,
            now=now,
            schedule=self._schedule(sent),
            jitter=self.clock.chance(),
            current=current,
        )

    def _learn(self, claim: Claim, delivery: PendingDelivery, attempt: Attempt, ruling: Decision) -> None:
        """Adapt the slots and the hold of an endpoint to an answer, and log when it fails or recovers."""
        name, lane = delivery.endpoint_id, claim.lane
        if ruling.outcome is AttemptOutcome.DELIVERED:
            recovered = self.limits.succeeded(lane)
            # A retry by hand is sent despite the hold, and its success shows that the hold is out of date.
            if lane.endswith(HAND_LANES):
                self.limits.end_hold(hold_of(lane, delivery.url))
            if recovered and name is not None:
                LOGGER.info("endpoint %s takes deliveries again", name, extra={"endpoint": name})
        elif self.limits.failed(lane) and name is not None:
            why = attempt.error or f"it answered {attempt.status}"
            LOGGER.warning("endpoint %s begins to fail: %s", name, why, extra={"endpoint": name})
        if ruling.hold is not None:
            self.limits.hold(self.work, hold_of(lane, delivery.url), ruling.hold.total_seconds())

    def _settled(
        self,
        claim: Claim,
        delivery: PendingDelivery,
        attempt: Attempt,
        ruling: Decision,
        counts: bool | None,
    ) -> Settled:
        state = FINAL.get(ruling.outcome, "pending")
        reason = ruling.reason or (attempt.error if state == "exhausted" else None)
        hold = None
        if ruling.hold is not None:
            hold = (hold_of(claim.lane, delivery.url), self.clock.now() + ruling.hold)
        return Settled(
            claim=claim,
            attempt=attempt,
            state=state,
            next_at=ruling.next_at,
            reason=reason,
            hold=hold,
            counts=counts,
            event_at=delivery.event.at,
        )

    def _follow_up(
        self, claim: Claim, delivery: PendingDelivery, settled: Settled, standing: Standing
    ) -> None:
        attempt = settled.attempt
        if not standing.mine:
            self.metrics.count("ringback_leases_lost")
        if standing.next_at is not None:
            self.dispatcher.wake_at(ScheduledWork(self.work, claim.lane, standing.next_at))
        elif standing.mine and settled.state == FINAL[AttemptOutcome.EXHAUSTED]:
            where = (
                f"endpoint {delivery.endpoint_id}"
                if delivery.endpoint_id
                else f"the callback_url of {delivery.job_id}"
            )
            LOGGER.warning(
                "delivery %s to %s is exhausted: %s",
                delivery.id,
                where,
                attempt.error or f"it was answered {attempt.status}",
                extra=_about(delivery),
            )

    async def _disable(self, delivery: PendingDelivery, endpoint: Endpoint | None, reason: str) -> None:
        now = self.clock.now()
        if delivery.endpoint_id is None:
            if delivery.job_id is not None:
                job_id = delivery.job_id
                await self.store.write(lambda: deliveries.cancel_target(CALLBACK_TARGET, job_id, reason, now))
        elif endpoint is not None:
            await self.watch.disable(endpoint, reason)


def _about(delivery: PendingDelivery) -> dict[str, str | None]:
    return {"delivery": delivery.id, "endpoint": delivery.endpoint_id, "job": delivery.job_id}
