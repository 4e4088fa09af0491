"""Delivering: sign what is sent, send it once, record the attempt and what follows."""

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta

from handlers.contract import HttpMessage
from handlers.wire import retry_after
from receiver import signing
from receiver.clock import Clock
from receiver.endpoints import Endpoints
from receiver.exchange import Answer
from receiver.gateway import Call, CallFailed, Gateway
from receiver.keys import BadToken, Ids, Masters
from receiver.lanes import Lanes
from receiver.model import Claim, Endpoint, EndpointState, Event, Owed, Work
from receiver.recording import Recording
from receiver.retry import Consequence, Ruling, rule
from receiver.store import Store, deliveries
from receiver.store import endpoints as table
from receiver.store.commit import Verb
from receiver.store.deliveries import Attempt, Settled, settle
from receiver.store.record import Born
from receiver.store.statements import Transaction
from receiver.views import stamp, with_result
from receiver.worker import Worker

LOGGER = logging.getLogger("ringback.fanout")
KEPT = 1024
MARGIN = 5.0
FINAL = {
    Consequence.DELIVERED: "delivered",
    Consequence.EXHAUSTED: "exhausted",
    Consequence.CANCELED: "canceled",
}
SETTLE: Verb[Settled, bool] = Verb("settle", settle)


class Target:
    """Where one delivery goes."""

    __slots__ = ("headers", "include", "keys", "url")

    def __init__(
        self, url: str, keys: Sequence[bytes], headers: Mapping[str, str], include: Sequence[str]
    ) -> None:
        self.url = url
        self.keys = keys
        self.headers = headers
        self.include = include


class Fanout:
    """Performs deliveries; those that were born with a slot go out without being claimed."""

    work = Work.DELIVER

    def __init__(
        self,
        endpoints: Endpoints,
        gateway: Gateway,
        masters: Masters,
        recording: Recording,
        store: Store,
        lanes: Lanes,
        clock: Clock,
        ids: Ids,
        schedule: Sequence[float],
        timeout: float,
    ) -> None:
        self._endpoints = endpoints
        self._gateway = gateway
        self._masters = masters
        self._recording = recording
        self._store = store
        self._lanes = lanes
        self._clock = clock
        self._ids = ids
        self._schedule = schedule
        self._timeout = timeout
        self.lease = timedelta(seconds=timeout + 15)
        self.worker: Worker | None = None

    def room(self, lane: str) -> int:
        """None for an endpoint that is paused or disabled."""
        endpoint = self._endpoints.get(lane.removesuffix(deliveries.RETRY_LANE))
        if endpoint is not None and endpoint.state is not EndpointState.ACTIVE:
            return 0
        return self._lanes.room(self.work, lane)

    def limits(self) -> Mapping[str, int]:
        """Deliveries have no job limits."""
        return {}

    def prepare(self, claims: Sequence[Claim]) -> Transaction[Sequence[tuple[Claim, Owed]]]:
        """Read what sending needs."""
        return (yield from deliveries.load(claims))

    def send(self, born: Sequence[Born]) -> None:
        """Send those that were born with a slot; the worker claims the others."""
        if self.worker is None:
            return
        for one in born:
            if one.claim is not None:
                self.worker.start(one.lane, self.perform((one.claim, one.owed)))

    async def perform(self, prepared: tuple[Claim, Owed]) -> None:
        """One attempt, and what follows from it."""
        claim, owed = prepared
        if owed.endpoint_id is None and owed.url is None:
            owed = await self._with_callback(claim, owed)
        if self._clock.monotonic() + self._timeout + MARGIN > claim.until:
            return
        await self.attempt(claim, owed)

    async def attempt(self, claim: Claim, owed: Owed) -> Attempt:
        """Send it now; the attempt, recorded."""
        started, at = self._clock.monotonic(), self._clock.now()
        answer, error = None, None
        target = self._target(owed)
        if target is None:
            error = "config: the endpoint or its secret is gone"
        else:
            try:
                answer = await self._gateway.call(self._call(target, owed.event, int(at.timestamp())))
            except CallFailed as failed:
                error = str(failed)
        took = (self._clock.monotonic() - started) * 1000
        attempt = Attempt(
            self._ids.new("att"),
            owed.id,
            at,
            answer.status if answer else None,
            round(took, 3),
            error,
            answer.body[:KEPT] if answer else b"",
        )
        await self._settle(claim, owed, attempt, self._rule(claim, answer))
        return attempt

    def _call(self, target: Target, event: Event, timestamp: int) -> Call:
        body = event.body
        if event.result is not None and "result" in target.include:
            body = with_result(body, event.result)
        headers = [
            ("content-type", "application/json"),
            *signing.headers(event.id, timestamp, body, target.keys),
            *target.headers.items(),
        ]
        return Call("POST", target.url, headers, body, timeout=self._timeout)

    def _target(self, owed: Owed) -> Target | None:
        if owed.endpoint_id is not None:
            endpoint = self._endpoints.get(owed.endpoint_id)
            if endpoint is None:
                return None
            return Target(endpoint.url, self._endpoints.keys(endpoint.id), endpoint.headers, endpoint.include)
        if owed.url is None or owed.secret is None or owed.job_id is None:
            return None
        try:
            secret = self._masters.unseal(owed.secret, owed.job_id)
        except BadToken:
            return None
        return Target(owed.url, [signing.key_of(secret)], {}, ())

    async def _with_callback(self, claim: Claim, owed: Owed) -> Owed:
        loaded = await self._store.read(deliveries.load([claim]))
        return loaded[0][1] if loaded else owed

    def _rule(self, claim: Claim, answer: Answer | None) -> Ruling:
        now = self._clock.now()
        hint = asked = None
        if answer is not None:
            hint = retry_after(HttpMessage(answer.status, answer.headers, b"", now))
            asked = answer.header("webhook-delivery")
        return rule(
            answer.status if answer else None,
            asked,
            hint,
            tries=claim.tries + 1,
            now=now,
            schedule=self._schedule,
            jitter=self._clock.chance(),
        )

    async def _settle(self, claim: Claim, owed: Owed, attempt: Attempt, ruling: Ruling) -> None:
        lane = claim.lane
        if ruling.consequence is Consequence.DELIVERED:
            self._lanes.succeeded(lane)
        else:
            self._lanes.failed(lane)
        if ruling.hold is not None:
            self._lanes.hold(self.work, lane, ruling.hold.total_seconds())
        state = FINAL.get(ruling.consequence, "pending")
        reason = ruling.disable or (attempt.error if state == "exhausted" else None)
        mine = await self._store.do(SETTLE, Settled(claim, attempt, state, ruling.next_at, reason))
        if mine and ruling.next_at is not None and self.worker is not None:
            self.worker.hint(ruling.next_at)
        if ruling.disable is not None:
            await self._disable(owed, ruling.disable)

    async def _disable(self, owed: Owed, reason: str) -> None:
        now = self._clock.now()
        if owed.endpoint_id is None:
            if owed.job_id is not None:
                job_id = owed.job_id
                await self._store.write(lambda: deliveries.cancel_target("callback", job_id, reason, now))
            return
        endpoint = self._endpoints.get(owed.endpoint_id)
        if endpoint is not None:
            LOGGER.warning("endpoint %s disabled: %s", endpoint.id, reason)
            await self._recording.write(lambda: self._disabling(endpoint, reason))

    def _disabling(self, endpoint: Endpoint, reason: str) -> Transaction[Sequence[Event]]:
        now = self._clock.now()
        changed = yield from table.set_state(endpoint.id, "disabled", reason, now, unless="disabled")
        if not changed:
            return []
        data = {
            "object": "endpoint",
            "id": endpoint.id,
            "url": endpoint.url,
            "state": "disabled",
            "disabled_reason": reason,
            "disabled_at": stamp(now),
        }
        kind = f"disabled|{stamp(now)}"
        return [self._recording.event("endpoint.disabled", endpoint.id, kind, data, now)]
