"""The only outgoing HTTP: a request in, an answer or one of our errors out.

The dialled address is the checked address: every address of a name is resolved and checked, and the
connection goes to one of those. One deadline spans resolving, connecting, TLS, writing and reading.
"""

import asyncio
import functools
import ipaddress
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from handlers.values import immutable
from receiver.addresses import Address, BadUrl, Guard, Origin, split
from receiver.exchange import Answer, BadRequest, Broken, Connection, Unparsable, request_bytes

ANSWER_CAP = 16 * 1024
IDLE_PER_ORIGIN = 256
IDLE_SECONDS = 20.0
NEXT_ADDRESS = 3.0
"""Seconds that an address gets while there are others to try."""


@immutable
class _Place:
    """A URL, taken apart once for all the calls that go there."""

    origin: Origin
    target: str
    host: str


@functools.lru_cache(maxsize=1024)
def _place(url: str) -> _Place:
    origin, target = split(url)
    return _Place(origin, target, origin.header)


class CallFailed(Exception):
    """A call that brought no answer: the stage it failed at and why.

    `written` tells whether any byte of the request may have reached the other side.
    """

    def __init__(self, stage: str, reason: str, *, written: bool = False) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage = stage
        self.reason = reason
        self.written = written


@immutable
class Call:
    """A request to make. `fresh` asks for a connection that nobody has used; `cap` is what is kept."""

    method: str
    url: str
    headers: Sequence[tuple[str, str]] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    timeout: float = 15.0
    cap: int = ANSWER_CAP
    fresh: bool = False


@dataclass(slots=True)
class _Progress:
    """How far a call has come, for the error that names the stage, and when its time is over."""

    ends: float
    stage: str = "resolve"
    written: bool = False


class Gateway:
    """A lean client with an address guard, a pool and one deadline per call."""

    def __init__(self, guard: Guard, *, ca_file: Path | None = None, agent: str = "ringback") -> None:
        self._loop = asyncio.get_running_loop()
        self._guard = guard
        self._agent = ("user-agent", agent)
        self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._idle: dict[Origin, deque[Connection]] = {}
        self._swept = 0.0

    def check(self, url: str) -> None:
        """`BadUrl` when `url` can be told to be wrong without asking any name server."""
        origin, _ = split(url)
        literal = _literal(origin.host)
        if literal is not None and not self._guard.permits(literal, origin.scheme):
            raise BadUrl("this address is not public and no network in egress_allow holds it")
        if literal is None and origin.scheme == "http" and not (self._guard.http or self._guard.allow):
            raise BadUrl("use https: plain http needs egress_http or a network in egress_allow")

    async def call(self, call: Call) -> Answer:
        """The answer to `call`, or `CallFailed`."""
        progress = _Progress(self._loop.time() + call.timeout)
        try:
            return await self._call(call, progress)
        except TimeoutError:
            raise CallFailed(progress.stage, "timed out", written=progress.written) from None
        except CallFailed as error:
            error.written = progress.written
            raise
        except (BadUrl, BadRequest) as error:
            raise CallFailed("request", str(error)) from None
        except Unparsable:
            raise CallFailed("read", "the answer is no HTTP that we read", written=True) from None
        except Broken:
            raise CallFailed("read", "the connection broke", written=progress.written) from None

    async def close(self) -> None:
        """Close every idle connection."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()
        await asyncio.sleep(0)

    async def _call(self, call: Call, progress: _Progress) -> Answer:
        place = _place(call.url)
        data = request_bytes(call.method, place.target, place.host, [self._agent, *call.headers], call.body)
        kept = None if call.fresh else self._kept(place.origin, self._loop.time())
        if kept is not None:
            try:
                return await self._ask(place, kept, data, call, progress)
            except Broken as broken:
                if not broken.fresh:
                    raise
        progress.stage = "resolve"
        async with asyncio.timeout_at(progress.ends):
            connection = await self._connect(place.origin, progress)
        return await self._ask(place, connection, data, call, progress)

    async def _ask(
        self, place: _Place, connection: Connection, data: bytes, call: Call, progress: _Progress
    ) -> Answer:
        progress.stage, progress.written = "read", True
        try:
            answer = await connection.ask(data, call.cap, bodyless=call.method == "HEAD", ends=progress.ends)
        except BaseException:
            if connection.unwritten:
                progress.stage = "write"
            connection.close()
            raise
        if connection.reusable and not call.fresh:
            self._keep(place.origin, connection, self._loop.time())
        else:
            connection.close()
        return answer

    def _kept(self, origin: Origin, now: float) -> Connection | None:
        connections = self._idle.get(origin)
        while connections:
            connection = connections.pop()
            if connection.reusable and now - connection.idle_since < IDLE_SECONDS and connection.silent:
                return connection
            connection.close()
        return None

    def _keep(self, origin: Origin, connection: Connection, now: float) -> None:
        connection.idle_since = now
        connections = self._idle.get(origin)
        if connections is None:
            connections = self._idle[origin] = deque()
        connections.append(connection)
        if len(connections) > IDLE_PER_ORIGIN:
            connections.popleft().close()
        if now - self._swept > IDLE_SECONDS:
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        """Close what nobody has asked for in a while, whoever it leads to."""
        self._swept = now
        for origin, connections in list(self._idle.items()):
            while connections and now - connections[0].idle_since > IDLE_SECONDS:
                connections.popleft().close()
            if not connections:
                del self._idle[origin]

    async def _connect(self, origin: Origin, progress: _Progress) -> Connection:
        addresses = await self._resolve(origin)
        failure = CallFailed("connect", "no address answered")
        progress.stage = "connect"
        for left, address in zip(range(len(addresses) - 1, -1, -1), addresses, strict=True):
            try:
                async with asyncio.timeout(NEXT_ADDRESS if left else None):
                    return await self._dial(origin, address, progress)
            except OSError as error:
                failure = _explain(error, progress.stage)
        raise failure

    async def _dial(self, origin: Origin, address: Address, progress: _Progress) -> Connection:
        progress.stage = "connect"
        transport, connection = await self._loop.create_connection(Connection, str(address), origin.port)
        if origin.scheme == "http":
            return connection
        progress.stage = "tls"
        try:
            secured = await self._loop.start_tls(
                transport, connection, self._tls, server_hostname=origin.host.removesuffix(".")
            )
        except BaseException:
            transport.abort()
            raise
        if secured is None:
            raise ConnectionResetError("the connection broke during the handshake")
        connection.transport = secured
        return connection

    async def _resolve(self, origin: Origin) -> list[Address]:
        literal = _literal(origin.host)
        found = [literal] if literal is not None else await _look_up(origin)
        refused = [one for one in found if not self._guard.permits(one, origin.scheme)]
        if refused or not found:
            raise CallFailed("resolve", "the address is not one that we may call (see egress_allow)")
        return found


def _explain(error: OSError, stage: str) -> CallFailed:
    """Why one address could not be used, by stage."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return CallFailed("tls", f"certificate: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return CallFailed("tls", (error.reason or "handshake failed").lower().replace("_", " "))
    return CallFailed(stage, (error.strerror or type(error).__name__).lower())


def _literal(host: str) -> Address | None:
    """The address that `host` spells, in any of the spellings that the system itself would take."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


async def _look_up(origin: Origin) -> list[Address]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise CallFailed("resolve", "the name has no address") from None
    return list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0])) for entry in found))
