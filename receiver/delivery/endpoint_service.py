"""The use cases of endpoints: create, change, delete, resume, ping, synchronise with the settings."""

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from handlers.values import immutable
from receiver.config.settings import EndpointSettings
from receiver.delivery import configured_endpoints
from receiver.delivery.endpoint_watch import EndpointWatch
from receiver.delivery.handshake import Handshake
from receiver.delivery.ping import Pinger
from receiver.domain.clock import Clock
from receiver.domain.endpoint_health import EndpointHealth
from receiver.domain.errors import Conflict, StoreUnavailable, no_such
from receiver.domain.model import Endpoint, EndpointState, Work
from receiver.domain.rendering import stamp
from receiver.events.endpoint_cache import EndpointCache
from receiver.store import Store, due, endpoint_health
from receiver.store import endpoints as table
from receiver.store.attempts import Attempt
from receiver.store.endpoint_health import Owed
from receiver.store.sealing import UNREADABLE, EndpointSealer
from receiver.work.dispatcher import Dispatcher
from receiver.work.limits import ConcurrencyLimits

LOGGER = logging.getLogger("ringback.endpoints")

MOST_SECRETS = 5
"""The most secrets of one endpoint that sign at a time."""


def rotated(endpoint: Endpoint, secret: str, now: datetime, overlap: timedelta) -> Endpoint:
    """Return an endpoint with a new secret in front of those that still sign. Raises `Conflict`."""
    if not endpoint.secrets:
        raise Conflict(f"the secret cannot be rotated now: {UNREADABLE}")
    ends = (now + overlap, *endpoint.retire_at)
    kept = [(old, end) for old, end in zip(endpoint.secrets, ends, strict=False) if end > now]
    if secret in endpoint.secrets:
        raise Conflict("the endpoint has this secret already; give another")
    if len(kept) >= MOST_SECRETS:
        ends_first = stamp(min(end for _, end in kept))
        raise Conflict(
            f"{MOST_SECRETS} secrets sign already; the next one ends at {ends_first}: wait for it, or rotate "
            "with overlap_seconds 0"
        )
    return replace(
        endpoint,
        secrets=(secret, *(old for old, _ in kept)),
        retire_at=tuple(end for _, end in kept),
        updated_at=now,
    )


@immutable(kw_only=True)
class EndpointService:
    """A service that changes endpoints in the store and in the cache of this process; others read the store.

    `check_url` raises `BadUrl` for a URL that may not be called.
    """

    store: Store
    cache: EndpointCache
    sealer: EndpointSealer
    pinger: Pinger
    limits: ConcurrencyLimits
    dispatcher: Dispatcher
    clock: Clock
    check_url: Callable[[str], None]
    watch: EndpointWatch
    handshake: Handshake

    async def page(self, after: str | None, limit: int) -> list[Endpoint] | None:
        """Return at most `limit` endpoints, newest first, after the endpoint `after`.

        Returns None where no endpoint ever had that id.
        """
        behind = None
        if after is not None:
            made = await self.store.read(table.made_at(after))
            if made is None:
                return None
            behind = (made, after)
        return [self.sealer.open(row) for row in await self.store.read(table.page(behind, limit))]

    async def get(self, endpoint_id: str) -> Endpoint:
        """Return an endpoint as it is stored. Raises `NotFound`."""
        row = await self.store.read(table.get(endpoint_id))
        if row is None:
            raise no_such("endpoint")
        return self.sealer.open(row)

    async def secret(self, endpoint_id: str) -> str:
        """Return the signing secret of an endpoint. Raises `Conflict` where it cannot be decrypted."""
        endpoint = await self.get(endpoint_id)
        if not endpoint.secrets:
            raise Conflict(f"it cannot be told: {UNREADABLE}")
        return endpoint.secrets[0]

    async def health(self, endpoint_id: str) -> tuple[EndpointHealth, datetime | None, Owed]:
        """Return the health of an endpoint, the end of its hold, and the deliveries that it is owed."""
        # A store that can only be read still shows an endpoint.
        with contextlib.suppress(StoreUnavailable):
            await self.watch.flush()
        return await self.store.read(endpoint_health.of(endpoint_id))

    async def create(self, endpoint: Endpoint) -> None:
        """Store a new endpoint and deliver to it. Raises `Conflict` where there are too many."""
        row = self.sealer.row(endpoint)
        await self.store.write(lambda: table.add(row))
        await self.refresh()
        if any(one.url == endpoint.url and one.id != endpoint.id for one in self.cache.all()):
            LOGGER.warning(
                "endpoint %s has the URL of another endpoint: it gets events of both",
                endpoint.id,
                extra={"endpoint": endpoint.id},
            )

    async def update(self, endpoint_id: str, change: Callable[[Endpoint], Endpoint]) -> Endpoint:
        """Change an endpoint as it is stored now, in one transaction. Returns the changed endpoint.

        Raises `NotFound` where it no longer exists.
        """

        moved = False

        def changed(row: Any) -> tuple[Endpoint, tuple[Any, ...]]:
            nonlocal moved
            endpoint = change(self.sealer.open(row))
            moved = endpoint.url != row["url"]
            return endpoint, self.sealer.changed_row(endpoint, row)

        endpoint = await self.store.write(lambda: table.alter(endpoint_id, changed))
        if endpoint is None:
            raise no_such("endpoint")
        await self.refresh()
        if moved:
            self.limits.end_hold(endpoint_id)
        return endpoint

    async def delete(self, endpoint_id: str) -> None:
        """Delete an endpoint and cancel its pending deliveries."""
        now = self.clock.now()
        await self.store.write(lambda: table.remove(endpoint_id, now))
        await self.refresh()

    async def resume(self, endpoint_id: str) -> Endpoint:
        """Resume a paused or disabled endpoint, and send its pending deliveries. Returns the endpoint."""
        endpoint, now = await self.get(endpoint_id), self.clock.now()
        await self.store.write(lambda: table.set_state(endpoint_id, "active", None, now))
        released = due.RELEASED
        while released == due.RELEASED:
            released = await self.store.write(lambda: due.hasten(endpoint_id, now))
        await self.refresh()
        self.limits.end_hold(endpoint_id)
        self.dispatcher.wake(Work.DELIVER)
        return replace(endpoint, state=EndpointState.ACTIVE, disabled_reason=None, updated_at=now)

    async def pause(self, endpoint_id: str) -> Endpoint:
        """Pause an endpoint: its deliveries wait until it is resumed. Returns the endpoint.

        Raises `Conflict` for a disabled one, which collects already.
        """
        endpoint, now = await self.get(endpoint_id), self.clock.now()
        if endpoint.state is EndpointState.DISABLED:
            raise Conflict("this endpoint is disabled, and gets nothing until it is resumed")
        await self.store.write(lambda: table.set_state(endpoint_id, "paused", None, now))
        await self.refresh()
        return replace(endpoint, state=EndpointState.PAUSED, updated_at=now)

    async def rotate_secret(self, endpoint_id: str, secret: str, overlap: timedelta) -> Endpoint:
        """Give an endpoint a new secret; the present one signs as well for `overlap`. Returns the endpoint.

        Raises `Conflict` where the stored secrets cannot be decrypted, the secret is in use already, or too
        many would sign.
        """
        now = self.clock.now()
        return await self.update(endpoint_id, lambda fresh: rotated(fresh, secret, now, overlap))

    async def ping(self, endpoint_id: str) -> Attempt:
        """Send `endpoint.test` to an endpoint now. Returns the attempt.

        Raises `Conflict` where its secret cannot be decrypted, so that nothing can be signed.
        """
        endpoint = await self.get(endpoint_id)
        if not endpoint.secrets:
            raise Conflict(f"nothing can be signed for this endpoint: {UNREADABLE}")
        # The sender takes the URL from the cache, which may be older than a change through another process.
        await self.refresh()
        return await self.pinger.send(endpoint)

    async def sync_configured(self, configured: Sequence[EndpointSettings]) -> None:
        """Bring the stored endpoints of the settings file in line with it. Raises `Misconfigured`."""
        await configured_endpoints.sync(configured, self.sealer, self.check_url, self.store, self.clock)

    async def refresh(self) -> None:
        """Load the endpoints into the cache, and send deliveries that waited for one that is new here."""
        generation, found = await self.store.read(table.of_generation())
        self.cache.adopt(generation, found)
        self.dispatcher.wake(Work.DELIVER)
