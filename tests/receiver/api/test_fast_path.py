"""The fast path: the requests that take it, and responses equal to those of the ASGI path."""

import asyncio
import re
import socket
import struct

import pytest

from tests.receiver.front_door import CHUNKS, HEAD, PATIENCE, WHOLE, App, serving, until

BODY = b"hello"
LENGTH = b"content-length: 5\r\n"
# Forms that a request can take, and whether it may go the short way.
FORMS = {
    "plain": (WHOLE, True),
    "an empty body": (HEAD + b"content-length: 0\r\n\r\n", True),
    "a kept connection": (HEAD + LENGTH + b"connection: keep-alive\r\n\r\n" + BODY, True),
    "a path below": (WHOLE.replace(b"/a ", b"/a/b.c-d_e "), True),
    "as much as fits": (HEAD + b"content-length: 65536\r\n\r\n" + b"a" * 65536, True),
    "a byte more than fits": (HEAD + b"content-length: 65537\r\n\r\n" + b"a" * 65537, False),
    "zeros before the length": (HEAD + b"content-length: 0000005\r\n\r\n" + BODY, False),
    "no length": (HEAD + b"\r\n", False),
    "chunks": (CHUNKS, False),
    "a query": (WHOLE.replace(b"/a ", b"/a?b=c "), False),
    "a fragment": (WHOLE.replace(b"/a ", b"/a#b "), False),
    "an escape": (WHOLE.replace(b"/a ", b"/a%2fb "), False),
    "an escape of a letter": (WHOLE.replace(b"/a ", b"/%61 "), False),
    "another path": (WHOLE.replace(b"/a ", b"/b "), False),
    "a whole address": (WHOLE.replace(b"/a ", b"http://h/a "), False),
    "another method": (WHOLE.replace(b"POST", b"PUT"), False),
    "an older version": (WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"), False),
    "the last one": (HEAD + LENGTH + b"connection: close\r\n\r\n" + BODY, False),
    "an encoded body": (HEAD + LENGTH + b"content-encoding: gzip\r\n\r\n" + BODY, False),
    "a wish to go on": (HEAD + LENGTH + b"expect: 100-continue\r\n\r\n" + BODY, False),
    "a wish for more": (HEAD + LENGTH + b"upgrade: h2c\r\n\r\n" + BODY, False),
    "an offer of more": (HEAD + LENGTH + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n" + BODY, True),
}


@pytest.mark.parametrize(("form", "plain"), FORMS.values(), ids=FORMS)
async def test_both_ways_answer_alike(form: bytes, plain: bool) -> None:
    last = WHOLE.replace(b"host: h", b"host: h\r\nconnection: close")
    told, ways = [], []
    for way in ("long", "short"):
        async with serving(App(), way=way) as front:
            told.append(await front.said(form + last))
            ways.append(front.app.short)
    long, short = (re.sub(rb"req_\w+", b"", answer) for answer in told)
    assert long == short
    assert ways == [0, int(plain)]


async def test_a_stop_on_the_short_way_tells_that_it_is_the_last_answer() -> None:
    app = App(gate=asyncio.Event())
    async with serving(app, grace=PATIENCE, way="short") as front, front.caller() as caller:
        assert app.gate is not None
        caller.writer.write(WHOLE)
        await app.began.wait()
        front.http.should_exit = True
        await until(lambda: not all(one.cycle.keep_alive for one in front.connections()))
        app.gate.set()
        assert b"connection: close\r\n" in await caller.to_the_end(b"")


async def test_whoever_leaves_before_a_short_answer_misses_it() -> None:
    app = App(gate=asyncio.Event())
    async with serving(app, way="short") as front:
        assert app.gate is not None
        async with front.caller() as caller:
            caller.writer.write(WHOLE)
            await app.began.wait()
            reset = struct.pack("ii", 1, 0)
            caller.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        await until(lambda: not front.connections())
        app.gate.set()
        await until(front.quiet)
        async with front.caller() as caller:
            assert await caller.ask(WHOLE) == b"hello"
