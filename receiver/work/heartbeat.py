"""The heartbeat of a replica: writes its beats, counts live replicas and takes up the changes of others."""

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
"""Seconds between reads of the generation; a change made through one replica holds in all within them."""
BEAT = 5.0
"""Seconds between the writes that show that this replica is alive."""
LOST = 12.0
"""Seconds without a beat after which a replica starts no work: its leases may be taken back soon."""
DEAD = timedelta(seconds=20)
"""The silence after which others take back the leases of a replica; with a beat, less than 30 s in all."""
SPAN = 2.0
"""The most seconds that one look adds to the silence of others: a replica that was itself stopped or
suspended saw none of their beats, which says nothing about them."""


class Role(StrEnum):
    """The role of a process."""

    ALL = "all"
    API = "api"
    WORKER = "worker"


class ReplicaHeartbeat:
    """The heartbeat of one process that serves the database.

    `on_change` is called when the generation has changed, `on_reclaim` when there may be work to claim: the
    leases of a lost replica were taken back, or this replica is live again.
    """

    def __init__(  # noqa: PLR0913  # the row of a replica, and its two callbacks
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
        """Return whether the leases of this replica are still its own for a while."""
        # A database that is not shared has one replica, so nothing else can take its leases; a shared one has
        # others, which do so after `DEAD`. Why: receiver/README.md#leases-end-with-their-replica
        return not self._store.shared or self._clock.monotonic() - self.beat_at < LOST

    async def join(self) -> None:
        """Register this replica, and take its share of every limit."""
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
        """Run `tick` until cancelled. Returns at once where no other process may serve the database."""
        if self._store.shared:
            await run_periodically(self.tick, every=LOOK, logger=LOGGER)

    async def tick(self) -> None:
        """Take up the changes of other replicas, and write a beat when one is due."""
        present, seen = await self._store.read(_news())
        if present != self._generation:
            self._generation = present
            await self._on_change()
        silent = self._silent(seen)
        if not silent and self._clock.monotonic() - self.beat_at < BEAT:
            return
        began, was_live = self._clock.monotonic(), self.live
        self._wall.ahead = await self._store.skew()
        now = self._clock.outside()
        live, reclaimed = await self._store.write(lambda: replicas.beat(self._as_row(now), silent))
        # Counted from before the write: a slow write must not make this replica trust its leases for longer
        # than the others do.
        self.beat_at = began
        self._share(live)
        # Workers claim nothing while the replica is not live, so they are woken once it is again.
        if reclaimed or not was_live:
            self._on_reclaim()

    def _silent(self, seen: Mapping[str, int]) -> dict[str, int]:
        """Return the replicas that have been silent for too long, with the time in the last beat of each."""
        # Times in beats are compared for equality only, and silence is measured by the clock of this process:
        # a step of a clock makes no replica silent. Why: receiver/README.md#no-clock-step-ends-anything
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
        """Remove this replica, so that the others take over its work.

        Where there are no others, nothing is written: the next start takes everything back.
        """
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
