"""The resolver: finds the addresses of names in the hosts file, then at the name servers, without threads.

A look-up whose name server is silent costs a datagram and a timer, so it delays no other. One look-up at a
time is under way for a name; results are kept for a few seconds. Providers, names that resolved before, and
all other names have separate places, so that a flood of dead names delays only names not resolved before.
"""

import asyncio
import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiodns

from handlers.values import immutable
from receiver.egress.address_guard import Address
from receiver.egress.places import NoPlace, Places

KEPT = 5.0
"""Seconds for which the result of a look-up is used, a failure included."""
REMEMBERED = 4096
"""The most names with a kept result, and as many again without an address."""
FIRST_ANSWER, TRIES = 2.0, 4
"""Seconds that a name server gets at first, less once it has proved quick, and how often it is asked."""
LONGEST = 30.0
"""The most seconds of one look-up, all tries included."""
PLACES = {"provider": 256, "known": 256, "stranger": 512}
"""Look-ups that may be under way: of providers, of names that resolved before, and of all other names."""
WAITING = 8192
"""The most look-ups that wait for a place, of each of the three."""
HOSTS = Path("/etc/hosts")
HOSTS_LIMIT = 1 << 20
"""Bytes of the hosts file that are read."""
NO_ADDRESS = "the name has no address"
NO_ANSWER = "the name servers do not answer"


class Unresolved(Exception):
    """The error for a name without an address, or one that no name server answers for."""


class HostsFile:
    """The hosts file of this machine, read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int] | None = None
        self._names: Mapping[str, list[str]] = {}

    def get(self, host: str) -> list[str]:
        """Return the addresses of `host`; none where the file does not list it."""
        try:
            now = self._path.stat()
            if (now.st_mtime_ns, now.st_size) != self._version:
                self._names, self._version = self._read(), (now.st_mtime_ns, now.st_size)
        except OSError:
            self._names, self._version = {}, None
        return list(self._names.get(host, ()))

    def _read(self) -> dict[str, list[str]]:
        with self._path.open("rb") as file:
            text = file.read(HOSTS_LIMIT).decode("utf-8", "replace")
        found: dict[str, list[str]] = {}
        for line in text.splitlines():
            address, *names = line.partition("#")[0].split() or [""]
            for name in names:
                found.setdefault(name.lower().removesuffix("."), []).append(address)
        return found


class NameServers:
    """The name servers of this machine, as its own configuration lists them."""

    def __init__(self, servers: list[str] | None = None, hosts: Path = HOSTS) -> None:
        self._servers = servers
        self._hosts = HostsFile(hosts)
        self._asking: aiodns.DNSResolver | None = None

    async def ask(self, host: str) -> list[str]:
        """Return the addresses of `host`. Raises `Unresolved`."""
        name = host.removesuffix(".")
        if found := self._hosts.get(name):
            return found
        # These names always mean this machine, so no name server is asked (RFC 6761, 6.3).
        if name == "localhost" or name.endswith(".localhost"):
            return ["127.0.0.1"]
        if self._asking is None:
            self._asking = aiodns.DNSResolver(self._servers, timeout=FIRST_ANSWER, tries=TRIES)
        try:
            result = await self._asking.getaddrinfo(host, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise Unresolved(NO_ADDRESS) from None
        except aiodns.error.DNSError as error:
            missing = {aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_ENODATA, aiodns.error.ARES_EBADNAME}
            raise Unresolved(NO_ADDRESS if error.args[0] in missing else NO_ANSWER) from None
        return [node.addr[0].decode("ascii") for node in result.nodes]

    async def close(self) -> None:
        """End every running look-up."""
        if self._asking is not None:
            await self._asking.close()


@immutable
class Result:
    """The result of a look-up: addresses or the reason for none, and the time until which it is used."""

    until: float
    addresses: tuple[Address, ...] = ()
    reason: str = ""


@dataclass(slots=True)
class Flight:
    """A look-up under way: the number of callers that wait for it, and whether it has been sent."""

    callers: int = 0
    left: bool = False
    task: "asyncio.Task[Result]" = field(init=False)


class Resolver:
    """A resolver that looks up names for many callers at once."""

    def __init__(self, servers: NameServers | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._servers = servers or NameServers()
        self._good: OrderedDict[str, Result] = OrderedDict()
        self._bad: OrderedDict[str, Result] = OrderedDict()
        self._flights: dict[tuple[str, bool], Flight] = {}
        # Newest first, because first come first served makes all look-ups late under a flood of dead names.
        # Providers and known names have other places. Why: receiver/README.md#names-resolve-without-threads
        self._shares = {
            name: Places(places, WAITING, newest_first=name == "stranger") for name, places in PLACES.items()
        }

    async def addresses(self, host: str, *, provider: bool) -> tuple[Address, ...]:
        """Return the addresses of `host`. Raises `Unresolved`. The caller's own deadline ends the wait."""
        result = self._good.get(host) or self._bad.get(host)
        if result is None or result.until <= self._loop.time():
            result = await self._looked_up(host, provider)
        if result.reason:
            raise Unresolved(result.reason)
        return result.addresses

    async def close(self) -> None:
        """Cancel every look-up under way."""
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._servers.close()

    async def _looked_up(self, host: str, provider: bool) -> Result:
        key = host, provider
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = Flight()
            flight.task = self._loop.create_task(self._look_up(host, provider, flight))
            flight.task.add_done_callback(lambda _: self._landed(key, flight))
        flight.callers += 1
        try:
            # Shielded, because the deadline of one caller must not end the look-up for the others.
            return await asyncio.shield(flight.task)
        finally:
            flight.callers -= 1
            # A look-up that was sent goes on without callers, and its result is kept; one that still waits
            # for a place only takes up the queue.
            if not flight.callers and not flight.left and not flight.task.done():
                self._landed(key, flight)
                flight.task.cancel()

    def _landed(self, key: tuple[str, bool], flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def _look_up(self, host: str, provider: bool, flight: Flight) -> Result:
        share = self._shares["provider" if provider else "known" if host in self._good else "stranger"]
        try:
            await share.acquire()
        except NoPlace:
            return Result(0.0, reason="too many names are being looked up")
        flight.left = True
        try:
            async with asyncio.timeout(LONGEST):
                found = tuple(ipaddress.ip_address(one) for one in await self._servers.ask(host))
            reason = "" if found else NO_ADDRESS
        except Unresolved as error:
            found, reason = (), str(error)
        except TimeoutError:
            found, reason = (), NO_ANSWER
        except ValueError:
            found, reason = (), NO_ADDRESS
        finally:
            share.release()
        result = Result(self._loop.time() + KEPT, tuple(dict.fromkeys(found)), reason)
        self._keep(host, result)
        return result

    def _keep(self, host: str, result: Result) -> None:
        ours, other = (self._bad, self._good) if result.reason else (self._good, self._bad)
        other.pop(host, None)
        ours[host] = result
        ours.move_to_end(host)
        if len(ours) > REMEMBERED:
            ours.popitem(last=False)
