"""The HTTP server on real sockets, and clients that send it raw bytes."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from receiver.api.fast_path import RawResponse
from receiver.api.server import SignalFree, new_server

PATIENCE = 100.0
"""Seconds after which a wait has failed; a bound, never an expectation."""
SHORT = 0.2
HEAD = b"POST /a HTTP/1.1\r\nhost: h\r\n"
WHOLE = HEAD + b"content-length: 5\r\n\r\nhello"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
CHUNKS = CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"


async def until(reached: Callable[[], object]) -> None:
    """Wait until a condition holds that the event loop brings about by itself."""
    async with asyncio.timeout(PATIENCE):
        while not reached():
            await _turn()


async def _turn() -> None:
    await asyncio.sleep(0)


@dataclass
class App:
    """An app that answers with the request's body. It waits at a gate first, if there is one."""

    gate: asyncio.Event | None = None
    send_bytes: int = 0
    bodies: list[bytes] = field(default_factory=list)
    short: int = 0
    began: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one request."""
        self.began.set()
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.ended.set()
                return
            body, more = body + message["body"], message["more_body"]
        status, headers, body = await self._answer(body)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self.ended.set()

    async def whole(self, scope: MutableMapping[str, Any], body: bytes) -> RawResponse:
        """Answer one request on the fast path."""
        assert scope["method"] == "POST"
        assert scope["path"].startswith("/a")
        assert scope["raw_path"] == scope["path"].encode()
        self.short += 1
        self.began.set()
        answered = await self._answer(body)
        self.ended.set()
        return answered

    async def _answer(self, body: bytes) -> RawResponse:
        self.bodies.append(body)
        if self.gate is not None:
            await self.gate.wait()
        size = self.send_bytes or len(body)
        return 200, [(b"content-length", b"%d" % size)], b"a" * self.send_bytes or body


@dataclass(repr=False)
class Front:
    """A running server with its app, for any number of clients."""

    app: App
    http: SignalFree
    port: int
    serving: asyncio.Task[None]

    @contextlib.asynccontextmanager
    async def caller(self) -> AsyncIterator["Caller"]:
        """Yield a client on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Caller(reader, writer)
        finally:
            writer.transport.abort()

    async def reads(self) -> None:
        """Wait until the head of a request has arrived."""
        await until(lambda: any(one.cycle for one in self.connections()))

    def connections(self) -> list[Any]:
        """Return the open connections."""
        return list(self.http.server_state.connections)

    def quiet(self) -> bool:
        """Return whether no client is connected and nothing is under way."""
        return not self.http.server_state.connections and not self.http.server_state.tasks

    async def said(self, first: bytes, again: bytes = b"") -> bytes:
        """Return everything that is answered to these bytes, to the end of the connection."""
        async with self.caller() as caller:
            return await caller.to_the_end(first, again)


@dataclass
class Caller:
    """A client: one connection to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def to_the_end(self, first: bytes, again: bytes = b"") -> bytes:
        """Send `first`, then `again` repeatedly until the connection ends. Returns the answer."""
        reading = asyncio.create_task(self._rest())
        async with asyncio.timeout(PATIENCE):
            if first:
                self.writer.write(first)
            while again and not reading.done():
                with contextlib.suppress(OSError):
                    self.writer.write(again)
                    await self.writer.drain()
                await asyncio.wait([reading], timeout=SHORT / 20)
            return await reading

    async def ask(self, request: bytes) -> bytes:
        """Send one request. Returns the body of its response."""
        self.writer.write(request)
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None
            return await self.reader.readexactly(int(length[1]))

    async def _rest(self) -> bytes:
        found = b""
        with contextlib.suppress(OSError):
            while piece := await self.reader.read(65536):
                found += piece
        return found


@contextlib.asynccontextmanager
async def serving(app: App, grace: float = 1.0, *, way: str = "long") -> AsyncIterator[Front]:
    """Run the server with an app as long as the context lasts. Yields it."""
    listening = socket.create_server(("127.0.0.1", 0))
    short = (b"/a", app.whole) if way == "short" else None
    http = new_server(app, "127.0.0.1", 0, grace, short=short)
    task = asyncio.create_task(http.serve(sockets=[listening]))
    try:
        yield Front(app, http, listening.getsockname()[1], task)
    finally:
        http.should_exit = True
        async with asyncio.timeout(PATIENCE):
            await task
