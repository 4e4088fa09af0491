"""The stream of a body: bounded, in order, and never whole when it was cut."""

import asyncio

import pytest

from receiver.egress.body_stream import FULL, PIECE, BodyCut, BodyStream


class Source:
    """A connection that counts the calls of its stream."""

    def __init__(self) -> None:
        self.resumed = 0
        self.closed = 0

    def resume_reading(self) -> None:
        """Count a resumption."""
        self.resumed += 1

    def close(self) -> None:
        """Count a close."""
        self.closed += 1


def begun() -> tuple[BodyStream, Source]:
    """Return a stream and its connection."""
    stream, source = BodyStream(), Source()
    stream.begin(source)
    return stream, source


async def test_bytes_come_in_order_and_then_the_end() -> None:
    stream, _ = begun()
    stream.feed(b"ab")
    stream.feed(b"c")
    assert await stream.read() == b"abc"
    stream.feed(b"d")
    stream.end(whole=True)
    assert [await stream.read() for _ in range(3)] == [b"d", b"", b""]
    assert stream.arrived == 4


async def test_a_reader_waits_for_bytes_and_for_the_end() -> None:
    stream, _ = begun()
    reading = asyncio.create_task(stream.read())
    await asyncio.sleep(0)
    assert not reading.done()
    stream.feed(b"x")
    assert await reading == b"x"
    reading = asyncio.create_task(stream.read())
    await asyncio.sleep(0)
    stream.end(whole=True)
    assert await reading == b""


async def test_what_came_before_a_cut_is_read_and_then_the_cut() -> None:
    stream, _ = begun()
    stream.feed(b"x")
    stream.end(whole=False)
    stream.end(whole=True)
    stream.feed(b"y")
    assert await stream.read() == b"x"
    for _ in range(2):
        with pytest.raises(BodyCut):
            await stream.read()


async def test_a_full_stream_is_filled_again_once_there_is_room() -> None:
    stream, source = begun()
    stream.feed(b"a" * (FULL - 1))
    assert (stream.full, source.resumed) == (False, 0)
    stream.feed(b"b" * (PIECE + 1))
    assert len(await stream.read()) == PIECE
    assert (stream.full, source.resumed) == (True, 0)
    assert len(await stream.read()) == PIECE
    assert (stream.full, source.resumed) == (False, 1)
    stream.end(whole=True)
    assert await stream.read() == b""
    assert source.resumed == 1


async def test_a_closed_stream_closes_its_connection_and_keeps_nothing() -> None:
    stream, source = begun()
    stream.feed(b"x" * FULL)
    stream.close()
    assert source.closed == 1
    assert not stream.full
    with pytest.raises(BodyCut):
        await stream.read()


async def test_closing_wakes_a_reader() -> None:
    stream, _ = begun()
    reading = asyncio.create_task(stream.read())
    await asyncio.sleep(0)
    stream.close()
    with pytest.raises(BodyCut):
        await reading


async def test_a_reader_that_was_cancelled_loses_nothing() -> None:
    stream, _ = begun()
    reading = asyncio.create_task(stream.read())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    stream.feed(b"x")
    assert await stream.read() == b"x"


def test_a_stream_without_a_connection_can_be_closed() -> None:
    BodyStream().close()
