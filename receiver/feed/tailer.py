"""The task that follows the feed while there are readers, and wakes those that want an event."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from receiver.domain.errors import StoreUnavailable, TooManyWaiting
from receiver.events.long_polling import WaitingCalls
from receiver.events.waiters import Waiter, WakeQueue
from receiver.feed.frames import frame
from receiver.feed.places import FeedPlaces
from receiver.feed.ring import Entry, Ring
from receiver.feed.selection import keys_of
from receiver.store import Store, events

LOGGER = logging.getLogger("ringback.feed")
AT_MOST = 4096
"""Most streams of one API key, or of one job's tokens."""
PAGE = 500
"""Events that the task reads at once."""
LOOK = 5.0
"""Seconds after which the task reads the feed without being woken."""
AGAIN = 1.0
"""Seconds before it reads again when the store was unavailable."""
GATHER = 0.2
"""Seconds for which events gather where every reader rests."""
LAST_WRITE = 1.0
"""Seconds that the clients of streams have to read the last piece when the process stops."""
OWNER = "the feed's own task"


class FeedTailer:
    """The readers of the feed in this process, and the task that feeds them.

    `ring` is None until the task has found the end of the feed, and while there are no readers. `turn` bounds
    the reads of the store at once.
    """

    def __init__(
        self, store: Store, calls: WaitingCalls, monotonic: Callable[[], float], places: FeedPlaces
    ) -> None:
        self._store = store
        self.places = places
        self._calls = calls
        self.turn = calls.turn
        self.monotonic = monotonic
        self._readers: dict[str, set[Waiter]] = {}
        self._by_owner: Counter[str] = Counter()
        self._queue = WakeQueue()
        self._task: asyncio.Task[None] | None = None
        self.ring: Ring | None = None

    @property
    def closed(self) -> bool:
        """Return whether this process is stopping: every stream ends."""
        return self._calls.closed

    def check_room(self, owner: str) -> None:
        """Raise `TooManyWaiting` when a key has all the streams that it may have."""
        if self._by_owner[owner] >= AT_MOST:
            raise TooManyWaiting

    @contextlib.contextmanager
    def reading(self, key: str, owner: str, cut: Callable[[], None] | None = None) -> Iterator[Waiter]:
        """Yield a waiter that is woken for the events that have this key.

        `cut` ends the connection of its client where the process stops and the client does not read.
        """
        waiter = Waiter()
        waiter.cut = cut
        same = self._readers.setdefault(key, set())
        same.add(waiter)
        self._by_owner[owner] += 1
        self._start()
        try:
            yield waiter
        finally:
            same.discard(waiter)
            self._queue.discard(waiter)
            if not same and self._readers.get(key) is same:
                del self._readers[key]
            self._by_owner[owner] -= 1
            if not self._by_owner[owner]:
                del self._by_owner[owner]
            if not self._readers and self._task is not None:
                self._task.cancel()

    def covering(self, place: int | str | None) -> Ring | None:
        """Return the ring if it holds every known event after `place`, else None."""
        if self.ring is None or not isinstance(place, int):
            return None
        self.ring.trim(self.monotonic())
        return self.ring if self.ring.covers(place) else None

    def _start(self) -> None:
        if self._task is None and self._readers and not self.closed:
            self._task = asyncio.get_running_loop().create_task(self._follow())
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = self.ring = None
        if not task.cancelled() and (error := task.exception()) is not None:
            LOGGER.error("the feed could not be followed; starting again", exc_info=error)
            asyncio.get_running_loop().call_later(AGAIN, self._start)
        else:
            # For readers that came after the last one had left.
            self._start()

    async def _follow(self) -> None:
        """Follow the feed until there are no readers, or until the process stops."""
        with self._calls.waiting(None, OWNER) as waiter:
            while not self.closed:
                pause = LOOK
                try:
                    await self._read()
                except StoreUnavailable:
                    pause = AGAIN
                await waiter.news(pause)
                if all(one.resting for same in self._readers.values() for one in same):
                    # No reader waits for an event at once, so several are read together.
                    await asyncio.sleep(GATHER)
        self._queue.wake([one for same in self._readers.values() for one in same])
        asyncio.get_running_loop().call_later(LAST_WRITE, self._cut)

    def _cut(self) -> None:
        """Cut the streams that are left: their clients do not read, and the process would wait for them."""
        for waiter in [one for same in self._readers.values() for one in same]:
            if waiter.cut is not None:
                waiter.cut()

    async def _read(self) -> None:
        """Read the events after the ring's last one."""
        if self.ring is None:
            self.ring = Ring((await self._store.read(events.end())).seq)
            # They read the store up to now, and do not know whether an event came after.
            self._wake([one for same in self._readers.values() for one in same], 0)
        more = True
        while more:
            page, more = await self._store.read(events.tail(self.ring.last, PAGE))
            self._publish(
                [
                    Entry(seq=seq, type=event.type, job_id=event.job_id, frame=frame(event))
                    for seq, event in page
                ]
            )

    def _publish(self, entries: Sequence[Entry]) -> None:
        """Add events to the ring and wake the readers that want one of them."""
        # A reader is woken for its own events only. Why: receiver/README.md#one-task-reads-the-feed
        if self.ring is None or not entries:
            return
        before = self.ring.last
        self.ring.append(entries, self.monotonic())
        keys = {key for entry in entries for key in keys_of(entry.type, entry.job_id)}
        self._wake([one for key in keys for one in self._readers.get(key, ()) if not one.resting], before)

    def _wake(self, waiters: Sequence[Waiter], start: int) -> None:
        for waiter in waiters:
            if waiter.start is None:
                waiter.start = start
        self._queue.wake(waiters)
