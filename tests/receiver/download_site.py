"""A service on its own HTTP server, with a file server behind it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from handlers.contract import Asset, Kind, Phase
from receiver.api import http_server
from receiver.domain.model import Job
from tests.receiver.file_server import FileServer, file_server
from tests.receiver.front_door import PATIENCE
from tests.receiver.raw_server import LIMIT
from tests.receiver.store_fixture import StoreFixture, store_fixture, told, word

LARGE = 64 * 1024 * 1024
"""The length of a file that does not fit into the buffers on its way."""


@dataclass(repr=False)
class Site:
    """A service with a file server behind it, and a client of its HTTP server."""

    fixture: StoreFixture
    files: FileServer
    http: Any
    client: httpx.AsyncClient
    port: int

    async def link(self, url: str | None = None, **fields: Any) -> str:
        """Return the path of the download of a job's file, by default of the file server's."""
        job = await self.job(url, **fields)
        ends = self.fixture.clock.at.replace(year=2030)
        token = self.fixture.services.core.master_keys.asset_token(job.id, 0, ends)
        return f"/assets/{token}?download=1"

    async def job(self, url: str | None = None, **fields: Any) -> Job:
        """Return a job that succeeded with one file."""
        job = await self.fixture.submitted()
        asset = Asset(**{"kind": Kind.VIDEO, "url": url or self.files.url(), **fields})
        await self.fixture.hear(word(job, self.fixture, told(Phase.SUCCEEDED, assets=(asset,))))
        return await self.fixture.now(job)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Return the answer to a GET."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(path, headers=named)

    @property
    def under_way(self) -> int:
        """Return the number of downloads under way."""
        return self.fixture.services.api.downloads._under_way.total()

    @contextlib.asynccontextmanager
    async def reader(self, path: str, room: int = 4096) -> AsyncIterator[socket.socket]:
        """Yield a connection that has asked for `path`, with little room for unread bytes."""
        with socket.socket() as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
            made.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(made, ("127.0.0.1", self.port))
            await loop.sock_sendall(made, f"GET {path} HTTP/1.1\r\nhost: h\r\n\r\n".encode())
            yield made


@contextlib.asynccontextmanager
async def download_site(folder: Path) -> AsyncIterator[Site]:
    """Run a service with a file server behind it as long as the context lasts. Yields it."""
    async with file_server() as files, store_fixture(folder, egress_allow='["127.0.0.1/32"]') as fixture:
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        http = http_server(fixture.services.api, "127.0.0.1", 0, 1.0)
        task = asyncio.create_task(http.serve(sockets=[listening]))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            yield Site(fixture, files, http, client, port)
        http.should_exit = True
        async with asyncio.timeout(PATIENCE):
            await task
        assert fixture.services.api.downloads._under_way.total() == 0


async def to_the_end(reader: socket.socket) -> bytes:
    """Return everything that comes, to the end of the connection."""
    found, loop = bytearray(), asyncio.get_running_loop()
    async with asyncio.timeout(LIMIT):
        with contextlib.suppress(OSError):
            while piece := await loop.sock_recv(reader, 1 << 20):
                found += piece
    return bytes(found)
