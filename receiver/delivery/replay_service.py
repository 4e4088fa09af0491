"""The use cases of replays, and the loop that makes their deliveries."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from handlers.values import immutable
from receiver.domain.clock import Clock
from receiver.domain.errors import Conflict, Gone, no_such
from receiver.domain.model import Endpoint, Work
from receiver.events.endpoint_cache import EndpointCache
from receiver.security.ids import IdGenerator
from receiver.store import Store, replays
from receiver.store.replays import Replay, ReplayProgress, ReplayState, Which
from receiver.work.dispatcher import Dispatcher
from receiver.work.periodic import run_periodically

LOGGER = logging.getLogger("ringback.replays")
IDLE, BUSY = 1.0, 0.1
"""Seconds between two looks for replays, and between two steps of those that are running."""


@immutable
class ReplayService:
    """The replays as users see and control them."""

    store: Store
    cache: EndpointCache
    dispatcher: Dispatcher
    clock: Clock
    ids: IdGenerator

    async def plan(
        self,
        endpoint: Endpoint,
        which: Which,
        since: datetime | None,
        until: datetime | None,
        events: Sequence[str] | None,
    ) -> Replay:
        """Return a replay with the number of its events, not stored yet.

        Raises `Gone` where retention removed a part of the time.
        """
        found = await self.store.read(replays.range_of(since, until))
        if found.lost:
            extra = {"oldest": found.oldest} if found.oldest else {}
            raise Gone("/since: retention removed events of this time; begin later", extra=extra)
        now = self.clock.now()
        planned = Replay(
            id=self.ids.new("rpl", now),
            endpoint_id=endpoint.id,
            which=which,
            since=since,
            until=until,
            events=None if events is None else tuple(events),
            place=found.place,
            last=found.last,
            total=0,
            created_at=now,
        )
        place, total = planned.place, 0
        while place < planned.last:
            chosen, place = await self.store.read(replays.chosen(planned, endpoint, place))
            total += len(chosen)
        return replace(planned, total=total)

    async def start(self, planned: Replay) -> None:
        """Store a planned replay and begin it. Raises `Conflict` while its endpoint has another."""
        if not await self.store.write(lambda: replays.add(planned)):
            raise Conflict("this endpoint has a replay that is running; wait for it, or cancel it")

    async def get(self, replay_id: str) -> tuple[Replay, ReplayProgress]:
        """Return a replay and its progress. Raises `NotFound`."""
        found = await self.store.read(replays.get(replay_id))
        if found is None:
            raise no_such("replay")
        return found

    async def page(
        self, before: str, limit: int, endpoint: str | None = None
    ) -> list[tuple[Replay, ReplayProgress]]:
        """Return at most `limit` replays before an id, of all endpoints or of one, newest first."""
        return await self.store.read(replays.page(before, limit, endpoint))

    async def cancel(self, replay_id: str) -> tuple[Replay, ReplayProgress]:
        """Cancel a replay with its pending deliveries. Returns it. Raises `Conflict` for one that is done."""
        now = self.clock.now()
        await self.store.write(lambda: replays.cancel(replay_id, now))
        replay, progress = await self.get(replay_id)
        if replay.state is not ReplayState.CANCELED:
            raise Conflict(f"the replay is already {replay.state}")
        return replay, progress

    async def run(self) -> None:
        """Make the deliveries of running replays until cancelled."""
        await run_periodically(self.look, every=IDLE, logger=LOGGER)

    async def look(self) -> None:
        """Make the deliveries of running replays until none is left."""
        while found := await self.store.read(replays.running()):
            for one in found:
                await self.step(one)
            await asyncio.sleep(BUSY)

    async def step(self, replay: Replay) -> int:
        """Make the next deliveries of a replay, and start them. Returns their number."""
        endpoint, now = self.cache.get(replay.endpoint_id), self.clock.now()
        made = await self.store.write(lambda: replays.step(replay.id, endpoint, self.ids, now))
        if made:
            self.dispatcher.wake(Work.DELIVER)
        return made
