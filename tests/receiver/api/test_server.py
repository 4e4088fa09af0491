"""The server on raw sockets: it cuts slow clients, refuses floods, and serves all other requests."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from receiver.api import server as door
from receiver.api.server import HEADERS
from tests.receiver.front_door import (
    CHUNKED,
    CHUNKS,
    HEAD,
    PATIENCE,
    SHORT,
    WHOLE,
    App,
    Front,
    serving,
    until,
)

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


@pytest.fixture(params=["long", "short"])
def way(request: pytest.FixtureRequest) -> str:
    """Return the path that plain requests take: through ASGI (`long`) or the fast path (`short`)."""
    return str(request.param)


@pytest.fixture
async def front(way: str) -> AsyncIterator[Front]:
    """Yield a server with its own deadlines."""
    async with serving(App(), way=way) as made:
        yield made


@pytest.fixture
async def hasty(monkeypatch: pytest.MonkeyPatch, way: str) -> AsyncIterator[Front]:
    """Yield a server with very short deadlines."""
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "WRITE_SECONDS"):
        monkeypatch.setattr(door, name, SHORT)
    async with serving(App(), way=way) as made:
        yield made


def statuses(answer: bytes) -> list[int]:
    """Return the statuses of the responses in a stream."""
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


async def test_whoever_does_not_read_many_answers_is_cut_in_silence(
    hasty: Front, caplog: pytest.LogCaptureFixture
) -> None:
    hasty.app.send_bytes = 1024 * 1024
    async with hasty.caller() as caller:
        caller.writer.write(WHOLE * 100)
        await until(hasty.quiet)
    assert len(hasty.app.bodies) < 100
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


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
        await front.reads()
    await until(front.quiet)
    assert front.app.bodies == []


async def test_a_stop_does_not_wait_for_a_stuck_body(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "BODY_SECONDS", 3600.0)
    async with serving(App(), grace=0.1, way=way) as front, front.caller() as caller:
        caller.writer.write(HEAD + b"content-length: 500\r\n\r\nhalf")
        await front.reads()
        front.http.should_exit = True
        async with asyncio.timeout(PATIENCE):
            await front.serving


async def test_a_stop_lets_an_answer_finish(way: str) -> None:
    app = App(gate=asyncio.Event())
    async with serving(app, grace=PATIENCE, way=way) as front, front.caller() as caller:
        assert app.gate is not None
        asking = asyncio.create_task(caller.ask(WHOLE))
        await app.began.wait()
        front.http.should_exit = True
        await until(lambda: not all(one.cycle.keep_alive for one in front.connections()))
        app.gate.set()
        assert await asking == b"hello"
        async with asyncio.timeout(PATIENCE):
            await front.serving


async def test_a_server_is_stopped_by_its_attribute_on_any_thread(front: Front) -> None:
    assert (await front.said(WHOLE.replace(b"host: h", b"host: h\r\nconnection: close"))).endswith(b"hello")
    await asyncio.to_thread(setattr, front.http, "should_exit", True)
    async with asyncio.timeout(PATIENCE):
        await front.serving
    assert front.serving.result() is None
