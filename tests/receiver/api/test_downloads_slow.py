"""Downloads of readers that are slow, and too many of them at once: memory and places are bounded."""

import asyncio
import hashlib
import socket
import tracemalloc
from typing import Any

import pytest

from receiver.api import server as door
from receiver.providers import downloads
from tests.receiver.api_client import problem_of
from tests.receiver.download_site import LARGE, Site
from tests.receiver.file_server import FILE
from tests.receiver.front_door import until
from tests.receiver.raw_server import LIMIT, Peer, serving

PIECE = bytes(range(256)) * 256


async def large(peer: Peer) -> None:
    """Send a file of 64 MiB."""
    await peer.request()
    await peer.send(f"HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\ncontent-length: {LARGE}\r\n\r\n".encode())
    for _ in range(LARGE // len(PIECE)):
        await peer.send(PIECE)
    await peer.leave()


async def test_a_slow_reader_gets_64_mib_through_little_memory(site: Site) -> None:
    async with serving(large) as server, site.reader(await site.link(server.url())) as reader:
        tracemalloc.start()
        try:
            (connection,) = await stalled(site)
            # The stream, one read from its socket, one piece and the server's buffer.
            assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
        finally:
            tracemalloc.stop()
        assert connection._write_deadline is not None
        head, found, rest = (await read_all(reader)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert len(rest) == LARGE
        expected = hashlib.sha256(PIECE * (LARGE // len(PIECE))).digest()
        assert (found, hashlib.sha256(rest).digest()) == (b"\r\n\r\n", expected)


async def stalled(site: Site) -> list[Any]:
    """Return the connections of the server, once one waits for its reader."""
    connections = site.http.server_state.connections
    await until(lambda: any(one.flow.write_paused for one in connections))
    return list(connections)


async def read_all(reader: socket.socket) -> bytes:
    """Return a response of `LARGE` bytes after its head."""
    found, loop = bytearray(), asyncio.get_running_loop()
    async with asyncio.timeout(LIMIT):
        while len(found) < LARGE or len(found) < LARGE + found.index(b"\r\n\r\n") + 4:
            piece = await loop.sock_recv(reader, 1 << 20)
            assert piece, "the connection was cut"
            found += piece
    return bytes(found)


async def test_a_reader_that_makes_no_progress_is_cut_and_one_that_makes_some_is_not(site: Site) -> None:
    async with serving(large) as server, site.reader(await site.link(server.url())):
        (connection,) = await stalled(site)
        due = connection._write_deadline.when() - connection.loop.time()
        # Both are sums of floating-point numbers of the loop's time.
        assert door.WRITE_SECONDS < due <= door.TRANSFER_SECONDS + 1e-6
        connection._unread = connection.transport.get_write_buffer_size() + 1
        connection._overdue_write(connection.loop.time(), door.TRANSFER_SECONDS, looked=True)
        assert not connection.transport.is_closing()
        connection._overdue_write(connection.loop.time(), door.TRANSFER_SECONDS, looked=True)
        assert connection.transport.is_closing()
        await server.gone(1)
        await until(lambda: site.under_way == 0)


# Bounds.


async def test_downloads_at_once_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "AT_ONCE", 2)
    async with serving(large) as server:
        paths = [await site.link(server.url()) for _ in range(3)]
        async with site.reader(paths[0]), site.reader(paths[1]):
            await until(lambda: site.under_way == 2)
            got = await site.get(paths[2])
            problem_of(got, 503, "unavailable")
            assert got.headers["retry-after"] == "2"
        await until(lambda: site.under_way == 0)
        async with site.reader(paths[2]) as reader:
            assert await asyncio.get_running_loop().sock_recv(reader, 12) == b"HTTP/1.1 200"


async def test_downloads_of_one_file_are_bounded_by_themselves(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "OF_ONE_FILE", 1)
    async with serving(large) as server, site.reader(path := await site.link(server.url())):
        await until(lambda: site.under_way == 1)
        problem_of(await site.get(path), 503, "unavailable")
        assert (await site.get(await site.link())).content == FILE
