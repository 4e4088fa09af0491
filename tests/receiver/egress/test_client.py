"""Tests of the HTTP client against scripted servers: framings, deadlines, failures."""

import asyncio
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.egress.client import ANSWER_CAP, CallFailed, HttpCall
from receiver.egress.http1 import HEAD_LIMIT, Answer, Connection
from receiver.egress.resolver import NameServers
from tests.receiver.client_fixture import staged
from tests.receiver.raw_server import (
    BOUNDED,
    FRAMINGS,
    INTERIM,
    LIMIT,
    MUTATIONS,
    OK,
    PLACES,
    SMALL,
    Heard,
    Mutation,
    Peer,
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

SHORT = 0.5
"""Seconds after which a call fails: long enough for a connection on a slow machine."""
TWO = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntwo"


# Framings.


@pytest.mark.parametrize("name", FRAMINGS)
async def test_every_framing_is_read_as_httpx_reads_it(name: str) -> None:
    canned = FRAMINGS[name]
    async with staged(replaying(canned.raw, close=canned.closes)) as (server, gateway):
        ours = await gateway.call(HttpCall(method="POST", url=server.url(), body=b"x"))
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
            answer = await gateway.call(HttpCall(method="POST", url=server.url()))
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
        answer = await gateway.call(HttpCall(method="GET", url=server.url()))
        await server.gone(1)
    assert (answer.status, answer.body, answer.cut) == (200, b"z" * ANSWER_CAP, True)
    assert ANSWER_CAP == 16 * 1024


async def test_an_answer_while_the_request_is_still_being_written_is_an_answer_or_our_error() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 413 Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")

    async with staged(script) as (server, gateway):
        found = await outcome(gateway, HttpCall(method="POST", url=server.url(), body=bytes(4 << 20)))
    assert isinstance(found, CallFailed) or found.status == 413


async def test_an_answer_to_head_has_no_body() -> None:
    async with staged(replaying(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")) as (server, gateway):
        assert (await gateway.call(HttpCall(method="HEAD", url=server.url()))).status == 200


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
        failed = await outcome(gateway, HttpCall(method="POST", url=server.url(), body=b"x", fresh=fresh))
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
        failed = await outcome(gateway, HttpCall(method="POST", url=server.url(), timeout=SHORT))
        await server.gone(1)
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.reason, failed.written) == ("read", "timed out", True)


async def test_a_peer_that_never_reads_is_ended_by_the_deadline() -> None:
    async def deaf(peer: Peer) -> None:
        await peer.gone.wait()

    async with staged(deaf) as (server, gateway):
        failed = await outcome(
            gateway, HttpCall(method="POST", url=server.url(), body=bytes(16 << 20), timeout=SHORT)
        )
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
        failed = await outcome(gateway, HttpCall(method="POST", url=url, timeout=SHORT))
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.reason, failed.written) == (stage, "timed out", False)


@pytest.mark.parametrize("delivery", [False, True])
async def test_a_request_that_broke_before_it_had_left_us_whole_was_not_accepted(delivery: bool) -> None:
    async def script(peer: Peer) -> None:
        await asyncio.get_running_loop().sock_recv(peer.sock, 65536)
        peer.reset()

    async with staged(script) as (server, gateway):
        call = HttpCall(method="POST", url=server.url(), body=bytes(32 << 20), fresh=True, delivery=delivery)
        failed = await outcome(gateway, call)
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.reason, failed.written) == ("write", "the connection broke", False)


@pytest.mark.parametrize("size", [0, 100, 1 << 20])
async def test_a_request_that_had_left_us_whole_may_have_been_accepted(size: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with staged(script) as (server, gateway):
        failed = await outcome(
            gateway, HttpCall(method="POST", url=server.url(), body=bytes(size), fresh=True)
        )
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
            failed = await outcome(
                gateway, HttpCall(method="POST", url=server.url(), body=bytes(32 << 20), fresh=True)
            )
    assert isinstance(failed, CallFailed)
    assert failed.written


async def test_a_refused_connection_fails_at_connect_with_nothing_written() -> None:
    async with serving(silent) as server:
        url = server.url()
    async with calling() as gateway:
        failed = await outcome(gateway, HttpCall(method="POST", url=url))
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.written) == ("connect", False)


async def test_a_call_that_is_given_up_ends_its_connection() -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.leave()

    async with staged(script) as (server, gateway):
        task = asyncio.create_task(gateway.call(HttpCall(method="POST", url=server.url())))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.gone(1)


# Accidents.


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
        found = await outcome(gateway, HttpCall(method="POST", url=server.url(), body=b"x", timeout=LIMIT))
    assert isinstance(found, Answer) or (found.stage, found.reason == "timed out") == ("read", False)
