"""The readiness check of a deployment: whether the service can store data."""

import asyncio
from collections.abc import Awaitable, Callable

from receiver.domain.errors import StoreUnavailable

GOOD_FOR = 1.0
"""Seconds for which a result holds. The check needs no API key, and every probe writes to the store."""


class Readiness:
    """A readiness check that probes the store once a second at most, however often it is called."""

    def __init__(self, probe: Callable[[], Awaitable[object]], monotonic: Callable[[], float]) -> None:
        self._probe = probe
        self._monotonic = monotonic
        self._asking: asyncio.Task[str | None] | None = None
        self._good_until = 0.0

    async def check(self) -> None:
        """Raise `StoreUnavailable` when the latest probe, at most a second old, could not store data."""
        if self._asking is None or (self._asking.done() and self._monotonic() >= self._good_until):
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        # Shielded: a caller that leaves must not cancel the probe for the others.
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
