"""Waiting coroutines, woken a few at a time, so that others run in between."""

import asyncio
from collections.abc import Callable, Iterable

from receiver.domain.model import State

TOGETHER = 16
"""Waiters that are woken in one turn of the event loop."""


class Waiter:
    """A waiting coroutine.

    `seen` is the last state of its job that it has read, None where it waits for the feed or has not read
    yet. `start` is a position of the feed before the events that it was woken for, and `cut` ends
    the connection of its client. One that is `resting` is left alone by the feed.
    """

    __slots__ = ("_future", "_woken", "cut", "resting", "seen", "start")

    def __init__(self) -> None:
        self.seen: State | None = None
        self.start: int | None = None
        self.cut: Callable[[], None] | None = None
        self.resting = False
        self._woken = False
        # In place of an `asyncio.Event`, whose queue takes most of the memory of an idle stream.
        self._future: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Wake the coroutine: there may be a change."""
        self._woken = True
        _resolve(self._future)

    async def news(self, seconds: float) -> bool:
        """Wait for a change, at most `seconds`. Returns whether there may be one.

        A change from now on wakes the coroutine again.
        """
        if not self._woken:
            loop = asyncio.get_running_loop()
            self._future = loop.create_future()
            timer = loop.call_later(seconds, _resolve, self._future)
            try:
                await self._future
            finally:
                timer.cancel()
                self._future = None
        woken, self._woken = self._woken, False
        return woken


def _resolve(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


class WakeQueue:
    """The waiters that are to be woken."""

    def __init__(self) -> None:
        self._to_wake: dict[Waiter, None] = {}

    def wake(self, waiters: Iterable[Waiter]) -> None:
        """Wake these waiters, a few in each turn of the event loop."""
        # While waiters are left to wake, `_wake_some` is scheduled already.
        idle = not self._to_wake
        self._to_wake.update(dict.fromkeys(waiters))
        if idle and self._to_wake:
            self._wake_some()

    def discard(self, waiter: Waiter) -> None:
        """Leave out a waiter that no longer waits."""
        self._to_wake.pop(waiter, None)

    def _wake_some(self) -> None:
        for waiter in list(self._to_wake)[:TOGETHER]:
            del self._to_wake[waiter]
            waiter.wake()
        if self._to_wake:
            asyncio.get_running_loop().call_soon(self._wake_some)
