"""The body of an answer as it arrives: a bounded buffer between a connection and its reader.

A reader that is slow makes the connection read no more, so a body of any size takes the same memory.
"""

import asyncio
from typing import Protocol

FULL = 64 * 1024
"""Bytes in the buffer from which on nothing more is read from the connection."""
PIECE = 64 * 1024
"""The most bytes that a reader gets at once."""
IDLE_SECONDS = 30.0
"""Seconds without a byte after which the connection is given up, as long as the buffer is not full."""


class BodyCut(Exception):
    """The error for a body that ended before it was whole."""


class BodySource(Protocol):
    """A connection that fills a stream."""

    def resume_reading(self) -> None:
        """Read on, after the buffer was full."""

    def close(self) -> None:
        """Close the connection at once."""


class BodyStream:
    """A body on its way from one connection to one reader."""

    def __init__(self) -> None:
        self.arrived = 0
        """The bytes that have come so far."""
        self._buffer = bytearray()
        self._source: BodySource | None = None
        self._ended = self._cut = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def full(self) -> bool:
        """Return whether the connection is to read no more for now."""
        return len(self._buffer) >= FULL

    async def read(self) -> bytes:
        """Return the next bytes, none at the end. Raises `BodyCut` where the body is not whole."""
        while not self._buffer:
            if self._cut:
                raise BodyCut
            if self._ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        was_full, piece = self.full, bytes(self._buffer[:PIECE])
        del self._buffer[:PIECE]
        if was_full and not self.full and not self._ended and self._source is not None:
            self._source.resume_reading()
        return piece

    def close(self) -> None:
        """Close the connection: the reader has left."""
        self._buffer.clear()
        self.end(whole=False)
        if self._source is not None:
            self._source.close()

    # Calls of the connection.

    def begin(self, source: BodySource) -> None:
        """Take the connection that fills this stream. A stream serves one exchange."""
        self._source = source

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if not self._ended:
            self.arrived += len(data)
            self._buffer += data
            self._wake()

    def end(self, *, whole: bool) -> None:
        """Take the end of the body; the first one counts."""
        if not self._ended:
            self._ended, self._cut = True, not whole
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
