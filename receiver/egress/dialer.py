"""New connections: a name's addresses, every one checked, and a connection to one of those.

Addresses are tried one after the other, the next as soon as one has failed or let a moment pass (RFC 8305),
and sockets are taken from a number that leaves room for the rest of the process.
"""

import asyncio
import errno
import ipaddress
import itertools
import resource
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from receiver.egress.address_guard import Address, BadUrl, Guard, Origin, split
from receiver.egress.http1 import Connection
from receiver.egress.places import NoPlace, Places
from receiver.egress.resolver import Resolver, Unresolved

STAGGER = 0.25
"""Seconds after which the next address is tried beside the one that has not answered."""
NEXT_ADDRESS = 3.0
"""Seconds that an address gets while there are others to try."""
AT_ONCE = 4
SOCKETS = 16384
"""The most sockets that calls use at once, idle ones included, however many the system allows."""
FEWEST = 16
WAITING = 65536
LOOPBACK = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
LOCAL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""Errors of our own system, which tell nothing about the other side."""
NOT_PUBLIC = "this address is not public and no network in egress_allow holds it; add its network to call it"
WAITS, NO_SOCKET = "wait", "no socket is free here"
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
NOBODYS = {4: ipaddress.ip_address("192.0.2.1"), 6: ipaddress.ip_address("2001:db8::1")}
"""Addresses of documentation, which no machine has."""


class NoConnection(Exception):
    """No connection could be had: the stage it failed at, why, and whether the trouble is our own."""

    def __init__(self, stage: str, reason: str, *, local: bool = False) -> None:
        super().__init__(reason)
        self.stage = stage
        self.reason = reason
        self.local = local


@dataclass(slots=True)
class Progress:
    """How far a call has come, for the error that names the stage, and when its time is over."""

    ends: float
    stage: str = "resolve"
    written: bool = False


class Dialer:
    """Makes connections for the gateway.

    `spare` closes an idle connection of the providers (True) or of the others, where there is one.
    """

    def __init__(self, guard: Guard, tls: ssl.SSLContext, spare: Callable[[bool], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._guard = guard
        self._tls = tls
        self._spare = spare
        self._resolver = Resolver()
        most = _sockets()
        self._shares = {True: Places(most // 4, WAITING), False: Places(most - most // 4, WAITING)}

    def check(self, url: str) -> None:
        """Check all that shows without asking a name server; raises `BadUrl`."""
        origin, _ = split(url)
        literal = _literal(origin.host)
        shown = (literal,) if literal else _of_this_machine(origin.host)
        if shown and not any(self._permits(one, origin.scheme) for one in shown):
            raise BadUrl(NOT_PUBLIC)
        if not shown and origin.scheme == "http" and not (self._guard.http or self._guard.allow):
            raise BadUrl("use https: plain http needs egress_http or a network in egress_allow")

    async def connect(self, origin: Origin, progress: Progress, *, provider: bool) -> Connection:
        """Connect to `origin`; raises `NoConnection`."""
        progress.stage = "resolve"
        addresses = await self._resolve(origin, provider)
        while True:
            connection, left = await self._first(origin, addresses, progress, provider)
            try:
                return await self._secured(origin, connection, progress)
            except OSError as error:
                if not left:
                    raise _explain(error, "tls") from None
                addresses = left

    async def close(self) -> None:
        """Give up the look-ups that are under way."""
        await self._resolver.close()

    async def _resolve(self, origin: Origin, provider: bool) -> Sequence[Address]:
        literal = _literal(origin.host)
        try:
            found = (literal,) if literal else await self._resolver.addresses(origin.host, provider=provider)
        except Unresolved as error:
            raise NoConnection("resolve", str(error)) from None
        try:
            permitted = all(self._permits(one, origin.scheme) for one in found)
        except OSError as error:
            raise _explain(error, "connect") from None
        if not permitted:
            raise NoConnection("resolve", NOT_PUBLIC)
        return found

    def _permits(self, address: Address, scheme: str) -> bool:
        if not self._guard.permits(address, scheme):
            return False
        return self._guard.allowed(address) or not is_own(address)

    async def _first(
        self, origin: Origin, addresses: Sequence[Address], progress: Progress, provider: bool
    ) -> tuple[Connection, Sequence[Address]]:
        """Return a connection to the first address that takes one, and the addresses that have not failed."""
        if len(addresses) == 1:
            return await self._dial(addresses[0], origin, progress, provider, last=True), ()
        waiting = deque(_interleaved(addresses))
        running: dict[asyncio.Task[Connection], Address] = {}
        failure = NoConnection("connect", "no address answered")
        try:
            while waiting or running:
                if waiting and len(running) < AT_ONCE:
                    address = waiting.popleft()
                    dial = self._dial(address, origin, progress, provider, last=not waiting)
                    running[self._loop.create_task(dial)] = address
                pause = STAGGER if waiting and len(running) < AT_ONCE else None
                done, _ = await asyncio.wait(running, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    del running[task]
                    try:
                        return task.result(), [*running.values(), *waiting]
                    except NoConnection as error:
                        failure = error
        finally:
            for task in running:
                task.cancel()
                task.add_done_callback(_drop)
        raise failure

    async def _dial(
        self, address: Address, origin: Origin, progress: Progress, provider: bool, *, last: bool
    ) -> Connection:
        place = await self._place(progress, provider)
        progress.stage = "connect"
        connection = Connection(place)
        try:
            async with asyncio.timeout(None if last else NEXT_ADDRESS):
                transport, _ = await self._loop.create_connection(
                    lambda: connection, str(address), origin.port
                )
        except OSError as error:
            connection.close()
            raise _explain(error, "connect") from None
        except BaseException:
            connection.close()
            raise
        if origin.scheme == "https":
            transport.pause_reading()  # whatever comes now is of the handshake
        return connection

    async def _place(self, progress: Progress, provider: bool) -> Callable[[], None]:
        share = self._shares[provider]
        if share.taken >= share.places:
            progress.stage = WAITS
            self._spare(provider)
        try:
            await share.acquire()
        except NoPlace:
            raise NoConnection(WAITS, NO_SOCKET, local=True) from None
        return share.release

    async def _secured(self, origin: Origin, connection: Connection, progress: Progress) -> Connection:
        if origin.scheme == "http":
            return connection
        progress.stage = "tls"
        try:
            if connection.transport is None or connection.transport.is_closing():
                raise ConnectionResetError("the connection broke before the handshake")
            secured = await self._loop.start_tls(
                connection.transport, connection, self._tls, server_hostname=origin.host.removesuffix(".")
            )
            if secured is None:
                raise ConnectionResetError("the connection broke during the handshake")
        except BaseException:
            connection.close()
            raise
        connection.transport = secured
        return connection


def _drop(task: "asyncio.Task[Connection]") -> None:
    """Close the connections of a dial that another has outrun."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _interleaved(addresses: Sequence[Address]) -> list[Address]:
    """Return the addresses with the two families in turns, so that one dead family costs a moment."""
    first = [one for one in addresses if one.version == addresses[0].version]
    other = [one for one in addresses if one.version != addresses[0].version]
    turns = itertools.zip_longest(first, other)
    return [one for pair in turns for one in pair if one is not None]


def _sockets() -> int:
    """Return how many sockets calls may use: half of the files that the process may open."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return SOCKETS if most == resource.RLIM_INFINITY else max(FEWEST, min(SOCKETS, most // 2))


def is_own(address: Address) -> bool:
    """Whether `address` is one of this machine's own: whether a socket can be bound to it.

    Where the system binds any address, the one it would send from tells instead.
    """
    if not _binds(address):
        return False
    return not _binds(NOBODYS[address.version]) or _sends_from(address) == address


def _binds(address: Address) -> bool:
    with socket.socket(FAMILIES[address.version], socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def _sends_from(address: Address) -> Address | None:
    """Return the address from which the system would send to `address`; nothing is sent."""
    with socket.socket(FAMILIES[address.version], socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))
            return ipaddress.ip_address(probe.getsockname()[0])
        except OSError:
            return None


def _explain(error: OSError, stage: str) -> NoConnection:
    """Return why one address could not be used, by stage."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return NoConnection("tls", f"certificate: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return NoConnection("tls", (error.reason or "handshake failed").lower().replace("_", " "))
    if isinstance(error, TimeoutError) and error.strerror is None:
        return NoConnection(stage, "timed out")
    return NoConnection(stage, (error.strerror or type(error).__name__).lower(), local=error.errno in LOCAL)


def _of_this_machine(host: str) -> tuple[Address, ...]:
    """Return the addresses of a name that always means this machine (RFC 6761, 6.3), else none."""
    name = host.removesuffix(".")
    return LOOPBACK if name == "localhost" or name.endswith(".localhost") else ()


def _literal(host: str) -> Address | None:
    """Return the address that `host` spells, in any of the spellings that the system itself would take."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None
