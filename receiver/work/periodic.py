"""Work that is looked at again and again, whatever goes wrong in between."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from receiver.domain.errors import StoreUnavailable

Told = TypeVar("Told")


PAUSE = 0.1
LONGEST_PAUSE = 2.0
"""Seconds between tries to store; the first and the longest."""


async def retry_until_stored(
    attempt: Callable[[], Awaitable[Told]], away: Callable[[StoreUnavailable], object]
) -> Told:
    """Try to store again and again until it works. Returns the result of the attempt.

    What happened outside cannot be had a second time, so it waits here as long as the process lives. `away`
    is told of every failure.
    """
    pause = PAUSE
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
    """Look every so many seconds until cancelled; what goes wrong is logged and costs one look. That nothing
    can be stored is told by the store, once.
    """
    while True:
        await asyncio.sleep(every)
        try:
            await look()
        except StoreUnavailable as error:
            logger.debug("waits for the database: %s", error.detail)
        except Exception:
            logger.exception("failed, and is tried again")
