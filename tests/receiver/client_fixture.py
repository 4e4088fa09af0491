"""A server together with an HTTP client that may call it."""

import contextlib
from collections.abc import AsyncIterator

from receiver.egress.client import HttpClient
from tests.receiver.raw_server import RawServer, Script, calling, serving


@contextlib.asynccontextmanager
async def staged(script: Script) -> AsyncIterator[tuple[RawServer, HttpClient]]:
    """Yield a server that runs `script`, and an HTTP client that may call it."""
    async with serving(script) as server, calling() as gateway:
        yield server, gateway
