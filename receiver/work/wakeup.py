"""The wake-up timer of a worker: one task waits for it, and many callers set it."""

import asyncio
import math

SHORTEST = 0.001
"""The shortest delay of a timer in seconds."""


class Wakeup:
    """A wake-up timer. It fires at once, or at the earliest moment that was set since its last reset."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def rings_in(self) -> float:
        """Return the seconds until the timer fires: 0 where it has fired, infinity where it is not set."""
        if self._rung.is_set():
            return 0.0
        if self._timer is None:
            return math.inf
        return max(0.0, self._timer.when() - self._loop.time())

    def schedule(self, seconds: float = 0.0) -> None:
        """Fire in `seconds`, unless the timer fires earlier anyway."""
        if seconds >= self.rings_in():
            return
        self._cancel()
        if seconds <= 0:
            self._rung.set()
        else:
            self._timer = self._loop.call_later(max(SHORTEST, seconds), self._rung.set)

    def reset(self) -> None:
        """Clear the timer, whether it is set or has fired."""
        self._cancel()
        self._rung.clear()

    async def wait(self) -> None:
        """Wait until the timer fires."""
        await self._rung.wait()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
