"""Loops that outlive failures: retries until a write is stored, and functions that run periodically."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from receiver.domain.errors import StoreUnavailable

Told = TypeVar("Told")


PAUSE = 0.1
"""Seconds before the second try to store; each further pause is twice as long."""
LONGEST_PAUSE = 2.0
"""Seconds between two tries to store at most."""


async def retry_until_stored(
    attempt: Callable[[], Awaitable[Told]], away: Callable[[StoreUnavailable], object]
) -> Told:
    """Run `attempt` until the store is available. Returns the result of the attempt.

    `away` is called with the error of every failure.
    """
    pause = PAUSE
    # There is no last try: the outcome of a call exists only in this process, and the call cannot be made
    # a second time. Why: receiver/README.md#an-outcome-waits-for-the-store
    while True:
        try:
            return await attempt()
        except StoreUnavailable as error:
            away(error)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


async def run_periodically(
    look: Callable[[], Awaitable[object]], *, every: float, logger: logging.Logger
) -> None:
    """Call `look` every `every` seconds until cancelled. A failure is logged and costs one call.

    An unavailable database is logged at debug only, because the store itself reports it, once.
    """
    while True:
        await asyncio.sleep(every)
        try:
            await look()
        except StoreUnavailable as error:
            logger.debug("waits for the database: %s", error.detail)
        except Exception:
            logger.exception("failed, and is tried again")
