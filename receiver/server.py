"""uvicorn with deadlines: what it lacks, measured (failures.md L1 to L5 of the research behind this).

A head has 5 s, a body 8 s from its first byte plus 1 s for every MiB declared, and neither is extended by
dripping. A head has at most 32 KiB and 100 headers. Whoever does not read our answer is cut after 8 s.
"""

import asyncio
import contextlib
import enum
import functools
import socket
from collections.abc import Iterator
from typing import Any

from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from receiver.api.guard import new_request_id, problem
from receiver.errors import Malformed
from receiver.short import Answering, Plain, is_plain, response

HEAD_SECONDS = 5.0
BODY_SECONDS = 8.0
WRITE_SECONDS = 8.0
HEAD_BYTES = 32 * 1024
HEADERS = 100
MIB = 1024 * 1024


Shortcut = tuple[bytes, Answering]
"""What the paths of the short way begin with, and who answers there."""


class Awaited(enum.Enum):
    """What a connection waits for."""

    HEAD = enum.auto()
    BODY = enum.auto()
    NOTHING = enum.auto()


class GuardedProtocol(HttpToolsProtocol):
    """One connection with deadlines. A request that comes in one piece never starts a timer."""

    def __init__(self, *args: Any, short: Shortcut | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._short = short
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None
        self._awaited = Awaited.HEAD
        self._watched = False
        self._head_size = 0
        self._too_much = False
        self._answering: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it
        """The first head's time starts with the connection."""
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more to wait for."""
        self._disarm()
        self._disarm_write()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, unless the head has grown too large; then look what is still awaited."""
        if self._awaited is not Awaited.BODY:
            self._head_size += len(data)
        super().data_received(data)
        if self._too_much or (self._awaited is Awaited.HEAD and self._head_size > HEAD_BYTES):
            self._refuse()
        else:
            self._watch()

    def on_message_begin(self) -> None:
        """A head starts, and its time with it."""
        self._await(Awaited.HEAD)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole and the body's time starts; none of a head that is too large."""
        if len(self.headers) > HEADERS or (self._head_size > HEAD_BYTES and self._parsed() > HEAD_BYTES):
            self._too_much = True
            return
        self._head_size = 0
        self._await(Awaited.BODY)
        if self._is_short():
            self.scope["method"], self.scope["path"] = "POST", self.url.decode("ascii")
            self.cycle: Any = Plain()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body; none is kept of a request that was refused."""
        if not self._too_much:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if not self._too_much:
            self._await(Awaited.NOTHING)
            super().on_message_complete()
            if isinstance(self.cycle, Plain) and not self.cycle.response_complete:
                task = self.loop.create_task(self._answer_short(self.cycle, self.scope))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)

    def pause_writing(self) -> None:
        """The other side does not read: it has a while."""
        super().pause_writing()
        if self._write_deadline is None:
            self._write_deadline = self.loop.call_later(WRITE_SECONDS, self._abort)

    def resume_writing(self) -> None:
        """It reads again."""
        self._disarm_write()
        super().resume_writing()

    def _is_short(self) -> bool:
        return (
            self._short is not None
            and self.url.startswith(self._short[0])
            and self._idle()
            and self.parser.get_method() == b"POST"
            and self.parser.should_keep_alive()
            and is_plain(self.url, self.headers)
        )

    async def _answer_short(self, request: Plain, scope: Any) -> None:
        assert self._short is not None  # noqa: S101  # `_is_short` looked
        answered = await self._short[1](scope, bytes(request.body))
        if self.flow.write_paused:
            await self.flow.drain()
        if self.transport.is_closing():
            return
        self.transport.write(response(answered, keep_alive=request.keep_alive))
        request.response_complete = True
        if not request.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _parsed(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _await(self, what: Awaited) -> None:
        if what is not self._awaited:
            self._awaited, self._watched = what, False

    def _watch(self) -> None:
        """One timer for what is awaited; blank lines between requests count as the next one's head."""
        if self._watched:
            if self._deadline is None and self._idle():
                self._arm(HEAD_SECONDS)
            return
        self._watched = True
        self._disarm()
        if self._awaited is Awaited.HEAD:
            self._arm(HEAD_SECONDS)
        elif self._awaited is Awaited.BODY:
            declared = next((value for name, value in self.headers if name == b"content-length"), b"0")
            mib = int(declared) / MIB if declared.isdigit() and len(declared) < 16 else 0.0
            self._arm(BODY_SECONDS + min(mib, 64.0))

    def _idle(self) -> bool:
        cycle: Any = self.cycle
        return cycle is None or bool(cycle.response_complete)

    def _arm(self, seconds: float) -> None:
        self._deadline = self.loop.call_later(seconds, self._abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _disarm_write(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _abort(self) -> None:
        """Cut the connection; whoever answers on it is told, lest they write to it once more."""
        self._deadline = self._write_deadline = None
        if self._answering is not None:
            self._answering.disconnected = True
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets an error in the form of all others."""
        self._answer(400, "Bad Request", msg)

    def _refuse(self) -> None:
        self._answer(
            431, "Request Header Fields Too Large", "the head of a request has 32 KiB and 100 headers"
        )

    def _answer(self, status: int, reason: str, detail: str) -> None:
        if self.transport.is_closing():
            return
        request_id = new_request_id()
        response = problem(Malformed(detail), request_id, status=status)
        head = (
            f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(response.body)}\r\nx-request-id: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + bytes(response.body))
        self.transport.close()


class SignalFree(Server):
    """A server that leaves signals to whoever runs it, and tells when it is up."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell."""
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are somebody else's: uvicorn would raise them again before our own work has stopped."""
        yield


def server(app: Any, host: str, port: int, grace: float, *, short: Shortcut | None = None) -> SignalFree:
    """A server for `app`; it stops within `grace` seconds."""
    protocol: Any = functools.partial(GuardedProtocol, short=short)
    return SignalFree(
        Config(
            app,
            host=host,
            port=port,
            http=protocol,
            loop="none",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=max(1, round(grace)),
            backlog=2048,
        )
    )
