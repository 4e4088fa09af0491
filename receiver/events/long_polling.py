"""API calls that wait for changes of a job or of the feed: woken a few at a time, counted by API key.

A process that serves the database alone is notified of every change. Where several processes serve it, one
read a second serves all calls that wait in this process.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence

from receiver.domain.errors import StoreUnavailable, TooManyWaiting
from receiver.events.waiters import TOGETHER, Waiter, WakeQueue
from receiver.store import Store
from receiver.store.job_states import watched

AT_MOST = 4096
"""The maximum number of waiting calls of one key."""
LOOK = 1.0
"""Seconds between two reads for changes that other processes made."""


class WaitingCalls:
    """The waiting calls of this process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._jobs: dict[str, set[Waiter]] = {}
        self._feed: set[Waiter] = set()
        self._by_owner: Counter[str] = Counter()
        self._queue = WakeQueue()
        self._looking: asyncio.Task[None] | None = None
        self._last: int | None = None
        self.closed = False
        self.turn = asyncio.Semaphore(TOGETHER)

    def has_room(self, owner: str) -> bool:
        """Return whether one more call of this key may wait."""
        return self._by_owner[owner] < AT_MOST

    @contextlib.contextmanager
    def waiting(self, job_id: str | None, owner: str) -> Iterator[Waiter]:
        """Yield a waiter for changes of a job, or of the feed (None). Raises `TooManyWaiting`."""
        if not self.has_room(owner):
            raise TooManyWaiting
        waiter = Waiter()
        same = self._feed if job_id is None else self._jobs.setdefault(job_id, set())
        same.add(waiter)
        self._by_owner[owner] += 1
        if self._store.shared and self._looking is None and not self.closed:
            self._looking = asyncio.get_running_loop().create_task(self._look_steadily())
        try:
            yield waiter
        finally:
            same.discard(waiter)
            self._queue.discard(waiter)
            if job_id is not None and not same and self._jobs.get(job_id) is same:
                del self._jobs[job_id]
            self._by_owner[owner] -= 1
            if not self._by_owner[owner]:
                del self._by_owner[owner]

    def close(self) -> None:
        """End every wait, and all later ones."""
        self.closed = True
        if self._looking is not None:
            self._looking.cancel()
        self.tell(list(self._jobs), events=True)

    def tell(self, job_ids: Sequence[str], *, events: bool) -> None:
        """Wake the calls that wait for these jobs, and with `events` those that wait for the feed."""
        for job_id in job_ids:
            if job_id in self._jobs:
                self._queue.wake(self._jobs[job_id])
        if events and self._feed:
            self._queue.wake(self._feed)

    async def look(self) -> None:
        """Wake the calls with a job that changed since they read it, and those of a feed that has grown."""
        last, states = await self._store.read(watched(list(self._jobs)))
        if last != self._last:
            self._last = last
            self._queue.wake(self._feed)
        for job_id, waiters in self._jobs.items():
            self._queue.wake({one for one in waiters if one.seen not in {None, states.get(job_id)}})

    async def _look_steadily(self) -> None:
        while self._jobs or self._feed:
            await asyncio.sleep(LOOK)
            with contextlib.suppress(StoreUnavailable):
                await self.look()
        # While no call waits, nothing is read. The feed may grow meanwhile: without `_last` the first look of
        # the next calls wakes those of the feed.
        self._looking = self._last = None
