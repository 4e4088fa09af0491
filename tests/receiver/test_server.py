"""The front door on raw sockets: the slow are cut, the flooding are refused, everybody else is served."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from uvicorn import Server

from receiver import server as door
from receiver.server import HEADERS, server

PATIENCE = 20.0
"""Seconds after which a wait has failed; a bound, never an expectation."""
SHORT = 0.2
HEAD = b"POST /a HTTP/1.1\r\nhost: h\r\n"
WHOLE = HEAD + b"content-length: 5\r\n\r\nhello"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
CHUNKS = CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"
BIG = 64 * 1024 * 1024
# What is sent at once, and what is sent again and again after it.
SLOW = {
    "nothing": (b"", b""),
    "a dripped first line": (b"", b"A"),
    "half a head": (HEAD, b""),
    "a dripped head": (HEAD, b"x-a: b\r\n"),
    "a dripped header": (HEAD + b"x-a: ", b"b"),
    "an announced body that never comes": (HEAD + b"content-length: 5\r\n\r\n", b""),
    "half a body": (HEAD + b"content-length: 500000\r\n\r\nhel", b""),
    "a dripped body": (HEAD + b"content-length: 500000\r\n\r\n", b"a"),
    "half a chunk": (CHUNKED + b"5\r\nhel", b""),
    "dripped chunks": (CHUNKED, b"1\r\na\r\n"),
    "a dripped chunk size": (CHUNKED, b"0"),
    "half a head after a request": (WHOLE + HEAD, b""),
    "a dripped head after a request": (WHOLE + HEAD, b"x-a: b\r\n"),
    "a dripped body after a request": (WHOLE + HEAD + b"content-length: 500000\r\n\r\n", b"a"),
}
LONG = b"a" * (33 * 1024)
MANY = b"".join(b"x-%d: a\r\n" % number for number in range(HEADERS))
TOO_MUCH = {
    "one header too many": (HEAD + MANY + b"\r\n", b""),
    "headers without end": (HEAD, b"x-a: b\r\n" * 100),
    "large headers without end": (HEAD, b"x-a: " + b"b" * 4000 + b"\r\n"),
    "a header without end": (HEAD + b"x-a: ", LONG),
    "a target without end": (b"POST /", LONG),
    "a long target": (b"POST /" + LONG + b" HTTP/1.1\r\nhost: h\r\n\r\n", b""),
    "a method without end": (b"", LONG),
}
MALFORMED = {
    "a length and chunks": HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a length": HEAD + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\nhello",
    "two lengths": HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    "the same length twice": HEAD + b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello",
    "a length that is none": HEAD + b"content-length: +5\r\n\r\nhello",
    "a negative length": HEAD + b"content-length: -5\r\n\r\nhello",
    "a length beyond all": HEAD + b"content-length: 99999999999999999999999\r\n\r\n",
    "a blank before the colon": HEAD + b"content-length : 5\r\n\r\nhello",
    "a folded header": HEAD + b"x-a: b\r\n c\r\n\r\n",
    "bare line feeds": b"POST /a HTTP/1.1\nhost: h\n\n",
    "a NUL": HEAD + b"x-a: \x00\r\n\r\n",
    "no HTTP": b"hello world\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
    "a chunk size that is none": CHUNKED + b"xyz\r\nhello\r\n",
    "a chunk size beyond all": CHUNKED + b"ffffffffffffffffff\r\n",
}


@dataclass
class App:
    """Answers with the body that it got; waits at a gate first, when there is one."""

    gate: asyncio.Event | None = None
    send_bytes: int = 0
    bodies: list[bytes] = field(default_factory=list)
    began: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """One request."""
        self.began.set()
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.ended.set()
                return
            body, more = body + message["body"], message["more_body"]
        self.bodies.append(body)
        if self.gate is not None:
            await self.gate.wait()
        size = self.send_bytes or len(body)
        headers = [(b"content-length", b"%d" % size)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"a" * self.send_bytes or body})
        self.ended.set()


@dataclass
class Front:
    """A server that serves, and who calls it."""

    app: App
    http: Server
    port: int
    serving: asyncio.Task[None]

    @contextlib.asynccontextmanager
    async def caller(self) -> AsyncIterator["Caller"]:
        """A connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Caller(reader, writer)
        finally:
            writer.transport.abort()

    async def said(self, first: bytes, again: bytes = b"") -> bytes:
        """All that is answered to this, to the end of the connection."""
        async with self.caller() as caller:
            return await caller.to_the_end(first, again)


@dataclass
class Caller:
    """The other side of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def to_the_end(self, first: bytes, again: bytes = b"") -> bytes:
        """Send, then go on sending, until the connection is cut; what was answered."""
        reading = asyncio.create_task(self._rest())
        async with asyncio.timeout(PATIENCE):
            self.writer.write(first)
            while again and not reading.done():
                with contextlib.suppress(OSError):
                    self.writer.write(again)
                    await self.writer.drain()
                await asyncio.wait([reading], timeout=SHORT / 20)
            return await reading

    async def ask(self, request: bytes) -> bytes:
        """One request, and its answer's body."""
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
async def serving(app: App, grace: float = 1.0) -> AsyncIterator[Front]:
    """The app behind the front door."""
    listening = socket.create_server(("127.0.0.1", 0))
    http = server(app, "127.0.0.1", 0, grace)
    task = asyncio.create_task(http.serve(sockets=[listening]))
    try:
        yield Front(app, http, listening.getsockname()[1], task)
    finally:
        http.should_exit = True
        async with asyncio.timeout(PATIENCE):
            await task


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    """A server as it is."""
    async with serving(App()) as made:
        yield made


@pytest.fixture
async def hasty(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Front]:
    """A server that waits for nobody."""
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "WRITE_SECONDS"):
        monkeypatch.setattr(door, name, SHORT)
    async with serving(App()) as made:
        yield made


def statuses(answer: bytes) -> list[int]:
    """The statuses of the answers in a stream."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


@pytest.mark.parametrize(("first", "again"), SLOW.values(), ids=SLOW)
async def test_whoever_is_slow_is_cut(hasty: Front, first: bytes, again: bytes) -> None:
    whole = first.count(b"hello")
    assert statuses(await hasty.said(first, again)) in ([200] * whole, [200] * whole + [400])
    assert hasty.app.bodies == [b"hello"] * whole


async def test_a_slow_handler_is_not_cut(hasty: Front) -> None:
    hasty.app.gate = asyncio.Event()
    asyncio.get_running_loop().call_later(SHORT * 3, hasty.app.gate.set)
    async with hasty.caller() as caller:
        assert await caller.ask(WHOLE) == b"hello"
        assert await caller.ask(CHUNKS) == b"hello"


async def test_a_blank_line_behind_a_body_is_nothing(hasty: Front) -> None:
    hasty.app.gate = asyncio.Event()
    asyncio.get_running_loop().call_later(SHORT * 3, hasty.app.gate.set)
    async with hasty.caller() as caller:
        caller.writer.write(WHOLE)
        await hasty.app.began.wait()
        assert await caller.ask(b"\r\n") == b"hello"


async def test_whoever_does_not_read_is_cut(hasty: Front) -> None:
    hasty.app.send_bytes = BIG
    async with hasty.caller() as caller:
        caller.writer.write(WHOLE)
        async with asyncio.timeout(PATIENCE):
            await hasty.app.ended.wait()
    assert hasty.app.bodies == [b"hello"]


@pytest.mark.parametrize(("first", "again"), TOO_MUCH.values(), ids=TOO_MUCH)
async def test_whoever_floods_is_refused(front: Front, first: bytes, again: bytes) -> None:
    assert statuses(await front.said(first, again)) in ([], [431], [400])
    assert front.app.bodies == []


async def test_a_long_head_in_one_piece_is_refused(front: Front) -> None:
    request = HEAD + b"x-a: " + LONG + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    assert statuses(await front.said(request)) in ([], [431])


async def test_as_many_headers_as_are_allowed_pass(front: Front) -> None:
    lines = [b"x-%d: a\r\n" % number for number in range(HEADERS - 2)]
    request = HEAD + b"".join(lines) + b"content-length: 0\r\n\r\n"
    async with front.caller() as caller:
        assert await caller.ask(request) == b""
    large = HEAD + b"x-a: " + b"a" * (31 * 1024) + b"\r\ncontent-length: 0\r\n\r\n"
    async with front.caller() as caller:
        assert await caller.ask(large) == b""
        assert await caller.ask(large) == b""


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED)
async def test_what_can_be_read_in_two_ways_is_refused(front: Front, request_: bytes) -> None:
    answer = await front.said(request_ + b"\r\n" * 4)
    assert statuses(answer)[:1] in ([400], [])
    assert 200 not in statuses(answer)
    assert front.app.bodies == []


async def test_a_connection_serves_many_requests(front: Front) -> None:
    async with front.caller() as caller:
        for request in (WHOLE, CHUNKS, HEAD + b"content-length: 0\r\n\r\n", WHOLE):
            assert await caller.ask(request) in {b"hello", b""}
        body = b"a" * 300_000
        large = HEAD + b"content-length: 300000\r\n\r\n" + body
        assert await caller.ask(large) == body
        assert await caller.ask(WHOLE) == b"hello"
    assert len(front.app.bodies) == 6


async def test_requests_that_come_together_are_answered_in_turn(front: Front) -> None:
    last = WHOLE.replace(b"host: h", b"host: h\r\nconnection: close")
    answer = await front.said(WHOLE * 20 + CHUNKS + last)
    assert statuses(answer) == [200] * 22
    assert front.app.bodies == [b"hello"] * 22


async def test_whoever_leaves_in_a_body_is_not_served(front: Front) -> None:
    async with front.caller() as caller:
        caller.writer.write(HEAD + b"content-length: 500\r\n\r\nhalf")
        await front.app.began.wait()
    async with asyncio.timeout(PATIENCE):
        await front.app.ended.wait()
    assert front.app.bodies == []


async def test_a_stop_does_not_wait_for_a_stuck_body() -> None:
    async with serving(App(), grace=0.1) as front, front.caller() as caller:
        caller.writer.write(HEAD + b"content-length: 500\r\n\r\nhalf")
        await front.app.began.wait()
        front.http.should_exit = True
        async with asyncio.timeout(6.0):
            await front.serving


async def test_a_stop_lets_an_answer_finish() -> None:
    app = App(gate=asyncio.Event())
    async with serving(app, grace=PATIENCE) as front, front.caller() as caller:
        assert app.gate is not None
        asking = asyncio.create_task(caller.ask(WHOLE))
        await app.began.wait()
        front.http.should_exit = True
        asyncio.get_running_loop().call_later(SHORT, app.gate.set)
        assert await asking == b"hello"
        async with asyncio.timeout(PATIENCE):
            await front.serving
