"""A proxy before a database server: bytes pass as they are, until a COMMIT is cut."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

COMMIT = b"; commit"


class Wire:
    """A proxy before a database server.

    `armed` COMMITs are cut, with no answer to the client: about half of them before the server has them, half
    after. While it is `down`, it closes every new connection.
    """

    def __init__(self, port: int, dice: random.Random) -> None:
        self.port = 0
        self.armed = 0
        self.down = False
        self.cuts = 0
        self._server_port = port
        self._dice = dice
        self._streams: set[asyncio.StreamWriter] = set()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass the bytes of one connection, until either side ends it."""
        if self.down:
            writer.close()
            return
        try:
            theirs = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.close()
            return
        self._streams |= {writer, theirs[1]}
        try:
            await asyncio.gather(self._there(reader, theirs[1], writer), _pass(theirs[0], writer))
        finally:
            for stream in (writer, theirs[1]):
                self._streams.discard(stream)
                stream.close()

    async def _there(
        self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                cut = self.armed > 0 and COMMIT in data
                if cut:
                    self.armed -= 1
                    self.cuts += 1
                    client.transport.abort()
                if not cut or self._dice.random() < 0.5:
                    server.write(data)
                    await server.drain()
                if cut:
                    break
        server.close()

    def close(self) -> None:
        """Cut every connection."""
        for stream in self._streams:
            stream.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def wired(port: int, dice: random.Random) -> AsyncIterator[Wire]:
    """Run a proxy before the server at `port`. Yields it."""
    wire = Wire(port, dice)
    server = await asyncio.start_server(wire.take, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
        wire.close()
