"""Deadlines of the server: before it cuts a connection, it reads bytes that arrived during a pause.

The event loop does not run between the arrival of the bytes and the deadline, as after a pause of the
process.
"""

import asyncio
import contextlib
import re
import select
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from receiver.api.server import BODY_SECONDS, HEAD_SECONDS, LOOK_AGAIN, STOOD_STILL, WRITE_SECONDS
from tests.receiver.front_door import HEAD, PATIENCE, WHOLE, App, Front, serving, until

HALF, REST = HEAD + b"content-length: 5\r\n\r\nhel", b"lo"
PARTS = {
    "a head": (HEAD[:9], HEAD[9:] + WHOLE.removeprefix(HEAD), HEAD_SECONDS),
    "a body": (HALF, REST, BODY_SECONDS),
}
PAUSE = 12.0
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n(?:.+\r\n)*\r\n")


@pytest.fixture(params=["long", "short"])
async def front(request: pytest.FixtureRequest) -> AsyncIterator[Front]:
    """Yield a server that takes plain requests through ASGI or on the fast path."""
    async with serving(App(), way=request.param) as made:
        yield made


@contextlib.contextmanager
def sender(front: Front) -> Iterator[socket.socket]:
    """Yield a blocking connection: its bytes are sent when a call returns, without a turn of the loop."""
    with socket.create_connection(("127.0.0.1", front.port), timeout=PATIENCE) as made:
        yield made


async def taken(front: Front, sending: socket.socket, part: bytes) -> Any:
    """Return the server's side of the connection, once it has read this part."""
    sending.sendall(part)
    await until(front.connections)
    (connection,) = front.connections()
    await until(lambda: connection._head_size == len(part) or connection.cycle is not None)
    return connection


def arrive(connection: Any, sending: socket.socket, part: bytes) -> None:
    """Send a part, and wait until it is in the receive buffer of the server's socket."""
    sending.sendall(part)
    looking = select.poll()
    looking.register(connection.transport.get_extra_info("socket").fileno(), select.POLLIN)
    assert looking.poll(PATIENCE * 1000)


async def answered(sending: socket.socket) -> bytes:
    """Return the next response, or the part of it that arrives before the connection is cut."""
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(asyncio.to_thread(_whole, sending), PATIENCE)
    return b""


def _whole(sending: socket.socket) -> bytes:
    """Return a response up to its end: its head and its body may arrive separately."""
    found = b""
    while not (end := LENGTH.search(found)) or len(found) < end.end() + int(end[1]):
        piece = sending.recv(65536)
        if not piece:
            break
        found += piece
    return found


@pytest.mark.parametrize("late", [0.0, PAUSE], ids=["on time", "after a pause"])
@pytest.mark.parametrize(("first", "rest", "seconds"), PARTS.values(), ids=PARTS)
async def test_what_came_in_time_is_read_before_the_cut(
    front: Front, first: bytes, rest: bytes, seconds: float, late: float
) -> None:
    with sender(front) as sending:
        connection = await taken(front, sending, first)
        arrive(connection, sending, rest)
        connection._overdue(connection.loop.time() - late, seconds, looked=False)
        assert (await answered(sending)).startswith(b"HTTP/1.1 200 ")
    assert front.app.bodies == [b"hello"]


@pytest.mark.parametrize(("first", "rest", "seconds"), PARTS.values(), ids=PARTS)
async def test_where_nothing_came_the_connection_is_cut(
    front: Front, first: bytes, rest: bytes, seconds: float
) -> None:
    with sender(front) as sending:
        connection = await taken(front, sending, first)
        connection._overdue(connection.loop.time(), seconds, looked=False)
        assert await answered(sending) == b""
    assert front.app.bodies == []


async def test_dripping_gains_one_look_and_no_more(front: Front) -> None:
    with sender(front) as sending:
        connection = await taken(front, sending, HALF)
        arrive(connection, sending, REST[:1])
        assert connection._more_time(connection.loop.time(), BODY_SECONDS, select.POLLIN) == (
            LOOK_AGAIN,
            True,
        )
        connection._overdue(connection.loop.time(), LOOK_AGAIN, looked=True)
        assert await answered(sending) == b""
    assert front.app.bodies == []


@pytest.mark.parametrize(("late", "more"), [(STOOD_STILL, None), (3.0, 3.0), (3600.0, BODY_SECONDS)])
async def test_the_time_of_a_pause_is_given_back_up_to_the_deadline(
    front: Front, late: float, more: float | None
) -> None:
    with sender(front) as sending:
        connection = await taken(front, sending, HALF)
        found = connection._more_time(connection.loop.time() - late, BODY_SECONDS, None)
        assert (found and found[0]) == (more and pytest.approx(more, abs=0.1))


async def test_a_request_that_came_keeps_an_idle_connection(front: Front) -> None:
    with sender(front) as sending:
        connection = await taken(front, sending, WHOLE)
        assert (await answered(sending)).endswith(b"hello")
        arrive(connection, sending, WHOLE)
        connection.timeout_keep_alive_handler()
        assert (await answered(sending)).endswith(b"hello")
        connection.timeout_keep_alive_handler()
        assert await answered(sending) == b""
    assert front.app.bodies == [b"hello"] * 2


async def test_a_request_that_came_is_answered_before_a_stop(front: Front) -> None:
    with sender(front) as sending:
        connection = await taken(front, sending, WHOLE)
        assert (await answered(sending)).endswith(b"hello")
        arrive(connection, sending, WHOLE)
        connection.shutdown()
        told = await answered(sending)
        assert told.endswith(b"hello")
        assert b"connection: close\r\n" in told
        assert await answered(sending) == b""


async def test_whoever_read_in_time_is_not_cut(front: Front) -> None:
    front.app.send_bytes = 16 * 1024 * 1024
    with sender(front) as sending:
        connection = await taken(front, sending, WHOLE)
        await until(lambda: connection._write_deadline is not None)
        assert connection._more_time(connection.loop.time(), WRITE_SECONDS, select.POLLOUT) is None
        sending.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while sending.recv(1 << 20):
                pass
        connection._overdue_write(connection.loop.time(), WRITE_SECONDS, looked=False)
        sending.settimeout(PATIENCE)
        assert await asyncio.to_thread(sending.recv, 65536) != b""
        assert not connection.transport.is_closing()
