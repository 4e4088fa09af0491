"""The HTTP client: sends a request, and returns an answer or raises `CallFailed`. All outgoing HTTP uses it.

The dialled address is the checked address: every address of a name is resolved and checked, and the
connection goes to one of those. One deadline spans resolving, connecting, TLS, writing and reading.
"""

import asyncio
import functools
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import field
from pathlib import Path
from typing import TypeAlias

from handlers.values import immutable
from receiver.bodies.parts import Parts
from receiver.egress.address_guard import BadUrl, Guard, Origin, peer_of, split
from receiver.egress.body_stream import BodyStream
from receiver.egress.dialer import NO_SOCKET, WAITS, Dialer, NoConnection, Progress
from receiver.egress.http1 import Answer, Broken, Connection, Unparsable
from receiver.egress.proxy import Proxy
from receiver.egress.request_bytes import BadRequest, request_bytes, request_head

ANSWER_CAP = 16 * 1024
"""Bytes of an answer's body that are kept where a call sets no `cap`."""
IDLE_PER_ORIGIN = 256
"""The most idle connections to one origin for one use; the one idle longest is closed for a new one."""
IDLE_IN_ALL = 2048
"""The most idle connections in all."""
IDLE_SECONDS = 20.0
"""Seconds for which an idle connection is kept."""


@immutable
class _Target:
    """A parsed URL, cached for all calls to it."""

    origin: Origin
    target: str
    host: str


@functools.lru_cache(maxsize=1024)
def _target(url: str) -> _Target:
    origin, target = split(url)
    return _Target(origin, target, origin.header)


Called: TypeAlias = Callable[[str, tuple[str, int], int | None, str, float], None]
"""A function that hears of each call: method, host, status, the stage at which it failed, and seconds."""


def _ignored(_method: str, _peer: tuple[str, int], _status: int | None, _stage: str, _seconds: float) -> None:
    return None


Whose = tuple[Origin, bool]
"""The key of an idle connection: its origin, and whether it is for calls to providers."""


class CallFailed(Exception):
    """The error for a call without an answer: the stage at which it failed, and the reason.

    `written` means that the whole request may have been sent, so that it may have been accepted; `local` that
    the cause is in this process (no socket was free), which says nothing about the peer.
    """

    def __init__(self, stage: str, reason: str, *, written: bool = False, local: bool = False) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage = stage
        self.reason = reason
        self.written = written
        self.local = local


@immutable(kw_only=True)
class HttpCall:
    """A request to make. `fresh` demands an unused connection; `cap` is how many bytes of a body are kept.

    For a `delivery` the head of the answer decides: it is read leniently, and nothing after it changes the
    outcome. With `into`, the call ends with the head of its answer, and the body goes into that stream, on a
    connection of its own that closes with the stream. Both leave the sockets for calls to providers alone.
    """

    method: str
    url: str
    headers: Sequence[tuple[str, str]] = field(default=(), repr=False)
    body: bytes | Parts = field(default=b"", repr=False)
    timeout: float = 15.0
    cap: int = ANSWER_CAP
    fresh: bool = False
    delivery: bool = False
    into: BodyStream | None = field(default=None, repr=False)


class Pool:
    """The idle connections by origin and use, bounded for each origin and in all."""

    def __init__(self) -> None:
        self._idle: dict[Whose, deque[Connection]] = {}
        self._order: dict[Connection, Whose] = {}
        """The same connections, the longest idle ones first."""

    def take(self, key: Whose, now: float) -> Connection | None:
        """Return a connection that can be used again, the last used one first, or None."""
        while connections := self._idle.get(key):
            connection = connections[-1]
            self._forget(connection)
            if connection.reusable and now - connection.idle_since < IDLE_SECONDS and connection.silent:
                return connection
            connection.close()
        return None

    def keep(self, key: Whose, connection: Connection, now: float) -> None:
        """Keep a connection for the next call."""
        connection.idle_since = now
        connections = self._idle.setdefault(key, deque())
        connections.append(connection)
        self._order[connection] = key
        if len(connections) > IDLE_PER_ORIGIN:
            self._drop(connections[0])
        elif len(self._order) > IDLE_IN_ALL:
            self._drop(next(iter(self._order)))

    def spare(self, provider: bool) -> None:
        """Close the longest idle connection of the calls to providers, or of the other calls."""
        found = next((one for one, key in self._order.items() if key[1] is provider), None)
        if found is not None:
            self._drop(found)

    def sweep(self, now: float) -> bool:
        """Close every connection idle for `IDLE_SECONDS`. Returns whether any is left."""
        for connection in list(self._order):
            if now - connection.idle_since < IDLE_SECONDS:
                return True
            self._drop(connection)
        return False

    def close(self) -> None:
        """Close every connection."""
        for connection in list(self._order):
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        self._forget(connection)
        connection.close()

    def _forget(self, connection: Connection) -> None:
        key = self._order.pop(connection)
        connections = self._idle[key]
        if connections[-1] is connection:
            connections.pop()
        else:
            connections.remove(connection)
        if not connections:
            del self._idle[key]


class HttpClient:
    """An HTTP client with an address guard, a connection pool and one deadline per call."""

    def __init__(
        self,
        guard: Guard,
        *,
        ca_file: Path | None = None,
        agent: str = "ringback",
        proxy: Proxy | None = None,
        called: Called | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._agent = ("user-agent", agent)
        self._called = called or _ignored
        tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        tls.minimum_version = ssl.TLSVersion.TLSv1_2
        tls.hostname_checks_common_name = False
        self._pool = Pool()
        self._sweeping: asyncio.TimerHandle | None = None
        self._dialer = Dialer(guard, tls, self._pool.spare, proxy)

    def check(self, url: str) -> None:
        """Check `url` as far as that needs no name server. Raises `BadUrl`."""
        self._dialer.check(url)

    async def call(self, call: HttpCall) -> Answer:
        """Return the answer to `call`. Raises `CallFailed`."""
        began = self._loop.time()
        try:
            answer = await self._bounded(call)
        except CallFailed as failed:
            self._called(call.method, peer_of(call.url), None, failed.stage, self._loop.time() - began)
            raise
        self._called(call.method, peer_of(call.url), answer.status, "", self._loop.time() - began)
        return answer

    async def _bounded(self, call: HttpCall) -> Answer:
        progress = Progress(self._loop.time() + call.timeout)
        try:
            return await self._call(call, progress)
        except TimeoutError:
            local = progress.stage == WAITS
            reason = NO_SOCKET if local else "timed out"
            raise CallFailed(progress.stage, reason, written=progress.written, local=local) from None
        except NoConnection as error:
            written = progress.written
            raise CallFailed(error.stage, error.reason, written=written, local=error.local) from None
        except (BadUrl, BadRequest) as error:
            raise CallFailed("request", str(error)) from None
        except Unparsable:
            raise CallFailed("read", "the answer is no HTTP that we read", written=True) from None
        except Broken:
            raise CallFailed(progress.stage, "the connection broke", written=progress.written) from None

    async def close(self) -> None:
        """Close every idle connection, and end every look-up."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._pool.close()
        await self._dialer.close()
        # One turn of the loop, in which the aborted transports close their sockets.
        await asyncio.sleep(0)

    async def _call(self, call: HttpCall, progress: Progress) -> Answer:
        place = _target(call.url)
        about = (call.method, place.target, place.host, [self._agent, *call.headers])
        if isinstance(call.body, bytes):
            data = request_bytes(*about, call.body)
        else:
            data = request_head(*about, len(call.body))
        provider = not call.delivery and call.into is None
        fresh = call.fresh or call.into is not None
        kept = None if fresh else self._pool.take((place.origin, provider), self._loop.time())
        if kept is not None:
            try:
                return await self._ask(place, kept, data, call, progress)
            # A peer may close an idle connection just as it is used again. One new try is made where no byte
            # of an answer came; calls that must not arrive twice ask for a `fresh` connection.
            except Broken as broken:
                if not broken.fresh:
                    raise
        async with asyncio.timeout_at(progress.ends):
            connection = await self._dialer.connect(place.origin, progress, provider=provider)
        return await self._ask(place, connection, data, call, progress)

    async def _ask(
        self, place: _Target, connection: Connection, data: bytes, call: HttpCall, progress: Progress
    ) -> Answer:
        progress.stage, earlier, progress.written = "read", progress.written, True
        if call.into is not None:
            call.into.begin(connection)
        try:
            answer = await connection.ask(
                data,
                call.cap,
                more=None if isinstance(call.body, bytes) else call.body,
                bodyless=call.method == "HEAD",
                head_decides=call.delivery,
                ends=progress.ends,
                stream=call.into,
            )
        except BaseException:
            # A request that was not sent whole cannot have been accepted, unless the connection before this
            # one took all of it, or the peer began to answer early.
            if connection.unwritten:
                progress.stage, progress.written = "write", earlier or connection.heard
            connection.close()
            raise
        if call.into is not None:
            return answer
        if connection.reusable and not call.fresh:
            connection.forget()
            self._pool.keep((place.origin, not call.delivery), connection, self._loop.time())
            if self._sweeping is None:
                self._sweeping = self._loop.call_later(IDLE_SECONDS, self._sweep)
        else:
            connection.close()
        return answer

    def _sweep(self) -> None:
        """Close idle connections even if no further call comes: most origins are called only once."""
        left = self._pool.sweep(self._loop.time())
        self._sweeping = self._loop.call_later(IDLE_SECONDS, self._sweep) if left else None
