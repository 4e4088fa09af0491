"""uvicorn with deadlines and limits against slow and hostile clients.

uvicorn has a timeout for idle connections only (30 s here). Added are 5 s for a head, 8 s for the body after
it plus 1 s for every MiB declared, neither extended by sending small pieces, and 8 s for a client that does
not read its response. A transfer may be long: it is cut after 30 s in which its client read nothing, and when
its client closes its side. A head has at most 32 KiB and 100 headers. Time in which this process stood still
does not count: data that arrived meanwhile is read before a connection is cut.
"""

import asyncio
import contextlib
import enum
import functools
import select
import socket
from collections.abc import Iterator
from typing import Any

import httptools
from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from receiver.api.fast_path import BufferedRequest, RawHandler, is_plain, response
from receiver.api.request_head import (
    NO_HTTP,
    TOO_MUCH,
    Refusal,
    problem_with,
    refusal_bytes,
    seconds_more,
    without_upgrade,
)
from receiver.api.transfers import offer_transfer, transfer_of

HEAD_SECONDS = 5.0
BODY_SECONDS = 8.0
WRITE_SECONDS = 8.0
TRANSFER_SECONDS = 30.0
"""Seconds for a head, a body (and more by its length), a client that does not read, and one of a transfer."""
STOOD_STILL = 0.25
"""Seconds that a timer may be late. A later one shows that this process was stopped or too busy to read."""
LOOK_AGAIN = 1.0
"""Seconds, given once, to read bytes that wait in the socket at the deadline."""
HEAD_BYTES = 32 * 1024
HEADERS = 100
"""Most bytes and headers of a head; uvicorn's parser has no such limits."""

Shortcut = tuple[bytes, RawHandler]
"""The path prefix of the fast path, and its handler."""


class _Refused(Exception):
    """An exception that ends the parsing of a refused request."""


class Awaited(enum.Enum):
    """The part of a request that a connection waits for."""

    HEAD = enum.auto()
    BODY = enum.auto()
    NOTHING = enum.auto()


class GuardedProtocol(HttpToolsProtocol):
    """A connection with deadlines. A request that arrives in one piece never starts a timer."""

    def __init__(self, *args: Any, short: Shortcut | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._short = short
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None
        self._awaited = Awaited.HEAD
        self._watched = False
        self._head_size = 0
        self._hosts: list[bytes] = []
        self._refusal: Refusal | None = None
        self._offered = self._last = False
        self._answering: RequestResponseCycle | None = None
        self._unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Start the deadline of the first head."""
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel both deadlines."""
        self._disarm()
        self._disarm_write()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn never keeps it open
        """Handle the end of the client's data. Returns whether to keep the connection for a response."""
        if self._idle() or self._awaited is Awaited.BODY or self._transfers():
            return False
        self.cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        """Feed the parser, refuse a head that is too large, and set the deadline of the awaited part."""
        if self._awaited is not Awaited.BODY:
            self._head_size += len(data)
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(self._refusal or NO_HTTP)
            return
        if self._awaited is Awaited.HEAD and self._head_size > HEAD_BYTES:
            self._refuse(TOO_MUCH)
        else:
            self._watch()

    def _feed(self, data: bytes) -> None:
        """Feed the parser. A head that offers to upgrade is parsed again without the offer, then the rest."""
        # The parser takes the data after such a head for another protocol, and would drop the body.
        rest: bytes | memoryview = data
        while True:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as offer:
                rest = memoryview(rest)[offer.args[0] :]
            else:
                return
            version = self.parser.get_http_version()
            head = without_upgrade(self.parser.get_method(), self.url, version, self.headers)
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self.parser.feed_data(head)

    def on_message_begin(self) -> None:
        """Start a head and its deadline."""
        self._await(Awaited.HEAD)
        self._hosts = []
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header as uvicorn does, and keep Host headers apart as well."""
        name = name.lower()
        if name == b"host":
            self._hosts.append(value)
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Check the head, start the deadline of the body, and choose the fast path or ASGI."""
        self._offered = self.parser.should_upgrade()
        self._check_head()
        if self._offered:  # `_feed` parses this head again, without its offer
            return
        self._head_size = 0
        self._await(Awaited.BODY)
        if self._is_short():
            self.scope |= {"method": "POST", "path": self.url.decode("ascii"), "raw_path": self.url}
            self.cycle: Any = BufferedRequest()
        else:
            super().on_headers_complete()
        if self._last:
            self.cycle.keep_alive = False

    def _check_head(self) -> None:
        """Raise `_Refused`, which ends the parsing, for a head that is too large or ambiguous."""
        if len(self.headers) > HEADERS or (self._head_size > HEAD_BYTES and self._parsed() > HEAD_BYTES):
            self._refusal = TOO_MUCH
        else:
            detail = problem_with(self.url, self.parser.get_http_version(), self._hosts)
            if detail is None and self._offered and self.parser.get_method() == b"CONNECT":
                detail = "this is no proxy: CONNECT is not served"
            if detail is None:
                return
            self._refusal = (400, "Bad Request", detail)
        raise _Refused

    def on_message_complete(self) -> None:
        """Handle the end of a request. A request on the fast path gets its response now."""
        if self._offered:
            return
        self._await(Awaited.NOTHING)
        super().on_message_complete()
        if isinstance(self.cycle, BufferedRequest) and not self.cycle.response_complete:
            task = self.loop.create_task(self._answer_short(self.cycle, self.scope))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def pause_writing(self) -> None:
        """Start the deadline of a client that does not read."""
        super().pause_writing()
        if self._write_deadline is None:
            self._arm_write(TRANSFER_SECONDS if self._transfers() else WRITE_SECONDS)

    def resume_writing(self) -> None:
        """Cancel the deadline: the client reads again."""
        self._disarm_write()
        super().resume_writing()

    def _is_short(self) -> bool:
        # Not behind a response under way: uvicorn queues ASGI requests, and keeps their responses in order.
        return (
            self._short is not None
            and self.url.startswith(self._short[0])
            and self._idle()
            and self.parser.get_method() == b"POST"
            and self.parser.should_keep_alive()
            and is_plain(self.url, self.headers)
        )

    async def _answer_short(self, request: BufferedRequest, scope: Any) -> None:
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

    def _await(self, part: Awaited) -> None:
        if part is not self._awaited:
            self._awaited, self._watched = part, False

    def _watch(self) -> None:
        """Set one timer for the awaited part. Blank lines between requests count as the next head."""
        if self._watched:
            if self._deadline is None and self._idle():
                self._arm(HEAD_SECONDS)
            return
        self._watched = True
        self._disarm()
        if self._awaited is Awaited.HEAD:
            self._arm(HEAD_SECONDS)
        elif self._awaited is Awaited.BODY:
            self._arm(BODY_SECONDS + seconds_more(self.headers))

    def _idle(self) -> bool:
        cycle: Any = self.cycle
        return cycle is None or bool(cycle.response_complete)

    def _arm(self, seconds: float, *, looked: bool = False) -> None:
        due = self.loop.time() + seconds
        self._deadline = self.loop.call_later(seconds, self._overdue, due, seconds, looked)

    def _arm_write(self, seconds: float, *, looked: bool = False) -> None:
        due, self._unread = self.loop.time() + seconds, self.transport.get_write_buffer_size()
        self._write_deadline = self.loop.call_later(seconds, self._overdue_write, due, seconds, looked)

    def _overdue(self, due: float, seconds: float, looked: bool) -> None:
        """Cut the connection at its deadline, unless data has arrived that was not read yet."""
        more = self._more_time(due, seconds, None if looked else select.POLLIN)
        if more is None:
            self._abort()
        else:
            self._arm(more[0], looked=more[1] or looked)

    def _overdue_write(self, due: float, seconds: float, looked: bool) -> None:
        """Cut the connection at its deadline, unless the client has made room that was not used yet."""
        more = self._more_time(due, seconds, None if looked else select.POLLOUT)
        if self._transfers() and self.transport.get_write_buffer_size() < self._unread:
            self._arm_write(TRANSFER_SECONDS)
        elif more is None:
            self._abort()
        else:
            self._arm_write(more[0], looked=more[1] or looked)

    def _more_time(self, due: float, seconds: float, sign: int | None) -> tuple[float, bool] | None:
        """Return the seconds to wait on and whether a `sign` on the socket is the reason, or None to cut."""
        # After a pause of this process, the loop runs its timers before it reads the data that arrived.
        late = self.loop.time() - due
        if late > STOOD_STILL:
            return min(late, seconds), False
        return (LOOK_AGAIN, True) if sign is not None and self._shows(sign) else None

    def _shows(self, sign: int) -> bool:
        """Return whether the socket can be read, or written, right now."""
        number = self.transport.get_extra_info("socket").fileno()
        if number < 0:
            return False
        looking = select.poll()
        looking.register(number, sign)
        return any(found & sign for _, found in looking.poll(0))

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, unless a request has arrived that was not read yet."""
        if not self._shows(select.POLLIN):
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """Close the connection after the request under way, or after one that has already arrived."""
        self._last = True
        if not self._idle() or not self._shows(select.POLLIN):
            super().shutdown()

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
        offer_transfer(cycle.scope, self._cut)
        super()._start_asgi_task(cycle, app)

    def _transfers(self) -> bool:
        cycle: Any = self._answering
        return cycle is not None and not self._idle() and transfer_of(cycle.scope).under_way

    def _cut(self) -> None:
        self._disarm()
        self._disarm_write()
        self._abort()

    def _abort(self) -> None:
        """Cut the connection and mark it as disconnected, so that the application writes no more to it."""
        self._deadline = self._write_deadline = None
        if self._answering is not None:
            self._answering.disconnected = True
        self.transport.abort()

    def _refuse(self, refusal: Refusal) -> None:
        """Respond with an error and close the connection."""
        if not self.transport.is_closing():
            self.transport.write(refusal_bytes(refusal))
            self.transport.close()


class SignalFree(Server):
    """A server that leaves signals to its owner, sets `up` once it listens, and is idle between requests."""

    def __init__(self, config: Config) -> None:
        self.up = asyncio.Event()
        self._exit = False
        self._exiting = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then set `up`."""
        await super().startup(sockets)
        self.up.set()

    def stop(self, seconds: float) -> None:
        """Accept no more connections, and give responses under way this many seconds."""
        self.config.timeout_graceful_shutdown = max(0.05, seconds)  # type: ignore[assignment]  # or a float
        self.should_exit = True

    @property
    def should_exit(self) -> bool:
        """Return whether the server is to stop. Setting it ends the server at once; any thread may set it."""
        return self._exit

    @should_exit.setter
    def should_exit(self, exits: bool) -> None:
        self._exit = exits
        if exits:
            self._loop.call_soon_threadsafe(self._exiting.set)

    async def main_loop(self) -> None:
        """Serve until `should_exit` is set, without uvicorn's tick: there is no date header to renew."""
        await self.on_tick(0)
        await self._exiting.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Yield without handling signals: uvicorn would raise them again before the service has stopped."""
        yield


def new_server(app: Any, host: str, port: int, grace: float, *, short: Shortcut | None = None) -> SignalFree:
    """Return a server of `app` that stops within `grace` seconds."""
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
