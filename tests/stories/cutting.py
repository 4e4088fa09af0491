"""A proxy that cuts connections at random places."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

REFUSED = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class CuttingProxy:
    """A proxy in front of a server. The first connection holds until `cutting` is set.

    From then on each is cut after a random number of bytes, until `cuts` reaches `most`.
    """

    def __init__(self, target: str, most: int, chance: random.Random) -> None:
        self.url = ""
        self.cuts = 0
        self.cutting = asyncio.Event()
        self._closed = False
        self._open: set[asyncio.StreamWriter] = set()
        self._target = urlsplit(target)
        self._most = most
        self._chance = chance

    def close(self) -> None:
        """Cut every connection, and refuse every further request."""
        self._closed = True
        for writer in self._open:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self._open.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            if self._closed:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(REFUSED)
                await writer.drain()
            else:
                await self._between(reader, writer)
        self._open.discard(writer)
        writer.close()

    async def _between(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(self._target.hostname, self._target.port)
        up = asyncio.create_task(_pump(reader, ours))
        budget = self._chance.randrange(3000)
        try:
            while part := await theirs.read(65536):
                may_cut = self.cutting.is_set() and self.cuts < self._most
                if may_cut and len(part) > budget:
                    writer.write(part[:budget])
                    self.cuts += 1
                    await writer.drain()
                    writer.transport.abort()
                    return
                budget -= len(part) if self.cutting.is_set() else 0
                writer.write(part)
                await writer.drain()
        finally:
            up.cancel()
            ours.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while part := await reader.read(65536):
            writer.write(part)
            await writer.drain()


@contextlib.asynccontextmanager
async def cutting_proxy(target: str, most: int, chance: random.Random) -> AsyncIterator[CuttingProxy]:
    """Run a proxy in front of a server. Yields it."""
    proxy = CuttingProxy(target, most, chance)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
