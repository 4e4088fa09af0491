"""Tests of the HTTP client's idle connections: their use, their number, and the one retry."""

import asyncio
import contextlib
import select
import sys
from typing import Any

import pytest

from receiver.egress.client import CallFailed, HttpCall
from receiver.egress.http1 import Answer, Connection
from tests.receiver.client_fixture import staged
from tests.receiver.raw_server import INTERIM, OK, Heard, Peer, Script, calling, outcome, replaying, serving

TWO = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntwo"


# The pool, and its retry.


def turns(*lives: list[bytes], asked: list[bytes] | None = None) -> Script:
    """Return a script that answers each connection by the next of `lives`, then closes. The last repeats."""

    async def script(peer: Peer) -> None:
        for answer in lives[min(peer.number, len(lives) - 1)]:
            request = await peer.request()
            if asked is not None and request:
                asked.append(request)
            await peer.send(answer)

    return script


async def test_a_connection_is_used_again_and_a_fresh_one_never() -> None:
    async with staged(replaying(*[OK] * 9)) as (server, gateway):
        for count, fresh in ((1, False), (1, False), (2, True), (3, True), (3, False)):
            assert (await gateway.call(HttpCall(method="POST", url=server.url(), fresh=fresh))).body == b"ok"
            assert len(server.peers) == count
        await server.gone(2)
        assert not server.peers[0].gone.is_set()
        await gateway.close()
        await server.gone(3)


async def test_an_idle_connection_keeps_nothing_of_its_answer() -> None:
    large = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 1_000_000
    async with staged(replaying(large, OK)) as (server, gateway):
        assert (
            await gateway.call(HttpCall(method="POST", url=server.url(), cap=2_000_000))
        ).body == b"x" * 1_000_000
        [connection] = gateway._pool._order
        assert sys.getsizeof(connection._body) < 1000
        assert (await gateway.call(HttpCall(method="POST", url=server.url()))).body == b"ok"
        assert len(server.peers) == 1


async def test_an_idle_connection_is_closed_although_no_call_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.egress.client.IDLE_SECONDS", 0.15)
    async with staged(replaying(OK)) as (server, gateway):
        assert (await gateway.call(HttpCall(method="POST", url=server.url()))).body == b"ok"
        await server.gone(1)


@pytest.mark.parametrize("name", ["close", "1.0", "broken end"])
async def test_a_connection_that_is_to_end_is_left_after_its_answer(name: str) -> None:
    raw = {
        "close": b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "1.0": b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "broken end": OK + b"garbage",
    }[name]
    async with staged(replaying(raw, raw)) as (server, gateway):
        for count in (1, 2, 3):
            assert (await gateway.call(HttpCall(method="POST", url=server.url()))).body == b"ok"
            await server.gone(count)


async def test_calls_at_once_have_a_connection_each_and_some_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("receiver.egress.client.IDLE_PER_ORIGIN", 3)
    together = asyncio.Barrier(8)

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            if peer.number < 8 and b"/first" in request:
                await together.wait()
            await peer.send(OK[:-2] + request.split()[1][-2:])

    async with staged(script) as (server, gateway):
        for calls, path, peers in ((8, "/first", 8), (3, "/later", 8), (4, "/more", 9)):
            urls = [server.url(f"{path}/{number:02}") for number in range(calls)]
            answers = await asyncio.gather(*[gateway.call(HttpCall(method="POST", url=url)) for url in urls])
            assert [answer.body.decode() for answer in answers] == [url[-2:] for url in urls]
            await server.gone(peers - 3)
            assert (len(server.peers), sum(peer.gone.is_set() for peer in server.peers)) == (peers, peers - 3)


async def test_so_many_connections_are_kept_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.egress.client.IDLE_IN_ALL", 3)
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving(replaying(OK, OK))) for _ in range(6)]
        gateway = await stack.enter_async_context(calling())
        for server in servers:
            await gateway.call(HttpCall(method="POST", url=server.url()))
        for server in servers[:3]:
            await server.gone(1)
        for server in servers[3:]:
            await gateway.call(HttpCall(method="POST", url=server.url()))
    assert [len(server.peers) for server in servers] == [1] * 6


async def test_a_provider_and_a_downstream_of_one_origin_share_no_connection() -> None:
    async with staged(replaying(OK, OK)) as (server, gateway):
        for delivery in (True, False, True, False):
            await gateway.call(HttpCall(method="POST", url=server.url(), delivery=delivery))
    assert len(server.peers) == 2


async def test_an_old_connection_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.egress.client.IDLE_SECONDS", -1.0)
    async with staged(replaying(OK, OK)) as (server, gateway):
        for count in (0, 1, 2):
            await gateway.call(HttpCall(method="POST", url=server.url()))
            await server.gone(count)
            assert len(server.peers) == count + 1


async def test_connections_are_of_one_origin() -> None:
    async with staged(replaying(OK, OK)) as (one, gateway), serving(replaying(TWO, TWO)) as two:
        for server, body in ((one, b"ok"), (two, b"two"), (one, b"ok"), (two, b"two")):
            assert (await gateway.call(HttpCall(method="GET", url=server.url()))).body == body
    assert (len(one.peers), len(two.peers)) == (1, 1)


@pytest.mark.parametrize("extra", [OK, b"garbage", b"H"])
async def test_a_connection_that_spoke_while_idle_is_left(extra: bytes, heard: Heard) -> None:
    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(OK)
            await heard.until(len(OK))
            await peer.send(extra if peer.number == 0 else b"")

    async with staged(script) as (server, gateway):
        await gateway.call(HttpCall(method="POST", url=server.url()))
        await server.gone(1)
        assert (await gateway.call(HttpCall(method="POST", url=server.url()))).body == b"ok"
    assert len(server.peers) == 2


async def test_bytes_that_wait_unread_are_not_the_next_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[asyncio.BaseTransport] = []
    original = Connection.connection_made

    def connection_made(connection: Connection, transport: asyncio.BaseTransport) -> None:
        made.append(transport)
        original(connection, transport)

    monkeypatch.setattr(Connection, "connection_made", connection_made)
    async with staged(replaying(OK, OK)) as (server, gateway):
        await gateway.call(HttpCall(method="POST", url=server.url()))
        server.peers[0].sock.send(b"HTTP/1.1 408 Idle\r\ncontent-length: 0\r\n\r\n")
        assert select.select([made[0].get_extra_info("socket")], [], [], 5)[0]
        assert (await gateway.call(HttpCall(method="POST", url=server.url()))).status == 200


# The lives of the connections, whether the second call is fresh, what it brings, and how often was asked.
LIVES: dict[str, tuple[list[list[bytes]], bool, bytes | None, int]] = {
    "dies asked": ([[OK, b""], [TWO]], False, b"two", 3),
    "dies asked twice": ([[OK, b""], [b""]], False, None, 3),
    "dies idle": ([[OK], [TWO]], False, b"two", 2),
    "dies speaking": ([[OK, b"H"], [TWO]], False, None, 2),
    "dies after an interim head": ([[OK, INTERIM], [TWO]], False, None, 2),
    "fresh": ([[OK, b""], [TWO]], True, b"two", 2),
    "fresh dies": ([[OK, b""], [b""], [TWO]], True, None, 2),
}


@pytest.mark.parametrize("name", LIVES)
async def test_only_a_used_connection_without_a_byte_of_answer_is_tried_again_once(name: str) -> None:
    lives, fresh, body, count = LIVES[name]
    asked: list[bytes] = []
    async with staged(turns(*lives, asked=asked)) as (server, gateway):
        await gateway.call(HttpCall(method="POST", url=server.url(), body=b"same"))
        found = await outcome(gateway, HttpCall(method="POST", url=server.url(), body=b"same", fresh=fresh))
    assert (found.body if isinstance(found, Answer) else None) == body
    assert asked == [asked[0]] * count
    assert len(server.peers) <= 2


async def test_what_was_written_stays_written_if_the_retry_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionRefusedError

    async with staged(turns([OK, b""])) as (server, gateway):
        await gateway.call(HttpCall(method="POST", url=server.url()))
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", refuse)
        failed = await outcome(gateway, HttpCall(method="POST", url=server.url()))
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.written) == ("connect", True)
