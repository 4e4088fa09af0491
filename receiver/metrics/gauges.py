"""Gauges of the store, those of now where they are read soon, and of the accounts in memory."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from receiver.domain.clock import Clock
from receiver.domain.errors import StoreUnavailable
from receiver.domain.model import State
from receiver.metrics import GaugeValues
from receiver.store import Store
from receiver.store.standing import STATES, DeploymentStanding, standing

SOON = 0.02
"""Seconds for which a caller waits for a new reading before it gets the last one."""
SHARE = 50
"""A reading serves for so many times as long as it took: readings take a fiftieth of the time at most."""
OLDEST = 60.0
"""Seconds after which a reading serves no longer, also where no newer one can be made."""


class StoreGauges:
    """The standing of the store, read once however many ask for it.

    Where it is read soon, each caller gets the one of now. A backlog that takes long to count holds callers
    up no longer than `SOON`: they get the last reading. The first caller and one after a long pause wait.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._last: DeploymentStanding | None = None
        self._good_until = self._old_at = float("-inf")
        self._reading: asyncio.Task[DeploymentStanding] | None = None

    async def standing(self) -> DeploymentStanding:
        """Return the standing. Raises `StoreUnavailable` where there is none, or only an old one."""
        now = self._clock.monotonic()
        if now >= self._good_until and self._reading is None:
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(self._end)
        reading, last = self._reading, self._last
        if last is None or now >= self._old_at:
            assert reading is not None  # noqa: S101  # one was begun above
            return await asyncio.shield(reading)
        if reading is not None:
            await asyncio.wait({reading}, timeout=SOON)
        return self._last or last

    async def _read(self) -> DeploymentStanding:
        began = self._clock.monotonic()
        self._last = await self._store.read(standing(self._clock.now()))
        now = self._clock.monotonic()
        self._good_until = now + SHARE * (now - began)
        self._old_at = max(self._good_until, now + OLDEST)
        return self._last

    def _end(self, task: "asyncio.Task[DeploymentStanding]") -> None:
        self._reading = None
        # A failure is the caller's where there is one, and otherwise the next reading tries again.
        if not task.cancelled():
            task.exception()


class GaugeCollector:
    """A collector that tells the standing that was read last, and the blocked accounts."""

    def __init__(
        self, store: StoreGauges, accounts: Iterable[str], blocked: Callable[[], Iterable[str]]
    ) -> None:
        self._store = store
        self._accounts = list(accounts)
        self._blocked = blocked
        self._standing: DeploymentStanding | None = None

    async def refresh(self) -> None:
        """Take up the standing. Without a database none is told."""
        try:
            self._standing = await self._store.standing()
        except StoreUnavailable:
            self._standing = None

    def collect(self) -> GaugeValues:
        """Yield the gauges with their values."""
        blocked = set(self._blocked())
        yield "ringback_account_blocked", _by_name({name: name in blocked for name in self._accounts})
        now = self._standing
        if now is None:
            return
        lost = State.UNCONFIRMED.value
        unconfirmed: dict[tuple[str, ...], float] = {(name, lost): 0 for name in self._accounts}
        unconfirmed |= {key: count for key, count in now.jobs.items() if key[1] == lost}
        yield "ringback_jobs_open", now.jobs
        yield "ringback_jobs_unconfirmed", unconfirmed
        yield "ringback_deliveries_owed", _by_name(now.owed)
        yield "ringback_delivery_oldest_due_seconds", _by_name(now.oldest_due)
        states = {name: STATES[state] for name, state in now.endpoints.items()}
        yield "ringback_endpoint_state", _by_name(states)
        yield "ringback_replicas", {(): now.replicas}


def _by_name(values: Mapping[str, Any]) -> dict[tuple[str, ...], float]:
    return {(name,): value for name, value in values.items()}
