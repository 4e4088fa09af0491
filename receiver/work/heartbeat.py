"""This process as one of several: it says that it lives, knows how many do, and hears what others did."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from receiver.domain.clock import Clock, Wall
from receiver.domain.errors import StoreUnavailable
from receiver.store import Store, replicas
from receiver.store.generation import generation
from receiver.store.replicas import Present
from receiver.store.statements import Transaction
from receiver.work.limits import ConcurrencyLimits
from receiver.work.periodic import run_periodically

LOGGER = logging.getLogger("ringback.replica")
LOOK = 0.5
"""Seconds between looks at the generation: what is changed through one replica holds everywhere within it."""
BEAT = 5.0
LOST = 12.0
"""Seconds without a beat after which a replica starts nothing: its leases may be taken back soon."""
DEAD = timedelta(seconds=20)
"""How long a replica may be silent before others take its leases; with a beat, less than 30 s in all."""
SPAN = 2.0
"""Seconds that one look adds to the silence of others at most: a replica that was itself stopped or suspended
has heard nothing of them, which says nothing about them."""


class Role(StrEnum):
    """What a process does."""

    ALL = "all"
    API = "api"
    WORKER = "worker"


class ReplicaHeartbeat:
    """One process that serves the database. `on_change` is told when endpoints or keys changed elsewhere,
    `on_reclaim` when work was taken back from a replica that is gone."""

    def __init__(  # noqa: PLR0913  # what a replica tells of itself, and whom it tells
        self,
        store: Store,
        clock: Clock,
        wall: Wall,
        limits: ConcurrencyLimits,
        *,
        name: str,
        role: Role,
        kids: Sequence[str],
        on_change: Callable[[], Awaitable[None]],
        on_reclaim: Callable[[], object],
    ) -> None:
        self._store = store
        self._clock = clock
        self._wall = wall
        self._limits = limits
        self.name = name
        self.role = role
        self._kids = " ".join(kids)
        self._on_change = on_change
        self._on_reclaim = on_reclaim
        self._generation = ""
        self._others: dict[str, tuple[int, float]] = {}
        self._looked_at = clock.monotonic()
        self.beat_at = clock.monotonic()

    @property
    def live(self) -> bool:
        """Whether what we hold is still ours for a while."""
        return not self._store.shared or self._clock.monotonic() - self.beat_at < LOST

    async def join(self) -> None:
        """Be one of those who serve."""
        if not self._store.shared:
            await self._store.write(replicas.alone)
        self._wall.ahead = await self._store.skew()
        self._wall.anchor()
        now = self._clock.outside()
        live = await self._store.write(lambda: replicas.join(self._as_row(now), now - DEAD))
        self._share(live)
        self._generation = await self._store.read(generation())
        self.beat_at = self._clock.monotonic()

    async def run(self) -> None:
        """Beat and look, until cancelled; where nobody else serves there is nothing to do."""
        if self._store.shared:
            await run_periodically(self.tick, every=LOOK, logger=LOGGER)

    async def tick(self) -> None:
        """Take up what others changed, and beat when it is time."""
        present, seen = await self._store.read(_news())
        if present != self._generation:
            self._generation = present
            await self._on_change()
        silent = self._silent(seen)
        if not silent and self._clock.monotonic() - self.beat_at < BEAT:
            return
        asked, was_live = self._clock.monotonic(), self.live
        self._wall.ahead = await self._store.skew()
        now = self._clock.outside()
        live, taken = await self._store.write(lambda: replicas.beat(self._as_row(now), silent))
        self.beat_at = asked
        self._share(live)
        if taken or not was_live:
            self._on_reclaim()

    def _silent(self, seen: Mapping[str, int]) -> dict[str, int]:
        """Return the replicas that have not spoken for too long, with the time that each told last.

        Times are compared for being equal only: a step of the clock makes none of them silent.
        """
        now = self._clock.monotonic()
        span, self._looked_at = min(now - self._looked_at, SPAN), now
        others = {name: at for name, at in seen.items() if name != self.name}
        known, self._others = self._others, {}
        for name, at in others.items():
            before, quiet = known.get(name, (at, 0.0))
            self._others[name] = (at, quiet + span if before == at else 0.0)
        return {name: at for name, (at, quiet) in self._others.items() if quiet >= DEAD.total_seconds()}

    def _as_row(self, now: datetime) -> Present:
        return Present(self.name, self.role, self._kids, now)

    def _share(self, live: int) -> None:
        self._limits.share(live)
        self._store.share(live)

    async def leave(self) -> None:
        """Serve no more; where nobody else serves, the next start takes everything back."""
        if not self._store.shared:
            return
        try:
            await self._store.write(lambda: replicas.leave(self.name, self._clock.now()))
        except StoreUnavailable as error:
            LOGGER.warning("others take our work over once our leases end: %s", error.detail)


def _news() -> Transaction[tuple[str, Mapping[str, int]]]:
    """Return the generation and the last beat of each replica, read in one transaction."""
    present = yield from generation()
    return present, (yield from replicas.seen())
