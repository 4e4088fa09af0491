"""Tests of large bodies over the HTTP client: written piece by piece, as fast as the server reads them."""

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.bodies.parts import Parts
from receiver.egress.client import CallFailed, HttpCall, HttpClient
from receiver.egress.http1 import Answer
from tests.receiver.authorities import Authorities
from tests.receiver.client_fixture import staged
from tests.receiver.raw_server import LIMIT, LOOPBACK_ONLY, OK, Peer, outcome

SHORT = 0.5
"""Seconds after which a call fails: long enough for a connection on a slow machine."""


@pytest.mark.parametrize("fresh", [False, True])
async def test_a_body_in_parts_arrives_as_it_is(fresh: bool) -> None:
    body = b"".join(b"%08x" % number for number in range(1 << 18))
    views = [memoryview(body)[start : start + 70_001] for start in range(0, len(body), 70_001)]
    came: list[bytes] = []

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            came.append(request)
            await peer.send(OK)

    async with staged(script) as (server, gateway):
        for sent in (Parts(views), b"small", Parts(views)):
            answer = await gateway.call(HttpCall(method="POST", url=server.url(), body=sent, fresh=fresh))
            assert answer.body == b"ok"
        connections = len(server.peers)
    assert [request.partition(b"\r\n\r\n")[2] for request in came] == [body, b"small", body]
    assert connections == (3 if fresh else 1)


async def test_a_body_in_parts_waits_for_a_peer_that_does_not_read() -> None:
    async def deaf(peer: Peer) -> None:
        await peer.gone.wait()

    taken: list[int] = []

    class Counted(Parts):
        def pieces(self, size: int) -> Iterator[bytes | memoryview]:
            for piece in super().pieces(size):
                taken.append(len(piece))
                yield piece

    async with staged(deaf) as (server, gateway):
        call = HttpCall(method="POST", url=server.url(), body=Counted([bytes(32 << 20)]), timeout=SHORT)
        failed = await outcome(gateway, call)
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.reason, failed.written) == ("write", "timed out", False)
    assert 0 < sum(taken) < 16 << 20


async def test_an_answer_ends_a_body_in_parts() -> None:
    async def script(peer: Peer) -> None:
        await asyncio.get_running_loop().sock_recv(peer.sock, 65536)
        await peer.send(b"HTTP/1.1 413 Large\r\ncontent-length: 0\r\n\r\n")
        await peer.gone.wait()

    async with staged(script) as (server, gateway):
        answer = await gateway.call(
            HttpCall(method="POST", url=server.url(), body=Parts([bytes(32 << 20)]), timeout=LIMIT)
        )
    assert answer.status == 413


@pytest.mark.parametrize("in_parts", [False, True])
async def test_a_large_body_that_has_left_us_whole_may_have_been_accepted(
    in_parts: bool, tmp_path: Path
) -> None:
    authorities = Authorities(tmp_path)
    body, answers, came = random.Random(7).randbytes(9 << 20), iter([OK, b""]), hashlib.sha256()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            for _ in range(9 << 4):
                came.update(await reader.readexactly(1 << 16))
            writer.write(next(answers))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authorities.context("127.0.0.1"))
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    sent = Parts([body[:100], memoryview(body)[100:]]) if in_parts else body
    call = HttpCall(method="POST", url=url, body=sent, timeout=LIMIT, fresh=True)
    gateway = HttpClient(LOOPBACK_ONLY, ca_file=authorities.file)
    answered, failed = await outcome(gateway, call), await outcome(gateway, call)
    await gateway.close()
    server.close()
    assert isinstance(answered, Answer)
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.written) == ("read", True)
    assert came.digest() == hashlib.sha256(body + body).digest()
