"""The watch over endpoints: opens the breaker of one that fails, announces its failures, disables it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from receiver.domain.clock import Clock
from receiver.domain.endpoint_health import EndpointHealth, HealthStep, due_step, pause
from receiver.domain.errors import StoreUnavailable
from receiver.domain.model import Endpoint, Event
from receiver.domain.rendering import stamp
from receiver.egress.address_guard import printable
from receiver.events.recorder import Recorder
from receiver.store import Store, endpoint_health
from receiver.store import endpoints as table
from receiver.store.endpoint_health import EndpointAttempt
from receiver.store.statements import Transaction
from receiver.work.limits import ConcurrencyLimits
from receiver.work.periodic import run_periodically

LOGGER = logging.getLogger("ringback.endpoints")


EVERY = 1.0
"""Seconds in which the successes of an endpoint are stored once: with each they cost 6 % of the path."""


@dataclass(slots=True, kw_only=True)
class EndpointWatch:
    """A watch over endpoints. One that does nothing but fail for `disable_after` is disabled; 0: never."""

    recorder: Recorder
    store: Store
    limits: ConcurrencyLimits
    clock: Clock
    disable_after: timedelta
    _stored_at: dict[str, float] = field(default_factory=dict)
    _unstored: dict[str, EndpointAttempt] = field(default_factory=dict)

    def notes(self, made: EndpointAttempt) -> bool:
        """Return whether an attempt is to be stored with its delivery; else `flush` stores the last one."""
        now, endpoint_id = self.clock.monotonic(), made.endpoint_id
        if made.delivered and made.counts and now - self._stored_at.get(endpoint_id, -EVERY) < EVERY:
            self._unstored[endpoint_id] = made
            return False
        # Nothing older is stored after this attempt.
        self._unstored.pop(endpoint_id, None)
        if made.delivered and made.counts:
            self._stored_at[endpoint_id] = now
        else:
            self._stored_at.pop(endpoint_id, None)
        return True

    async def run(self) -> None:
        """Store the last successes every second until cancelled."""
        await run_periodically(self.flush, every=EVERY, logger=LOGGER)

    async def flush(self) -> None:
        """Store the last success of each endpoint that is not stored yet. Raises `StoreUnavailable`."""
        attempts, self._unstored = self._unstored, {}
        if attempts:
            try:
                await self.store.write(lambda: endpoint_health.note(list(attempts.values())))
            except StoreUnavailable:
                # Again the next time, but not behind a failure, which has dropped the endpoint meanwhile.
                kept = {name: one for name, one in attempts.items() if name in self._stored_at}
                self._unstored = kept | self._unstored
                raise
        now = self.clock.monotonic()
        self._stored_at = {name: at for name, at in self._stored_at.items() if now - at < EVERY}

    async def follow(self, endpoint: Endpoint, health: EndpointHealth) -> None:
        """Draw the consequences of the health of an endpoint after an attempt."""
        if health.failing_since is None or health.last_at is None:
            return
        if (length := pause(health, health.last_at)) is not None:
            self.limits.probe(endpoint.id, length.total_seconds())
        step = due_step(health, self.clock.now(), self.disable_after)
        # Where attempts are rare, the first one after half of the time may be the last one of all.
        if step is not None and not health.announced:
            await self._announce(endpoint, health, health.failing_since)
        if step is HealthStep.DISABLE:
            await self.disable(endpoint, f"every attempt failed since {stamp(health.failing_since)}")

    async def disable(self, endpoint: Endpoint, reason: str) -> None:
        """Disable an endpoint and announce that, unless it was changed or resumed since it was sent to."""
        if await self.recorder.write(lambda: self._disabling(endpoint, reason)):
            LOGGER.warning("endpoint %s disabled: %s", endpoint.id, reason, extra={"endpoint": endpoint.id})

    async def _announce(self, endpoint: Endpoint, health: EndpointHealth, since: datetime) -> None:
        if await self.recorder.write(lambda: self._announcing(endpoint, health, since)):
            LOGGER.warning(
                "endpoint %s did nothing but fail since %s; it is disabled at %s",
                endpoint.id,
                stamp(since),
                stamp(since + self.disable_after),
                extra={"endpoint": endpoint.id},
            )

    def _announcing(
        self, endpoint: Endpoint, health: EndpointHealth, since: datetime
    ) -> Transaction[Sequence[Event]]:
        if not (yield from endpoint_health.announced(endpoint.id, since)):
            return []
        more = {
            "state": endpoint.state.value,
            "failing_since": stamp(since),
            "disable_at": stamp(since + self.disable_after),
            "last_status": health.last_status,
            "last_error": health.last_error,
        }
        return [self._event("endpoint.failing", endpoint, f"failing|{stamp(since)}", more)]

    def _disabling(self, endpoint: Endpoint, reason: str) -> Transaction[Sequence[Event]]:
        now = self.clock.now()
        if not (yield from table.disable(endpoint, reason, now)):
            return []
        more = {"state": "disabled", "disabled_reason": reason, "disabled_at": stamp(now)}
        return [self._event("endpoint.disabled", endpoint, f"disabled|{stamp(now)}", more)]

    def _event(self, event_type: str, endpoint: Endpoint, kind: str, more: dict[str, Any]) -> Event:
        data = {"object": "endpoint", "id": endpoint.id, "url": printable(endpoint.url), **more}
        return self.recorder.event(event_type, endpoint.id, kind, data, self.clock.now())
