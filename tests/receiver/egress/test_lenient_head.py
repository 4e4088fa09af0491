"""Tests of answers to deliveries: the head decides, even with common faults. Providers' must be strict."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.egress import http1
from receiver.egress.client import CallFailed, HttpCall
from receiver.egress.http1 import HEAD_LIMIT, Answer
from receiver.egress.lenient_head import NoHead, read_head
from tests.receiver.raw_server import (
    BOUNDED,
    FRAMINGS,
    OK,
    Peer,
    calling,
    dripping,
    outcome,
    replaying,
    sending,
    serving,
)

SLOPPY: dict[str, tuple[bytes, int, bytes]] = {
    "bare LF": (b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok", 200, b"ok"),
    "bare LF and CRLF": (b"HTTP/1.1 201 Made\r\nx: y\ncontent-length: 2\r\n\nok", 201, b"ok"),
    "blank before the colon": (b"HTTP/1.1 200 OK\r\nx : y\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    "length twice": (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    "length twice in one": (b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok", 200, b"ok"),
    "two lengths": (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", 200, b"ok"),
    "line that is no field": (b"HTTP/1.1 200 OK\r\nWarning\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    "odd name": (b"HTTP/1.1 200 OK\r\nx y: z\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    "lower case": (b"http/1.1 204 no\r\n\r\n", 204, b""),
    "interim with bare LF": (b"HTTP/1.1 103 x\na : b\n\nHTTP/1.1 202 y\ncontent-length: 0\n\n", 202, b""),
    "failure with bare LF": (b"HTTP/1.1 503 Busy\nretry-after: 7\ncontent-length: 2\n\nno", 503, b"no"),
}


async def delivered(raw: bytes, *, reset: bool = False) -> Answer | CallFailed:
    """Return the outcome of a delivery that is answered by `raw`."""
    async with serving(sending(raw, reset=reset)) as server, calling() as gateway:
        return await outcome(gateway, HttpCall(method="POST", url=server.url(), body=b"x", delivery=True))


@pytest.mark.parametrize("name", SLOPPY)
async def test_a_sloppy_head_is_read_for_what_it_means(name: str) -> None:
    raw, status, body = SLOPPY[name]
    found = await delivered(raw)
    assert isinstance(found, Answer)
    assert (found.status, found.body) == (status, body)


@pytest.mark.parametrize("name", SLOPPY)
async def test_a_sloppy_head_may_come_byte_by_byte(name: str) -> None:
    raw, status, body = SLOPPY[name]

    async def script(peer: Peer) -> None:
        await peer.request()
        for byte in raw:
            await peer.send(bytes([byte]))
            await asyncio.sleep(0)

    async with serving(script) as server, calling() as gateway:
        found = await outcome(gateway, HttpCall(method="POST", url=server.url(), delivery=True))
    assert isinstance(found, Answer)
    assert (found.status, found.body) == (status, body)


async def test_a_length_beside_chunks_is_an_answer_and_its_fields_are_told() -> None:
    head = b"HTTP/1.1 429 No\r\ncontent-length: 2\r\nRetry-After : 9\r\ntransfer-encoding: chunked\r\n\r\n"
    raw = head + b"2\r\nok\r\n0\r\n\r\n"
    found = await delivered(raw)
    assert isinstance(found, Answer)
    assert (found.status, found.body, found.header("retry-after")) == (429, b"ok", "9")


CUT: dict[str, bytes] = {
    "shorter than it says": OK[:-1],
    "no byte of its body": OK[:-2],
    "chunks without end": FRAMINGS["chunked"].raw[:-5],
    "bad chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok",
    "until the end": b"HTTP/1.1 200 OK\r\n\r\nok",
    "long trailers": FRAMINGS["chunked"].raw[:-2] + b"t: " + b"y" * 2 * HEAD_LIMIT,
}


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("name", CUT)
async def test_whatever_follows_the_head_a_delivery_is_one(name: str, reset: bool) -> None:
    found = await delivered(CUT[name], reset=reset)
    if reset and isinstance(found, CallFailed):  # a reset may overtake the head itself
        assert found.stage == "read"
        return
    assert isinstance(found, Answer)
    assert found.status == 200


@pytest.mark.parametrize("again", [b"z", b"1\r\nz\r\n", b"x: y\r\n"])
async def test_a_body_that_never_ends_holds_nobody_up(again: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "BODY_SECONDS", 0.05)
    framing = b"transfer-encoding: chunked" if b"\r\n" in again else b"content-length: 99999"
    script = dripping(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n", again)
    async with serving(script) as server, calling() as gateway:
        found = await outcome(gateway, HttpCall(method="POST", url=server.url(), timeout=3600, delivery=True))
        await server.gone(1)
        assert isinstance(found, Answer)
        assert found.status == 200
        assert isinstance(
            await outcome(gateway, HttpCall(method="POST", url=server.url(), delivery=True)), Answer
        )
    assert len(server.peers) == 2


async def test_a_whole_answer_keeps_the_connection() -> None:
    async with serving(replaying(OK, OK)) as server, calling() as gateway:
        for _ in range(2):
            found = await gateway.call(HttpCall(method="POST", url=server.url(), delivery=True))
            assert (found.status, found.body, found.cut) == (200, b"ok", False)
    assert len(server.peers) == 1


STRICTLY_FINE = {CUT["until the end"], SLOPPY["lower case"][0]}
WRONG = {*(raw for raw, _, _ in SLOPPY.values()), *CUT.values()} - STRICTLY_FINE


@pytest.mark.parametrize("raw", sorted(WRONG))
async def test_of_a_provider_the_body_counts(raw: bytes) -> None:
    async with serving(sending(raw)) as server, calling() as gateway:
        found = await outcome(gateway, HttpCall(method="POST", url=server.url(), body=b"x"))
    assert isinstance(found, CallFailed)
    assert (found.stage, found.written) == ("read", True)


NO_HEADS = [
    b"garbage\n\n",
    b"HTTP/1.1 20 OK\n\n",
    b"HTTP/1.1 2000 OK\n\n",
    b"HTTP/1.1\n\n",
    b"GET / HTTP/1.1\n\n",
]


@pytest.mark.parametrize("raw", NO_HEADS)
async def test_what_is_no_answer_stays_none(raw: bytes) -> None:
    found = await delivered(raw)
    assert isinstance(found, CallFailed)
    assert (found.stage, found.reason) == ("read", "the answer is no HTTP that we read")


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\n", b"HTTP/1.1 200 OK\nx: y", b"HTTP/1.1 100 x\n\n"])
async def test_a_head_without_its_end_is_none(raw: bytes) -> None:
    found = await delivered(raw)
    assert isinstance(found, CallFailed)
    assert (found.stage, found.reason) == ("read", "the connection broke")


@BOUNDED
@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda some: b"HTTP/1.1 200 OK\n" + some))
def test_any_bytes_are_a_head_or_none(data: bytes) -> None:
    try:
        head = read_head(data)
    except NoHead:
        return
    if head is not None:
        assert 200 <= head.status <= 999
        assert 0 < head.end <= len(data)
        assert all(name.isascii() and "\n" not in value and "\r" not in value for name, value in head.headers)
