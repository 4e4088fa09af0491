"""Cheap servers for the other ends of a measurement, each a process of its own.

`bare` is Starlette and uvicorn reading a body and nothing else: the measure of this machine, right now.

`raw` takes any request: as a provider it answers with a task id and keeps the callback URL that it was given,
as a downstream it notes when each event arrived, under `/hang` it never answers, and under `/later` it fails
the first time that it receives an event.

`minimax` is a provider of that format. The first words of a prompt choose the answers: `done` at the first
poll, `submit SHAPE` and `poll SHAPE` with 4 MiB of it.

`readers` keeps as many event streams open as `/open` asks for. It notes how many have begun and ended, and
of each event how many have it and when the last one got it.

`names` is a name server: names that end in `good.test` are this machine, and queries for others get no
answer.
"""

import asyncio
import json
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import httptools
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.bench.bodies import SHAPES

Said = tuple[int, bytes]
Answer = Callable[[bytes, bytes], Said | None]
ANSWERS_OF = 4 << 20
"""Bytes of a provider's answer that the service reads at most."""
TAKES = 0.3
"""Seconds that the provider of MiniMax's format takes for an answer."""
LOOK_UP = 0.02
"""Seconds that the name server takes for an answer."""
AT_ONCE = 50
"""Streams that are opened at once."""
A = 1


async def _bare(request: Request) -> JSONResponse:
    await request.body()
    return JSONResponse({"received": True})


def bare(port: int) -> None:
    """Serve the bare route."""
    app = Starlette(routes=[Route("/callbacks/{account}/{token}", _bare, methods=["POST"])])
    uvicorn.run(app, port=port, log_level="critical", access_log=False, http="httptools", loop="uvloop")


class Notes:
    """The requests that a raw stub received, and its answers."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str, str]] = []
        self.arrived: list[tuple[str, str, float]] = []
        self.failed: set[str] = set()

    def answer(self, url: bytes, body: bytes) -> Said | None:
        """Return the status and the body of the answer; None to stay silent."""
        if url.startswith((b"/hook", b"/later")):
            job = json.loads(body)["data"]["id"]
            if url.startswith(b"/later") and job not in self.failed:
                self.failed.add(job)
                return 500, b"{}"
            self.arrived.append((job, url.decode(), time.monotonic()))
            return 200, b"{}"
        if url.startswith(b"/hang"):
            return None
        if url.startswith(b"/notes"):
            told = {"taken": self.taken, "arrived": self.arrived, "failed": len(self.failed)}
            self.taken, self.arrived = [], []
            return 200, json.dumps(told).encode()
        if b"webhook_url" in body:
            asked = json.loads(body)
            task = f"task-{time.monotonic_ns()}-{len(self.taken)}"
            self.taken.append((asked["webhook_url"], asked["webhook_secret"], task))
            return 200, json.dumps({"task_id": task}).encode()
        return 200, b"{}"


class Tasks:
    """A provider of MiniMax's format: the tasks that it took, and the number of polls of each."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str | None, float]] = []
        self.polls: Counter[str] = Counter()

    def answer(self, url: bytes, body: bytes) -> Said | None:
        """Return the status and the body of the answer."""
        if url.startswith(b"/notes"):
            told = {"taken": self.taken, "polls": self.polls}
            self.taken = []
            return 200, json.dumps(told).encode()
        if b"task_id=" in url:
            task = parse_qs(urlsplit(url.decode()).query)["task_id"][0]
            self.polls[task] += 1
            done = (
                {"status": "Success", "file_id": "1"} if task.startswith("done") else {"status": "Processing"}
            )
            return 200, _with(task, "poll", {"task_id": task, **done})
        if body.startswith(b"{"):
            asked = json.loads(body)
            words = "-".join(str(asked.get("prompt", ""))[:40].split())
            task = f"{words}-{len(self.taken)}-{time.monotonic_ns()}"
            self.taken.append((task, asked.get("callback_url"), time.monotonic()))
            return 200, _with(task, "submit", {"task_id": task})
        return 200, b"{}"


class Readers:
    """Readers of an event stream, and their notes."""

    def __init__(self) -> None:
        self.begun = self.ended = 0
        self.events: dict[str, tuple[int, float]] = {}
        self._opening: set[asyncio.Task[None]] = set()

    def answer(self, url: bytes, body: bytes) -> Said | None:
        """Return the status and the body of the answer."""
        if url.startswith(b"/open"):
            asked = json.loads(body)
            task = asyncio.get_running_loop().create_task(
                self._open(asked["port"], asked["request"], asked["count"])
            )
            self._opening.add(task)
        told = {"begun": self.begun, "ended": self.ended, "events": self.events}
        return 200, json.dumps(told).encode()

    async def _open(self, port: int, request: str, count: int) -> None:
        """Open streams, a few at a time."""
        loop = asyncio.get_running_loop()
        for first in range(0, count, AT_ONCE):
            some = min(AT_ONCE, count - first)
            made = [
                loop.create_connection(lambda: Reader(self, request), "127.0.0.1", port) for _ in range(some)
            ]
            await asyncio.gather(*made)


class Reader(asyncio.Protocol):
    """One reader of an event stream."""

    def __init__(self, notes: Readers, request: str) -> None:
        self._notes = notes
        self._request = request
        self._begun = False
        self._left = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self._request.encode())  # type: ignore[attr-defined]  # a client's transports can write

    def data_received(self, data: bytes) -> None:
        at = time.monotonic()
        *frames, self._left = (self._left + data).split(b"\n\n")
        for frame in frames:
            if b"retry: " in frame and not self._begun:
                self._begun = True
                self._notes.begun += 1
            elif b"\ndata: " in frame:
                event = frame.split(b"id: ", 1)[1].split(b"\n", 1)[0].decode()
                count, _ = self._notes.events.get(event, (0, 0.0))
                self._notes.events[event] = (count + 1, at)

    def connection_lost(self, exc: Exception | None) -> None:
        self._notes.ended += 1


def _with(task: str, call: str, told: dict[str, str]) -> bytes:
    """Return an answer, with a shape of 4 MiB where the task's name asks for one in this call."""
    answer = json.dumps({**told, "base_resp": {"status_code": 0}}).encode()
    asked, shape, *_ = *task.split("-"), "", ""
    if asked != call:
        return answer
    return answer[:-1] + b',"x":' + SHAPES[shape](ANSWERS_OF - len(answer) - 8) + b"}"


class Raw(asyncio.Protocol):
    """One connection of a stub."""

    def __init__(self, answer: Answer, takes: float = 0.0) -> None:
        self._answer = answer
        self._takes = takes
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a server's transports can write

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url, self._body = b"", bytearray()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        told = self._answer(self._url, bytes(self._body))
        if told is None:
            return
        status, body = told
        head = b"HTTP/1.1 %d told\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        answer = head % (status, len(body)) + body
        if self._takes and not self._url.startswith(b"/notes"):
            asyncio.get_running_loop().call_later(self._takes, self._transport.write, answer)
        else:
            self._transport.write(answer)


class Names(asyncio.DatagramProtocol):
    """A name server."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.DatagramTransport = transport  # type: ignore[assignment]  # of datagrams

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        ends = data.index(b"\0", 12)
        if not data[:ends].lower().endswith(b"\x04good\x04test"):
            return
        asked = struct.unpack(">H", data[ends + 1 : ends + 3])[0]
        found = b""
        if asked == A:
            found = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton("127.0.0.1")
        head = data[:2] + b"\x81\x80\0\1" + struct.pack(">H", bool(found)) + b"\0\0\0\0"
        answer = head + data[12 : ends + 5] + found
        asyncio.get_running_loop().call_later(LOOK_UP, self._transport.sendto, answer, addr)


async def serve(port: int, answer: Answer, takes: float = 0.0) -> None:
    """Answer HTTP until the process ends."""
    server = await asyncio.get_running_loop().create_server(lambda: Raw(answer, takes), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


async def names(host: str) -> None:
    """Answer queries for names until the process ends."""
    await asyncio.get_running_loop().create_datagram_endpoint(Names, local_addr=(host, 53))
    await asyncio.Event().wait()


if __name__ == "__main__":
    kind, place = sys.argv[1:]
    if kind == "bare":
        bare(int(place))
    elif kind == "names":
        uvloop.run(names(place))
    elif kind == "readers":
        uvloop.run(serve(int(place), Readers().answer))
    elif kind == "minimax":
        uvloop.run(serve(int(place), Tasks().answer, TAKES))
    else:
        uvloop.run(serve(int(place), Notes().answer))
