"""What every test may ask for: the loop that the service runs on."""

import asyncio
from collections.abc import Callable

import uvloop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """One loop for all."""
    return {"uvloop": uvloop.new_event_loop}
