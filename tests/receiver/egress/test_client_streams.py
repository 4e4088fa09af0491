"""Bodies of answers, read as they arrive, over real sockets."""

import asyncio

import pytest

from receiver.egress import body_stream, http1
from receiver.egress.body_stream import FULL, BodyCut, BodyStream
from receiver.egress.client import CallFailed, HttpCall, HttpClient
from receiver.egress.http1 import Answer
from tests.receiver.client_fixture import staged
from tests.receiver.front_door import until
from tests.receiver.raw_server import FRAMINGS, LIMIT, Heard, Peer, RawServer, sending, silent

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"
LARGE = 64 * 1024 * 1024
KERNEL = 16 * 1024 * 1024
"""The most bytes that the system's own buffers of a connection hold, both sides together."""


async def began(
    client: HttpClient, server: RawServer, timeout: float = LIMIT, method: str = "GET"
) -> tuple[Answer, BodyStream]:
    """Return the head of an answer, and its body on the way."""
    body = BodyStream()
    answer = await client.call(HttpCall(method=method, url=server.url(), timeout=timeout, into=body))
    return answer, body


async def rest(body: BodyStream) -> bytes:
    """Return the rest of a body."""
    found = b""
    async with asyncio.timeout(LIMIT):
        while piece := await body.read():
            found += piece
    return found


@pytest.mark.parametrize("name", FRAMINGS)
async def test_every_framing_streams_the_same_body(name: str) -> None:
    canned = FRAMINGS[name]
    async with staged(sending(canned.raw)) as (server, client):
        answer, body = await began(client, server)
        assert (answer.status, answer.body, answer.cut) == (canned.status, b"", False)
        assert await rest(body) == canned.body
        body.close()


async def test_the_head_comes_before_the_body() -> None:
    opened = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD % 2)
        await opened.wait()
        await peer.send(b"ok")
        await peer.leave()

    async with staged(script) as (server, client):
        answer, body = await began(client, server)
        assert answer.header("content-length") == "2"
        opened.set()
        assert await rest(body) == b"ok"
        body.close()


CUT = {
    "length": HEAD % 10 + b"half",
    "chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "no chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n",
}


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("name", CUT)
async def test_a_body_that_ends_early_is_never_whole(name: str, reset: bool) -> None:
    async with staged(sending(CUT[name], reset=reset)) as (server, client):
        try:
            _, body = await began(client, server)
        except CallFailed:
            assert reset
            return
        with pytest.raises(BodyCut):
            await rest(body)


async def test_framing_that_outweighs_the_body_ends_the_stream() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        await peer.flood(b"1;" + b"x" * 1000 + b"\r\na\r\n")

    async with staged(script) as (server, client):
        _, body = await began(client, server)
        with pytest.raises(BodyCut):
            await rest(body)
        await server.gone(1)


async def test_a_body_that_is_not_read_stops_its_sender(heard: Heard) -> None:
    sent: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD % LARGE)
        for _ in range(LARGE >> 16):
            await peer.send(b"z" * (1 << 16))
            sent.append(1 << 16)
        await peer.leave()

    async with staged(script) as (server, client):
        _, body = await began(client, server)
        await until(lambda: body.full)
        # What the client took is bounded by its buffer and one read from the socket.
        assert body.arrived <= FULL + 256 * 1024
        before = heard.total
        for _ in range(1000):
            await asyncio.sleep(0)
        assert heard.total == before
        assert sum(sent) < KERNEL
        size = 0
        async with asyncio.timeout(LIMIT):
            while piece := await body.read():
                size += len(piece)
        assert size == LARGE
        body.close()


async def test_a_reader_that_leaves_closes_the_connection_at_once() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD % LARGE)
        await peer.flood(b"z" * 65536)

    async with staged(script) as (server, client):
        _, body = await began(client, server)
        await body.read()
        body.close()
        await server.gone(1)


async def test_the_deadline_of_a_call_is_that_of_its_head() -> None:
    async with staged(silent) as (server, client):
        with pytest.raises(CallFailed, match="timed out"):
            await began(client, server, timeout=0.05)
        await server.gone(1)


async def test_a_silent_body_is_given_up_and_a_full_buffer_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "IDLE_SECONDS", 0.01)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD % LARGE + b"z" * FULL)
        await peer.leave()

    async with staged(script) as (server, client):
        _, body = await began(client, server)
        await until(lambda: body.full)
        # The buffer is full: the deadline for the next bytes is off until there is room.
        (peer,) = server.peers
        await asyncio.wait([asyncio.create_task(peer.gone.wait())], timeout=0.1)
        assert not peer.gone.is_set()
        with pytest.raises(BodyCut):
            await rest(body)
        await server.gone(1)
    assert body_stream.IDLE_SECONDS == 30.0


async def test_a_stream_takes_no_kept_connection_and_keeps_none() -> None:
    connections: list[int] = []

    async def script(peer: Peer) -> None:
        connections.append(peer.number)
        while await peer.request():
            await peer.send(HEAD % 2 + b"ok")

    async with staged(script) as (server, client):
        await client.call(HttpCall(method="GET", url=server.url()))
        _, body = await began(client, server)
        assert await rest(body) == b"ok"
        body.close()
        await client.call(HttpCall(method="GET", url=server.url()))
    assert connections == [0, 1]
