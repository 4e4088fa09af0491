"""The outgoing client against scripted servers: framings, deadlines, failures, the pool and its retry."""

import asyncio
import contextlib
import select
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.exchange import HEAD_LIMIT, Answer, Connection
from receiver.gateway import ANSWER_CAP, Call, CallFailed, Gateway
from receiver.resolver import NameServers
from tests.receiver.rawserver import (
    BOUNDED,
    FRAMINGS,
    INTERIM,
    MUTATIONS,
    OK,
    PLACES,
    SMALL,
    Heard,
    Mutation,
    Peer,
    RawServer,
    Script,
    calling,
    cut,
    dripping,
    endless_headers,
    endless_interims,
    mutated,
    outcome,
    replaying,
    sending,
    serving,
    silent,
)

SHORT = 0.15
TWO = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntwo"


@contextlib.asynccontextmanager
async def staged(script: Script) -> AsyncIterator[tuple[RawServer, Gateway]]:
    """A server that runs `script`, and a gateway that may call it."""
    async with serving(script) as server, calling() as gateway:
        yield server, gateway


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    """What our client has read so far."""
    ear = Heard()

    def data_received(connection: Connection, data: bytes) -> None:
        ear.data_received(connection, data)

    monkeypatch.setattr(Connection, "data_received", data_received)
    return ear


# Framings.


@pytest.mark.parametrize("name", FRAMINGS)
async def test_every_framing_is_read_as_httpx_reads_it(name: str) -> None:
    canned = FRAMINGS[name]
    async with staged(replaying(canned.raw, close=canned.closes)) as (server, gateway):
        ours = await gateway.call(Call("POST", server.url(), body=b"x"))
        async with (
            httpx.AsyncClient(trust_env=False) as client,
            client.stream("POST", server.url(), content=b"x") as theirs,
        ):
            body = b"".join([chunk async for chunk in theirs.aiter_raw()])
    assert (ours.status, ours.body) == (theirs.status_code, body) == (canned.status, canned.body)


@pytest.mark.parametrize("name", ["length", "chunked", "to-close", "continue", "204"])
async def test_an_answer_may_be_split_at_every_byte(name: str, heard: Heard) -> None:
    canned = FRAMINGS[name]
    splits = iter([*([place] for place in range(len(canned.raw))), list(range(len(canned.raw)))])

    async def script(peer: Peer) -> None:
        for places in splits:
            await peer.request()
            for piece in cut(canned.raw, places):
                before = heard.total
                await peer.send(piece)
                await heard.until(before + len(piece))
            if canned.closes:
                return

    async with staged(script) as (server, gateway):
        for _ in range(len(canned.raw) + 1):
            answer = await gateway.call(Call("POST", server.url()))
            assert (answer.status, answer.body) == (canned.status, canned.body)


@pytest.mark.parametrize("framing", ["length", "chunked", "to close"])
async def test_a_huge_body_is_cut_at_the_cap_and_so_is_the_connection(framing: str) -> None:
    block = {"chunked": b"10000\r\n" + b"z" * 65536 + b"\r\n"}.get(framing, b"z" * 65536)
    field = {"chunked": b"transfer-encoding: chunked", "length": b"content-length: 99999999999"}

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n" + field.get(framing, b"x: y") + b"\r\n\r\n")
        await peer.flood(block)

    async with staged(script) as (server, gateway):
        answer = await gateway.call(Call("GET", server.url()))
        await server.gone(1)
    assert (answer.status, answer.body, answer.cut) == (200, b"z" * ANSWER_CAP, True)
    assert ANSWER_CAP == 16 * 1024


async def test_an_answer_while_the_request_is_still_being_written_is_an_answer_or_our_error() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 413 Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")

    async with staged(script) as (server, gateway):
        found = await outcome(gateway, Call("POST", server.url(), body=bytes(4 << 20)))
    assert isinstance(found, CallFailed) or found.status == 413


async def test_an_answer_to_head_has_no_body() -> None:
    async with staged(replaying(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")) as (server, gateway):
        assert (await gateway.call(Call("HEAD", server.url(), timeout=SHORT))).status == 200


# What fails, and where.


BROKE, NO_HTTP = "the connection broke", "the answer is no HTTP that we read"
FAILING = {
    "nothing": (sending(b""), BROKE),
    "reset at once": (sending(b"", reset=True), BROKE),
    "half a head": (sending(OK[:20]), BROKE),
    "short body": (sending(OK[:-1]), BROKE),
    "reset in the body": (sending(OK[:-1], reset=True), BROKE),
    "reset in a body to close": (sending(b"HTTP/1.1 200 OK\r\n\r\nhalf", reset=True), BROKE),
    "chunks without end": (sending(FRAMINGS["chunked"].raw[:-5]), BROKE),
    "only an interim head": (sending(INTERIM), BROKE),
    "garbage": (sending(b"\x00\xff garbage \r\n\r\n"), NO_HTTP),
    "many headers": (endless_headers, NO_HTTP),
    "one large head": (sending(b"HTTP/1.1 200 OK\r\nx: " + b"y" * HEAD_LIMIT + b"\r\n\r\n"), NO_HTTP),
    "many interim heads": (endless_interims, NO_HTTP),
}


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("name", FAILING)
async def test_what_is_no_whole_answer_fails_while_reading_and_is_not_tried_again(
    name: str, fresh: bool
) -> None:
    script, reason = FAILING[name]
    async with staged(script) as (server, gateway):
        failed = await outcome(gateway, Call("POST", server.url(), body=b"x", fresh=fresh))
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.reason, failed.written) == ("read", reason, True)
    assert len(server.peers) == 1


SLOW = {
    "silence": silent,
    "dripped head": dripping(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
    "dripped body": dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", b"z"),
    "dripped chunks": dripping(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nz\r\n"),
    "dripped body to close": dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"z"),
    "slow 100s": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.002),
    "slow 103s": dripping(b"", INTERIM, 0.002),
}


@pytest.mark.parametrize("name", SLOW)
async def test_one_deadline_ends_what_goes_on_for_ever_and_the_connection(name: str) -> None:
    async with staged(SLOW[name]) as (server, gateway):
        failed = await outcome(gateway, Call("POST", server.url(), timeout=SHORT))
        await server.gone(1)
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.reason, failed.written) == ("read", "timed out", True)


async def test_a_peer_that_never_reads_is_ended_by_the_deadline() -> None:
    async def deaf(peer: Peer) -> None:
        await peer.gone.wait()

    async with staged(deaf) as (server, gateway):
        failed = await outcome(gateway, Call("POST", server.url(), body=bytes(16 << 20), timeout=SHORT))
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.reason, failed.written) == ("write", "timed out", False)


@pytest.mark.parametrize("stage", ["resolve", "connect"])
async def test_the_deadline_names_the_stage_before_anything_is_written(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(NameServers, "ask", hang)
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", hang)
    url = {"resolve": "https://hooks.test/", "connect": "http://127.0.0.1:9999/"}[stage]
    async with calling() as gateway:
        failed = await outcome(gateway, Call("POST", url, timeout=SHORT))
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.reason, failed.written) == (stage, "timed out", False)


@pytest.mark.parametrize("delivery", [False, True])
async def test_a_request_that_broke_before_it_had_left_us_whole_was_not_accepted(delivery: bool) -> None:
    async def script(peer: Peer) -> None:
        await asyncio.get_running_loop().sock_recv(peer.sock, 65536)
        peer.reset()

    async with staged(script) as (server, gateway):
        call = Call("POST", server.url(), body=bytes(32 << 20), fresh=True, delivery=delivery)
        failed = await outcome(gateway, call)
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.reason, failed.written) == ("write", "the connection broke", False)


@pytest.mark.parametrize("size", [0, 100, 1 << 20])
async def test_a_request_that_had_left_us_whole_may_have_been_accepted(size: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with staged(script) as (server, gateway):
        failed = await outcome(gateway, Call("POST", server.url(), body=bytes(size), fresh=True))
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.written) == ("read", True)


async def test_half_an_answer_to_half_a_request_may_be_an_acceptance() -> None:
    async def script(peer: Peer) -> None:
        await asyncio.get_running_loop().sock_recv(peer.sock, 65536)
        await peer.send(OK[:-1])
        await heard_it.wait()
        peer.reset()

    heard_it, original = asyncio.Event(), Connection.data_received

    def data_received(connection: Connection, data: bytes) -> None:
        original(connection, data)
        heard_it.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "data_received", data_received)
        async with staged(script) as (server, gateway):
            failed = await outcome(gateway, Call("POST", server.url(), body=bytes(32 << 20), fresh=True))
    assert isinstance(failed, CallFailed)
    assert failed.written


async def test_a_refused_connection_fails_at_connect_with_nothing_written() -> None:
    async with serving(silent) as server:
        url = server.url()
    async with calling() as gateway:
        failed = await outcome(gateway, Call("POST", url))
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.written) == ("connect", False)


async def test_a_call_that_is_given_up_ends_its_connection() -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.leave()

    async with staged(script) as (server, gateway):
        task = asyncio.create_task(gateway.call(Call("POST", server.url())))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.gone(1)


# The pool, and its retry.


def turns(*lives: list[bytes], asked: list[bytes] | None = None) -> Script:
    """Answer, for each connection, the requests of its life; then close. The last life is everyone's."""

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
            assert (await gateway.call(Call("POST", server.url(), fresh=fresh))).body == b"ok"
            assert len(server.peers) == count
        await server.gone(2)
        assert not server.peers[0].gone.is_set()
        await gateway.close()
        await server.gone(3)


@pytest.mark.parametrize("name", ["close", "1.0", "broken end"])
async def test_a_connection_that_is_to_end_is_left_after_its_answer(name: str) -> None:
    raw = {
        "close": b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "1.0": b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "broken end": OK + b"garbage",
    }[name]
    async with staged(replaying(raw, raw)) as (server, gateway):
        for count in (1, 2, 3):
            assert (await gateway.call(Call("POST", server.url()))).body == b"ok"
            await server.gone(count)


async def test_calls_at_once_have_a_connection_each_and_some_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("receiver.gateway.IDLE_PER_ORIGIN", 3)
    together = asyncio.Barrier(8)

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            if peer.number < 8 and b"/first" in request:
                await together.wait()
            await peer.send(OK[:-2] + request.split()[1][-2:])

    async with staged(script) as (server, gateway):
        for calls, path, peers in ((8, "/first", 8), (3, "/later", 8), (4, "/more", 9)):
            urls = [server.url(f"{path}/{number:02}") for number in range(calls)]
            answers = await asyncio.gather(*[gateway.call(Call("POST", url)) for url in urls])
            assert [answer.body.decode() for answer in answers] == [url[-2:] for url in urls]
            await server.gone(peers - 3)
            assert (len(server.peers), sum(peer.gone.is_set() for peer in server.peers)) == (peers, peers - 3)


async def test_so_many_connections_are_kept_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.gateway.IDLE_IN_ALL", 3)
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving(replaying(OK, OK))) for _ in range(6)]
        gateway = await stack.enter_async_context(calling())
        for server in servers:
            await gateway.call(Call("POST", server.url()))
        for server in servers[:3]:
            await server.gone(1)
        for server in servers[3:]:
            await gateway.call(Call("POST", server.url()))
    assert [len(server.peers) for server in servers] == [1] * 6


async def test_a_provider_and_a_downstream_of_one_origin_share_no_connection() -> None:
    async with staged(replaying(OK, OK)) as (server, gateway):
        for delivery in (True, False, True, False):
            await gateway.call(Call("POST", server.url(), delivery=delivery))
    assert len(server.peers) == 2


async def test_an_old_connection_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.gateway.IDLE_SECONDS", -1.0)
    async with staged(replaying(OK, OK)) as (server, gateway):
        for count in (0, 1, 2):
            await gateway.call(Call("POST", server.url()))
            await server.gone(count)
            assert len(server.peers) == count + 1


async def test_connections_are_of_one_origin() -> None:
    async with staged(replaying(OK, OK)) as (one, gateway), serving(replaying(TWO, TWO)) as two:
        for server, body in ((one, b"ok"), (two, b"two"), (one, b"ok"), (two, b"two")):
            assert (await gateway.call(Call("GET", server.url()))).body == body
    assert (len(one.peers), len(two.peers)) == (1, 1)


@pytest.mark.parametrize("extra", [OK, b"garbage", b"H"])
async def test_a_connection_that_spoke_while_idle_is_left(extra: bytes, heard: Heard) -> None:
    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(OK)
            await heard.until(len(OK))
            await peer.send(extra if peer.number == 0 else b"")

    async with staged(script) as (server, gateway):
        await gateway.call(Call("POST", server.url()))
        await server.gone(1)
        assert (await gateway.call(Call("POST", server.url()))).body == b"ok"
    assert len(server.peers) == 2


async def test_bytes_that_wait_unread_are_not_the_next_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[asyncio.BaseTransport] = []
    original = Connection.connection_made

    def connection_made(connection: Connection, transport: asyncio.BaseTransport) -> None:
        made.append(transport)
        original(connection, transport)

    monkeypatch.setattr(Connection, "connection_made", connection_made)
    async with staged(replaying(OK, OK)) as (server, gateway):
        await gateway.call(Call("POST", server.url()))
        server.peers[0].sock.send(b"HTTP/1.1 408 Idle\r\ncontent-length: 0\r\n\r\n")
        assert select.select([made[0].get_extra_info("socket")], [], [], 5)[0]
        assert (await gateway.call(Call("POST", server.url()))).status == 200


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
        await gateway.call(Call("POST", server.url(), body=b"same"))
        found = await outcome(gateway, Call("POST", server.url(), body=b"same", fresh=fresh))
    assert (found.body if isinstance(found, Answer) else None) == body
    assert asked == [asked[0]] * count
    assert len(server.peers) <= 2


async def test_what_was_written_stays_written_if_the_retry_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionRefusedError

    async with staged(turns([OK, b""])) as (server, gateway):
        await gateway.call(Call("POST", server.url()))
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", refuse)
        failed = await outcome(gateway, Call("POST", server.url()))
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.written) == ("connect", True)


@BOUNDED
@given(st.sampled_from(sorted(SMALL)), MUTATIONS, PLACES)
async def test_whatever_befalls_an_answer_it_is_read_or_refused(
    name: str, mutations: list[Mutation], places: list[int]
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        for piece in cut(mutated(SMALL[name].raw, mutations), places):
            await peer.send(piece)

    async with staged(script) as (server, gateway):
        found = await outcome(gateway, Call("POST", server.url(), body=b"x", timeout=5))
    assert isinstance(found, Answer) or (found.stage, found.reason == "timed out") == ("read", False)
