"""Cheap servers for the other ends of a measurement, each a process of its own.

`bare` is Starlette and uvicorn reading a body and nothing else: the measure of this machine, right now.
`raw` takes any request: as a provider it answers a task id and keeps the callback URL that it was given,
as a downstream it notes when each event arrived, and under `/hang` it never answers.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable

import httptools
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

Answer = Callable[[bytes, bytes], bytes | None]


async def _bare(request: Request) -> JSONResponse:
    await request.body()
    return JSONResponse({"received": True})


def bare(port: int) -> None:
    """The bare route."""
    app = Starlette(routes=[Route("/callbacks/{account}/{token}", _bare, methods=["POST"])])
    uvicorn.run(app, port=port, log_level="critical", access_log=False, http="httptools", loop="uvloop")


class Notes:
    """What a raw stub was sent."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str, str]] = []
        self.arrived: list[tuple[str, str, float]] = []

    def answer(self, url: bytes, body: bytes) -> bytes | None:
        """The body of the answer; None to stay silent."""
        if url.startswith(b"/hook"):
            self.arrived.append((json.loads(body)["data"]["id"], url.decode(), time.monotonic()))
            return b"{}"
        if url.startswith(b"/hang"):
            return None
        if url.startswith(b"/notes"):
            told = {"taken": self.taken, "arrived": self.arrived}
            self.taken, self.arrived = [], []
            return json.dumps(told).encode()
        if b"webhook_url" in body:
            asked = json.loads(body)
            task = f"task-{time.monotonic_ns()}-{len(self.taken)}"
            self.taken.append((asked["webhook_url"], asked["webhook_secret"], task))
            return json.dumps({"task_id": task}).encode()
        return b"{}"


class Raw(asyncio.Protocol):
    """One connection of a raw stub."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a server's transports can write

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url, self._body = b"", b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        told = self._answer(self._url, self._body)
        if told is not None:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(
                told
            )
            self._transport.write(head + told)


async def raw(port: int) -> None:
    """A raw stub."""
    notes = Notes()
    server = await asyncio.get_running_loop().create_server(lambda: Raw(notes.answer), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "bare":
        bare(int(sys.argv[2]))
    else:
        uvloop.run(raw(int(sys.argv[2])))
