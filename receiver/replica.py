"""This process as one of several: it says that it lives, knows how many do, and hears what others did."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from receiver.clock import Clock, Wall
from receiver.errors import StoreUnavailable
from receiver.lanes import Lanes
from receiver.steadily import steadily
from receiver.store import Store, replicas
from receiver.store.endpoints import generation
from receiver.store.replicas import Present

LOGGER = logging.getLogger("ringback.replica")
LOOK = 0.5
"""Seconds between looks at the generation: what is changed through one replica holds everywhere within it."""
BEAT = 5.0
LOST = 12.0
"""Seconds without a beat after which a replica starts nothing: its leases may be taken back soon."""
DEAD = timedelta(seconds=20)
"""How long a replica may be silent before others take its leases; with a beat, less than 30 s in all."""


class Role(StrEnum):
    """What a process does."""

    ALL = "all"
    API = "api"
    WORKER = "worker"


async def _nothing() -> None:
    return None


class Replica:
    """One process that serves the database. `changed` is told when endpoints or keys changed elsewhere,
    `freed` when work was taken back from a replica that is gone."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        wall: Wall,
        lanes: Lanes,
        name: str,
        role: Role,
        kids: Sequence[str] = (),
    ) -> None:
        self._store = store
        self._clock = clock
        self._wall = wall
        self._lanes = lanes
        self.name = name
        self.role = role
        self._kids = " ".join(kids)
        self.changed: Callable[[], Awaitable[None]] = _nothing
        self.freed: Callable[[], object] = lambda: None
        self._generation = ""
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
        now = self._clock.now()
        live = await self._store.write(lambda: replicas.join(self._as_row(now), now - DEAD))
        self._share(live)
        self._generation = await self._store.read(generation())
        self.beat_at = self._clock.monotonic()

    async def run(self) -> None:
        """Beat and look, until cancelled; where nobody else serves there is nothing to do."""
        if self._store.shared:
            await steadily(self.look, every=LOOK, logger=LOGGER)

    async def look(self) -> None:
        """Take up what others changed, and beat when it is time."""
        present = await self._store.read(generation())
        if present != self._generation:
            self._generation = present
            await self.changed()
        if self._clock.monotonic() - self.beat_at < BEAT:
            return
        asked, was_live = self._clock.monotonic(), self.live
        self._wall.ahead = await self._store.skew()
        now = self._clock.now()
        live, taken = await self._store.write(lambda: replicas.beat(self._as_row(now), now - DEAD))
        self.beat_at = asked
        self._share(live)
        if taken or not was_live:
            self.freed()

    def _as_row(self, now: datetime) -> Present:
        return Present(self.name, self.role, self._kids, now)

    def _share(self, live: int) -> None:
        self._lanes.share(live)
        self._store.share(live)

    async def leave(self) -> None:
        """Serve no more; where nobody else serves, the next start takes everything back."""
        if not self._store.shared:
            return
        try:
            await self._store.write(lambda: replicas.leave(self.name, self._clock.now()))
        except StoreUnavailable as error:
            LOGGER.warning("others take our work over once our leases end: %s", error.detail)
