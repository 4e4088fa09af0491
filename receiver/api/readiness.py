"""Readiness: whether the service can store, as the readiness probe of a deployment asks."""

import asyncio
from collections.abc import Awaitable, Callable

from receiver.domain.errors import StoreUnavailable

GOOD_FOR = 1.0
"""Seconds for which an answer about readiness holds: anybody may ask, and each look writes."""


class Readiness:
    """Whether we can store: looked at once a second at most, however often it is asked."""

    def __init__(self, probe: Callable[[], Awaitable[object]], monotonic: Callable[[], float]) -> None:
        self._probe = probe
        self._monotonic = monotonic
        self._asking: asyncio.Task[str | None] | None = None
        self._good_until = 0.0

    async def check(self) -> None:
        """Raises `StoreUnavailable` when we could not store a moment ago."""
        if self._asking is None or (self._asking.done() and self._monotonic() >= self._good_until):
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        problem = await asyncio.shield(self._asking)
        if problem is not None:
            raise StoreUnavailable(problem)

    async def _ask(self) -> str | None:
        try:
            await self._probe()
        except StoreUnavailable as error:
            return error.detail
        finally:
            self._good_until = self._monotonic() + GOOD_FOR
        return None
