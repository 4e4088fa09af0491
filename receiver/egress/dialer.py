"""The dialer: resolves a name, checks every address of it, and opens a connection to one of these.

Addresses are tried one after the other, the next as soon as one has failed or has not answered for a moment
(RFC 8305). The number of sockets is bounded and leaves files for the rest of the process.
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
from receiver.egress.proxy import NoTunnel, Proxy, Tunnel
from receiver.egress.resolver import Resolver, Unresolved

STAGGER = 0.25
"""Seconds after which the next address is tried beside one that has not answered."""
NEXT_ADDRESS = 3.0
"""Seconds that an address gets while others are left to try."""
AT_ONCE = 4
"""The most addresses of one name that are tried at the same time."""
SOCKETS = 16384
"""The most sockets that calls use at once, idle ones included, however many files the system allows."""
FEWEST = 16
"""The number of sockets for calls, however few files the process may open."""
WAITING = 65536
"""The most calls that wait for a socket, of those to providers and of the others each."""
LOOPBACK = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
LOCAL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""Errors of this machine, which say nothing about the peer."""
NOT_PUBLIC = "this address is not public and no network in egress_allow holds it; add its network to call it"
WAITS, NO_SOCKET = "wait", "no socket is free here"
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
NOBODYS = {4: ipaddress.ip_address("192.0.2.1"), 6: ipaddress.ip_address("2001:db8::1")}
"""Addresses reserved for documentation, which no machine has."""


class NoConnection(Exception):
    """The error for a failed connection: the stage, the reason, and whether the cause is local."""

    def __init__(self, stage: str, reason: str, *, local: bool = False) -> None:
        super().__init__(reason)
        self.stage = stage
        self.reason = reason
        self.local = local


@dataclass(slots=True)
class Progress:
    """The progress of a call: its deadline, its stage, and whether its request may have been sent."""

    ends: float
    stage: str = "resolve"
    written: bool = False


class Dialer:
    """A dialer that opens the connections of the HTTP client, through a `proxy` where there is one.

    `spare` closes an idle connection to providers (True) or to others (False), where there is one.
    """

    def __init__(
        self,
        guard: Guard,
        tls: ssl.SSLContext,
        spare: Callable[[bool], object],
        proxy: Proxy | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._guard = guard
        self._tls = tls
        self._spare = spare
        self._proxy = proxy
        self._resolver = Resolver()
        most = _sockets()
        self._shares = {True: Places(most // 4, WAITING), False: Places(most - most // 4, WAITING)}

    def check(self, url: str) -> None:
        """Check everything about `url` that needs no name server. Raises `BadUrl`."""
        origin, _ = split(url)
        literal = _literal(origin.host)
        shown = (literal,) if literal else _of_this_machine(origin.host)
        if shown and not any(self._permits(one, origin) for one in shown):
            raise BadUrl(NOT_PUBLIC)
        plain = self._guard.http or self._guard.allow or self._guard.names(origin.host)
        if not shown and origin.scheme == "http" and not plain:
            raise BadUrl("use https: plain http needs egress_http or a network in egress_allow")

    async def connect(self, origin: Origin, progress: Progress, *, provider: bool) -> Connection:
        """Return a connection to `origin`. Raises `NoConnection`."""
        progress.stage = "resolve"
        addresses = await self._resolve(origin, provider)
        # The handshake is part of the loop: an address that accepts connections but fails TLS is passed over.
        while True:
            connection, left = await self._first(origin, addresses, progress, provider)
            try:
                return await self._secured(origin, connection, progress)
            except OSError as error:
                if not left:
                    raise _explain(error, "tls") from None
                addresses = left

    async def close(self) -> None:
        """End the look-ups that are under way."""
        await self._resolver.close()

    async def _resolve(self, origin: Origin, provider: bool) -> Sequence[Address]:
        literal = _literal(origin.host)
        try:
            found = (literal,) if literal else await self._resolver.addresses(origin.host, provider=provider)
        except Unresolved as error:
            raise NoConnection("resolve", str(error)) from None
        try:
            permitted = all(self._permits(one, origin) for one in found)
        except OSError as error:
            raise _explain(error, "connect") from None
        if not permitted:
            raise NoConnection("resolve", NOT_PUBLIC)
        return found

    def _permits(self, address: Address, origin: Origin) -> bool:
        if not self._guard.permits(address, origin.scheme, origin.host):
            return False
        return self._guard.allowed(address, origin.host) or not is_own(address)

    async def _first(
        self, origin: Origin, addresses: Sequence[Address], progress: Progress, provider: bool
    ) -> tuple[Connection, Sequence[Address]]:
        """Return a connection to the first address that accepts, and the addresses that have not failed."""
        if len(addresses) == 1:
            return await self._dial(addresses[0], origin, progress, provider, last=True), ()
        waiting = deque(_interleaved(addresses))
        running: dict[asyncio.Task[Connection], Address] = {}
        failure = NoConnection("connect", "no address answered")
        # A slow address is not waited for: the next one is tried beside it, and the first connection is used.
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
            # A dial may have connected by now: `_drop` closes its connection, which gives its socket back.
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
                transport = await self._open(connection, address, origin.port)
        except NoTunnel as error:
            connection.close()
            raise NoConnection("proxy", error.reason, local=error.ours) from None
        except OSError as error:
            connection.close()
            raise _explain(error, "connect") from None
        except BaseException:
            connection.close()
            raise
        if origin.scheme == "https":
            transport.pause_reading()  # the next bytes belong to the TLS handshake
        return connection

    async def _open(self, connection: Connection, address: Address, port: int) -> asyncio.Transport:
        """Open a connection to an address. Raises `OSError` or `NoTunnel`."""
        if self._proxy is None:
            transport, _ = await self._loop.create_connection(lambda: connection, str(address), port)
            return transport
        tunnel = Tunnel(self._proxy.request(address, port), self._loop.create_future())
        transport = await self._to_proxy(self._proxy, tunnel)
        try:
            await tunnel.opened
        except BaseException:
            transport.abort()
            raise
        transport.set_protocol(connection)
        connection.connection_made(transport)
        return transport

    async def _to_proxy(self, proxy: Proxy, tunnel: Tunnel) -> asyncio.Transport:
        """Connect to the first address of the proxy that accepts. Raises `NoTunnel`."""
        # Not checked by the guard: the operator names the proxy, which is usually a private address.
        literal, reason = _literal(proxy.host), "no address answered"
        try:
            found = (literal,) if literal else await self._resolver.addresses(proxy.host, provider=True)
        except Unresolved as error:
            raise NoTunnel(f"{proxy.host}: {error}", ours=True) from None
        for address in found:
            try:
                transport, _ = await self._loop.create_connection(lambda: tunnel, str(address), proxy.port)
            except OSError as error:
                reason = _explain(error, "connect").reason
            else:
                return transport
        raise NoTunnel(f"{proxy.host}: {reason}", ours=True)

    async def _place(self, progress: Progress, provider: bool) -> Callable[[], None]:
        share = self._shares[provider]
        if share.taken >= share.places:
            progress.stage = WAITS
            # Idle connections hold sockets too, so one of them is closed for this call.
            self._spare(provider)
        # A call that finds no socket waits within its deadline, and its failure is a local one, which says
        # nothing about the peer. Why: receiver/README.md#half-the-files-are-for-calls
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
    """Close the connection of a dial that another dial has overtaken."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _interleaved(addresses: Sequence[Address]) -> list[Address]:
    """Return the addresses with the two families in turns, so that a dead family costs only a moment."""
    first = [one for one in addresses if one.version == addresses[0].version]
    other = [one for one in addresses if one.version != addresses[0].version]
    turns = itertools.zip_longest(first, other)
    return [one for pair in turns for one in pair if one is not None]


def _sockets() -> int:
    """Return how many sockets calls may use: half of the files that the process may open, within bounds."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return SOCKETS if most == resource.RLIM_INFINITY else max(FEWEST, min(SOCKETS, most // 2))


def is_own(address: Address) -> bool:
    """Return whether `address` is one of this machine's own: whether a socket can be bound to it.

    Where the system lets a socket bind to any address, the address that it would send from decides instead.
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
    """Return the error for an address that could not be used, with its stage and reason."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return NoConnection("tls", f"certificate: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return NoConnection("tls", (error.reason or "handshake failed").lower().replace("_", " "))
    # A timeout of the system has an error text (ETIMEDOUT); one of this process has none.
    if isinstance(error, TimeoutError) and error.strerror is None:
        return NoConnection(stage, "timed out")
    return NoConnection(stage, (error.strerror or type(error).__name__).lower(), local=error.errno in LOCAL)


def _of_this_machine(host: str) -> tuple[Address, ...]:
    """Return the addresses of a name that always means this machine (RFC 6761, 6.3), else none."""
    name = host.removesuffix(".")
    return LOOPBACK if name == "localhost" or name.endswith(".localhost") else ()


def _literal(host: str) -> Address | None:
    """Return the address that `host` spells, in any spelling that the system itself accepts, or None."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    # The system takes 127.1, 0x7f000001 and 2130706433 for 127.0.0.1, so the guard has to see that address.
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None
