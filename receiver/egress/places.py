"""Numbers of places that many want at once: a caller that finds none waits, up to a deadline of its own."""

import asyncio
import contextlib
from collections import deque


class NoPlace(Exception):
    """So many wait for a place already that one more would wait in vain."""


class Places:
    """A number of places. With `newest_first` the last to come is served first.

    Where more come than can be served, first come first served makes everybody late; newest first serves
    some in time, and the others were late in any case.
    """

    def __init__(self, places: int, waiting: int, *, newest_first: bool = False) -> None:
        self.places = places
        self.taken = 0
        self._most = waiting
        self._newest_first = newest_first
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> None:
        """Take a place, as soon as there is one; raises `NoPlace` where too many wait already."""
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
            if mine.done() and not mine.cancelled():
                self.release()
            with contextlib.suppress(ValueError):
                self._waiting.remove(mine)
            raise

    def release(self) -> None:
        """Give a place back: to the next in line, if there is one."""
        while self._waiting:
            following = self._waiting.pop() if self._newest_first else self._waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        self.taken -= 1
