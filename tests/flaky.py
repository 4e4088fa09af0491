"""A proxy on loopback that cuts connections, loses answers or leads nowhere, on request."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CHUNK = 1 << 16


@dataclass
class Flaky:
    """A proxy to the service at `target`.

    Each connection takes the next of `cuts`: the bytes of answers that it passes on before it is cut, where
    0 loses the first answer whole. None, and an empty list, cut nothing. Without a target it refuses.
    """

    target: str | None
    url: str = ""
    cuts: deque[int | None] = field(default_factory=deque)
    cut: int = 0
    connections: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        self.connections += 1
        self.reached.set()
        left = self.cuts.popleft() if self.cuts and self.target else None
        with contextlib.suppress(OSError), contextlib.closing(writer):
            if self.target is None:
                return
            parts = urlsplit(self.target)
            upstream, above = await asyncio.open_connection(parts.hostname, parts.port)
            with contextlib.closing(above):
                up = asyncio.create_task(_pumped(reader, above))
                try:
                    await self._down(upstream, writer, left)
                finally:
                    up.cancel()

    async def _down(
        self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None
    ) -> None:
        while data := await upstream.read(CHUNK):
            if left is not None:
                writer.write(data[:left])
                left -= len(data)
                if left <= 0:
                    self.cut += 1
                    await writer.drain()
                    return
            else:
                writer.write(data)
            await writer.drain()


async def _pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def flaky(target: str | None) -> AsyncIterator[Flaky]:
    """Run a proxy to a service as long as the context lasts. Yields it."""
    made = Flaky(target)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
