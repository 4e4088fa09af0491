"""When to look next: one who sleeps, many who know a moment at which it pays to be awake."""

import asyncio
import math

SHORTEST = 0.001


class Wakeup:
    """Rings at once, or at the earliest of the moments that it was set to since it was last stilled."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def rings_in(self) -> float:
        """Seconds until it rings: 0 where it has, infinite where it was not set."""
        if self._rung.is_set():
            return 0.0
        if self._timer is None:
            return math.inf
        return max(0.0, self._timer.when() - self._loop.time())

    def schedule(self, seconds: float = 0.0) -> None:
        """Ring in so many seconds, where it would not before."""
        if seconds >= self.rings_in():
            return
        self._cancel()
        if seconds <= 0:
            self._rung.set()
        else:
            self._timer = self._loop.call_later(max(SHORTEST, seconds), self._rung.set)

    def reset(self) -> None:
        """Forget all that it was set to."""
        self._cancel()
        self._rung.clear()

    async def wait(self) -> None:
        """Wait until it rings."""
        await self._rung.wait()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
