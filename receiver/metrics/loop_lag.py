"""The lateness of the event loop: by how much a timer fires after its moment."""

import asyncio
from collections.abc import Callable

EVERY = 0.5
"""Seconds between two measurements."""


async def measure(observe: Callable[[float], None]) -> None:
    """Measure the lateness of the event loop until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + EVERY
        await asyncio.sleep(EVERY)
        observe(max(loop.time() - due, 0.0))
