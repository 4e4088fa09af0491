"""The watch over endpoints: opens the breaker of one that fails, announces its failures, disables it."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from handlers.values import immutable
from receiver.domain.clock import Clock
from receiver.domain.endpoint_health import EndpointHealth, HealthStep, due_step, pause
from receiver.domain.model import Endpoint, Event
from receiver.domain.rendering import stamp
from receiver.egress.address_guard import printable
from receiver.events.recorder import Recorder
from receiver.store import endpoint_health
from receiver.store import endpoints as table
from receiver.store.statements import Transaction
from receiver.work.limits import ConcurrencyLimits

LOGGER = logging.getLogger("ringback.endpoints")


@immutable(kw_only=True)
class EndpointWatch:
    """A watch over endpoints. One that does nothing but fail for `disable_after` is disabled; 0: never."""

    recorder: Recorder
    limits: ConcurrencyLimits
    clock: Clock
    disable_after: timedelta

    async def follow(self, endpoint: Endpoint, health: EndpointHealth) -> None:
        """Draw the consequences of the health of an endpoint after an attempt."""
        if health.failing_since is None or health.last_at is None:
            return
        if (length := pause(health, health.last_at)) is not None:
            self.limits.probe(endpoint.id, length.total_seconds())
        step = due_step(health, self.clock.now(), self.disable_after)
        if step is HealthStep.ANNOUNCE:
            await self._announce(endpoint, health, health.failing_since)
        elif step is HealthStep.DISABLE:
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
