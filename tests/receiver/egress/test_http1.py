"""Tests of reading HTTP/1.1 answers from bytes, in pieces of any size.

The protocol runs alone, with a transport that only stores the written bytes.
"""

import asyncio
import gc
import weakref
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.egress.http1 import HEAD_LIMIT, INTERIM_LIMIT, Answer, Broken, Connection, Unparsable
from tests.receiver.raw_server import (
    BOUNDED,
    FRAMINGS,
    INTERIM,
    MUTATIONS,
    OK,
    PLACES,
    SMALL,
    Canned,
    Mutation,
    cut,
    mutated,
)

CAP = 1024


class Pipe(asyncio.Transport):
    """A transport without a network. It stores the written bytes and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


Read = Answer | Broken | Unparsable


def read(pieces: Iterable[bytes], *, cap: int = CAP, end: bool = True) -> tuple[Read | None, Connection]:
    """Return the result of reading `pieces`, then the end; None when more is needed. Needs a loop."""
    connection, pipe = Connection(), Pipe()
    connection.connection_made(pipe)
    future = connection.ask(b"", cap)
    for piece in pieces:
        if not pipe.closed:
            connection.data_received(piece)
    if end:
        connection.eof_received()
        connection.connection_lost(None)
    if not future.done():
        return None, connection
    error = future.exception()
    assert error is None or isinstance(error, Broken | Unparsable)
    return error or future.result(), connection


def expect(found: Read | None, canned: Canned) -> None:
    """Check that `found` is the answer in `canned`."""
    assert isinstance(found, Answer)
    assert (found.status, found.body, found.cut) == (canned.status, canned.body, False)


# What we read.


@pytest.mark.parametrize("name", FRAMINGS)
async def test_every_framing_reads_the_same_cut_at_any_byte(name: str) -> None:
    canned = FRAMINGS[name]
    for place in range(len(canned.raw)):
        expect(read(cut(canned.raw, [place]))[0], canned)
    expect(read(cut(canned.raw, range(len(canned.raw))))[0], canned)


@pytest.mark.parametrize("name", FRAMINGS)
async def test_an_answer_is_whole_at_its_last_byte_and_not_before(name: str) -> None:
    canned = FRAMINGS[name]
    found, connection = read([canned.raw], end=False)
    assert (found is None) is canned.closes
    if not canned.closes:
        expect(found, canned)
        assert connection.reusable


@pytest.mark.parametrize("name", [name for name, canned in SMALL.items() if not canned.closes])
async def test_an_answer_cut_short_is_broken(name: str) -> None:
    raw = SMALL[name].raw
    for size in range(len(raw)):
        found, connection = read([raw[:size]] if size else [])
        assert isinstance(found, Broken), raw[:size]
        assert found.fresh is (size == 0)
        assert not connection.reusable


REFUSED = {
    "html": b"<html>no</html>",
    "another protocol": b"SSH-2.0-x\r\n",
    "tls alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "nul": b"HTTP/1.1 200 OK\r\na: \x00\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "folded": b"HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
    "blank before colon": b"HTTP/1.1 200 OK\r\na : b\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nab\r\n\r\n",
    "length and chunked": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
    "chunked and length": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
    "negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "length with a sign": b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
    "huge length": b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n",
    "length is no number": b"HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\n",
    "huge chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    "bad chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    "chunk without end": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokXX",
    "status of five digits": b"HTTP/1.1 99999 OK\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "no version": b"HTTP 200 OK\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\nhost: h\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 S\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"x-pad: 0123456789012345678901234567890123456789\r\n" * 1000,
    "long header": b"HTTP/1.1 200 OK\r\nx: " + b"y" * HEAD_LIMIT + b"\r\ncontent-length: 0\r\n\r\n",
    "many interim heads": INTERIM * (INTERIM_LIMIT + 1) + OK,
    "many trailers": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
    + b"x: yyyyyyyyyyyyy\r\n" * 4000,
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_no_answer_is_unparsable_as_soon_as_it_shows(name: str) -> None:
    for pieces in ([REFUSED[name]], cut(REFUSED[name], range(0, len(REFUSED[name]), 7))):
        found, connection = read(pieces, end=False)
        assert isinstance(found, Unparsable), found
        assert not connection.reusable


@pytest.mark.parametrize(
    "start", [b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 200 OK\r\nx", FRAMINGS["chunked"].raw[:-2]]
)
async def test_a_header_without_an_end_is_refused(start: bytes) -> None:
    found, _ = read([start, *[b"y" * HEAD_LIMIT] * 4], end=False)
    assert isinstance(found, Unparsable)


async def test_interim_heads_are_skipped_up_to_a_bound_and_leave_no_headers() -> None:
    found, connection = read([INTERIM * INTERIM_LIMIT + OK], end=False)
    assert isinstance(found, Answer)
    assert found.headers == (("content-length", "2"),)
    assert connection.reusable


async def test_headers_are_in_order_in_lower_case_and_repeated_as_they_came() -> None:
    found, _ = read([b"HTTP/1.1 200 OK\r\nB: 1\r\na:  x\r\nb: \xff\r\ncontent-length: 0\r\n\r\n"])
    assert isinstance(found, Answer)
    assert found.headers[:3] == (("b", "1"), ("a", "x"), ("b", "\xff"))
    assert (found.header("b"), found.header("content-length"), found.header("c")) == ("1", "0", None)


async def test_blanks_around_a_header_value_are_not_of_it() -> None:
    found, _ = read([b"HTTP/1.1 200 OK\r\na: \t x \t\r\ncontent-length: 0\r\n\r\n"])
    assert isinstance(found, Answer)
    assert found.header("a") == "x"


@pytest.mark.parametrize("size", [0, 99, 100, 101, 9999])
@pytest.mark.parametrize("framing", ["length", "chunked", "tiny chunks", "to close"])
async def test_the_body_is_kept_up_to_the_cap(framing: str, size: int) -> None:
    body = bytes(index % 251 for index in range(size))
    places = range(0, size, 1 if framing == "tiny chunks" else 64)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in cut(body, places) if one)
    rest = {
        "length": b"content-length: %d\r\n\r\n" % size + body,
        "to close": b"connection: close\r\n\r\n" + body,
    }.get(framing, b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    found, connection = read(
        [b"HTTP/1.1 200 OK\r\n" + rest], cap=100, end=framing == "to close" and size <= 100
    )
    assert isinstance(found, Answer)
    assert (found.body, found.cut) == (body[:100], size > 100)
    assert not (found.cut and connection.reusable)


CLOSING = [
    b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    OK + b"garbage",
]


@pytest.mark.parametrize("raw", CLOSING)
async def test_what_ends_with_its_answer_is_not_reusable(raw: bytes) -> None:
    found, connection = read([raw], end=False)
    assert isinstance(found, Answer)
    assert not connection.reusable


@pytest.mark.parametrize("extra", [OK, OK[:9]])
async def test_bytes_behind_the_answer_make_it_the_last(extra: bytes) -> None:
    found, connection = read([OK + extra], end=False)
    assert isinstance(found, Answer)
    assert not connection.reusable


async def test_bytes_while_idle_make_the_connection_useless() -> None:
    _, connection = read([OK], end=False)
    assert connection.reusable
    connection.data_received(b"H")
    assert not connection.reusable


async def test_the_end_while_idle_makes_the_connection_useless() -> None:
    _, connection = read([OK], end=False)
    connection.eof_received()
    assert not connection.reusable


async def test_a_connection_asks_again_and_again_with_nothing_left_over() -> None:
    connection, pipe = Connection(), Pipe()
    connection.connection_made(pipe)
    for name in [name for name, canned in FRAMINGS.items() if not canned.closes]:
        future = connection.ask(name.encode(), CAP)
        connection.data_received(FRAMINGS[name].raw)
        expect(future.result(), FRAMINGS[name])
        assert pipe.written.endswith(name.encode())
    assert not pipe.closed


async def test_a_deadline_ends_its_own_exchange_and_no_other() -> None:
    loop, connections = asyncio.get_running_loop(), [Connection() for _ in range(4)]
    for connection in connections:
        connection.connection_made(Pipe())
    idle, patient, hasty, late = connections
    now = loop.time()
    for connection in (idle, patient):
        answered = connection.ask(b"", CAP, ends=now)
        connection.data_received(OK)
        assert answered.result().status == 200
    waiting = patient.ask(b"", CAP, ends=now + 3600)
    hasty.ask(b"", CAP, ends=now + 3600)
    hasty.data_received(OK)
    for failing in (hasty.ask(b"", CAP, ends=now), late.ask(b"", CAP, ends=now - 1)):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(failing, 100)
    assert not waiting.done()
    patient.data_received(OK)
    assert waiting.result().status == 200
    again = idle.ask(b"", CAP)
    idle.data_received(OK)
    assert again.result().status == 200
    for connection in connections:
        connection.close()


async def test_asking_over_a_closed_transport_is_broken_and_writes_nothing() -> None:
    connection, pipe = Connection(), Pipe()
    connection.connection_made(pipe)
    pipe.close()
    assert isinstance(connection.ask(b"data", CAP).exception(), Broken)
    assert isinstance(Connection().ask(b"data", CAP).exception(), Broken)
    assert not pipe.written


# However it is cut up and whatever becomes of it.


@BOUNDED
@given(st.sampled_from(sorted(SMALL)), PLACES)
async def test_pieces_of_any_size_make_the_same_answer(name: str, places: list[int]) -> None:
    expect(read(cut(SMALL[name].raw, places))[0], SMALL[name])


@BOUNDED
@given(st.sampled_from(sorted(SMALL)), MUTATIONS, PLACES)
async def test_mutated_answers_are_read_or_refused(
    name: str, mutations: list[Mutation], places: list[int]
) -> None:
    raw = mutated(SMALL[name].raw, mutations)
    whole, _ = read([raw])
    pieces, _ = read(cut(raw, places))
    assert type(whole) is type(pieces) is not type(None)
    if isinstance(whole, Answer):
        assert whole == pieces


async def test_a_connection_that_ended_is_gone_without_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        connection, pipe = Connection(), Pipe()
        connection.connection_made(pipe)
        answer = connection.ask(b"", CAP, ends=asyncio.get_running_loop().time() + 60)
        connection.data_received(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        assert (await answer).status == 200
        connection.connection_lost(None)
        gone = weakref.ref(pipe)
        del connection, pipe
        assert gone() is None
    finally:
        gc.enable()
