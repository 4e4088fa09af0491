"""Work that is looked at again and again, whatever goes wrong in between."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from receiver.errors import StoreUnavailable


async def steadily(look: Callable[[], Awaitable[object]], *, every: float, logger: logging.Logger) -> None:
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
