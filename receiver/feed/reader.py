"""One reader of the feed: it reads the store until it has caught up, then the ring."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from receiver.events.waiters import Waiter
from receiver.feed.frames import CHUNK, HEARTBEAT, frame, gap, opening, packed, position
from receiver.feed.ring import Ring
from receiver.feed.selection import Selection
from receiver.feed.tailer import FeedTailer
from receiver.store import Store, events

QUIET = 15.0
"""Seconds without an event after which a heartbeat is sent."""
PAGE = 100
"""Events that a reader reads from the store at once."""

Place = int | str | None
"""A position in the feed: a number, the id of an event, or None for the beginning."""


class FeedReader:
    """The chunks of one stream. `first` is sent as its position; `cut` ends its connection.

    It ends after an event of the types `until`, and with `once` when it has caught up. `every` is the
    least time between two chunks in seconds.
    """

    def __init__(  # noqa: PLR0913  # the choices of a stream
        self,
        tailer: FeedTailer,
        store: Store,
        selection: Selection,
        place: Place,
        *,
        owner: str,
        first: str | None = None,
        until: Sequence[str] = (),
        once: bool = False,
        every: float = 0.0,
    ) -> None:
        self._tailer = tailer
        self._store = store
        self._selection = selection
        self._place = place
        self._owner = owner
        self._first = first
        self._until = frozenset(until)
        self._once = once
        self._every = every
        # An event takes a kilobyte, and most streams do not rest.
        self._left = asyncio.Event() if every else None
        self._now = tailer.monotonic
        self._waiter: Waiter | None = None
        self.cut: Callable[[], None] | None = None
        self._over = False

    def leave(self) -> None:
        """End the stream: its client is gone."""
        self._over = True
        if self._left is not None:
            self._left.set()
        if self._waiter is not None:
            self._waiter.wake()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes of the stream until its client leaves, it ends, or the process stops."""
        with self._tailer.reading(self._selection.key, self._owner, self.cut) as waiter:
            self._waiter = waiter
            yield opening(self._first)
            told = self._now()
            while not (self._over or self._tailer.closed):
                ring = self._tailer.covering(self._place)
                sent, more = self._from_ring(ring) if ring else await self._from_store()
                for chunk in packed(sent):
                    yield chunk
                    told = self._now()
                # A search in the store for a rare type shows that the connection lives.
                if not sent and more and self._now() - told >= QUIET:
                    yield self._heartbeat()
                    told = self._now()
                if more or self._over:
                    continue
                if self._once:
                    return
                if sent and self._left is not None:
                    await self._rest(waiter, self._left)
                if not await self._waited(waiter):
                    yield self._heartbeat()
                    told = self._now()

    async def _rest(self, waiter: Waiter, gone: asyncio.Event) -> None:
        """Let events gather for a while, in which this reader is woken for none."""
        waiter.resting = True
        try:
            async with asyncio.timeout(self._every):
                await gone.wait()
        except TimeoutError:
            pass
        finally:
            # It may have missed events.
            waiter.resting = False
            waiter.wake()

    async def _waited(self, waiter: Waiter) -> bool:
        """Wait for a selected event. Returns False, at a later position, where none came for `QUIET`."""
        # Woken waiters take turns, so one that has a `start` may not have had its own yet.
        if await waiter.news(QUIET) or waiter.start is not None:
            self._skip_to(waiter.start)
            waiter.start = None
            return True
        self._skip_to(self._tailer.ring.last if self._tailer.ring else None)
        return False

    def _heartbeat(self) -> bytes:
        """Return a comment, and for a filtered stream the position up to which nothing was selected."""
        # A client whose last event is older than retention would else learn of a gap that is none.
        if self._selection.job_id is None and self._selection.type and isinstance(self._place, int):
            return HEARTBEAT + position(self._tailer.places.text(self._place))
        return HEARTBEAT

    def _skip_to(self, place: int | None) -> None:
        """Go on at a later position: the reader would have been woken for a selected event before it."""
        if place is not None and isinstance(self._place, int):
            self._place = max(self._place, place)

    def _from_ring(self, ring: Ring) -> tuple[list[bytes], bool]:
        """Return the next selected frames from the ring, and whether there may be more."""
        sent: list[bytes] = []
        size = 0
        assert isinstance(self._place, int)  # noqa: S101  # `covering` looked
        for entry in ring.after(self._place):
            self._place = entry.seq
            if self._selection.takes(entry.type, entry.job_id):
                sent.append(entry.frame)
                size += len(entry.frame)
                if self._ends(entry.type):
                    break
                if size >= CHUNK:
                    return sent, True
        return sent, False

    async def _from_store(self) -> tuple[list[bytes], bool]:
        """Return the next selected frames from the store, and whether there may be more."""
        of = self._selection
        async with self._tailer.turn:
            page = await self._store.read(events.feed(self._place, of.types, of.prefixes, of.job_id, PAGE))
        self._place = page.after
        if page.lost:
            return [gap(self._tailer.places.text(page.after), page.oldest)], True
        sent = []
        for event in page.events:
            sent.append(frame(event))
            if self._ends(event.type):
                break
        return sent, page.more

    def _ends(self, event_type: str) -> bool:
        if event_type in self._until:
            self._over = True
        return self._over
