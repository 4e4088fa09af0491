"""A bounded number of places with a bounded queue: a caller that finds none waits, up to its own deadline."""

import asyncio
import contextlib
from collections import deque


class NoPlace(Exception):
    """The error for a full queue: so many callers wait already that one more would wait in vain."""


class Places:
    """A bounded number of places. With `newest_first`, the newest caller in the queue is served first.

    Where more callers come than can be served, first come first served makes all of them late. Newest first
    serves some in time, and the others would be late in any case.
    """

    def __init__(self, places: int, waiting: int, *, newest_first: bool = False) -> None:
        self.places = places
        self.taken = 0
        self._most = waiting
        self._newest_first = newest_first
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> None:
        """Take a place as soon as one is free. Raises `NoPlace` where too many callers wait already."""
        if self.taken < self.places:
            self.taken += 1
            return
        if len(self._waiting) >= self._most:
            raise NoPlace
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            # The place was given to this caller just before its cancellation, so it passes the place on.
            if mine.done() and not mine.cancelled():
                self.release()
            with contextlib.suppress(ValueError):
                self._waiting.remove(mine)
            raise

    def release(self) -> None:
        """Give a place back, to the next caller in the queue if there is one."""
        while self._waiting:
            following = self._waiting.pop() if self._newest_first else self._waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        self.taken -= 1
