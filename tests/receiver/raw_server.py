"""Servers on raw sockets: every connection runs a script and keeps the bytes that it received.

They listen on loopback only and are bounded in time. The module also holds a name server that never uses the
network, and responses that every parser of HTTP/1.1 reads alike.
"""

import asyncio
import contextlib
import gzip
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from handlers.values import immutable
from receiver.egress.address_guard import Guard, guard
from receiver.egress.client import CallFailed, HttpCall, HttpClient
from receiver.egress.http1 import Answer, Connection
from receiver.egress.resolver import NO_ADDRESS, NameServers, Unresolved

"""Seconds after which a script or a wait has failed; a bound, never an expectation."""
LIMIT = 100.0
LOOPBACK = "127.0.0.1"
LOOPBACK_ONLY: Guard = guard(["127.0.0.1/32"], http=False)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Peer:
    """The server's side of one connection."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.got = bytearray()
        self.gone = asyncio.Event()

    async def request(self) -> bytes:
        """Return the next request, head and body, or nothing when the client has disconnected."""
        while True:
            head, found, rest = bytes(self.got).partition(b"\r\n\r\n")
            if found:
                lengths = [
                    line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
                ]
                length = int(lengths[0].partition(b":")[2]) if lengths else 0
                if len(rest) >= length:
                    self.got[:] = rest[length:]
                    return head + found + rest[:length]
            if not await self._more():
                return b""

    async def send(self, data: bytes) -> None:
        """Send everything. A client that has disconnected is no error."""
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def drip(self, data: bytes, pace: float = 0.01) -> None:
        """Send `data` again and again, one byte every `pace` seconds, until the client disconnects."""
        leaving = asyncio.create_task(self.leave())
        while not leaving.done():
            for byte in data:
                await self.send(bytes([byte]))
                await asyncio.wait([leaving], timeout=pace)

    async def flood(self, data: bytes) -> int:
        """Send `data` until the client disconnects. Returns the number of bytes that the system accepted."""
        loop, sent = asyncio.get_running_loop(), 0
        with contextlib.suppress(OSError):
            while True:
                await loop.sock_sendall(self.sock, data)
                sent += len(data)
        self.gone.set()
        return sent

    async def leave(self) -> None:
        """Wait until the client disconnects."""
        while await self._more():
            pass

    def reset(self) -> None:
        """Close the connection with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    async def _more(self) -> bool:
        try:
            data = await asyncio.get_running_loop().sock_recv(self.sock, 65536)
        except OSError:
            data = b""
        self.got += data
        if not data:
            self.gone.set()
        return bool(data)


Script = Callable[[Peer], Awaitable[None]]


class RawServer:
    """A listener and the connections that it accepted."""

    def __init__(self, listener: socket.socket, script: Script) -> None:
        self.listener = listener
        self.port: int = listener.getsockname()[1]
        self.peers: list[Peer] = []
        self.failures: list[BaseException] = []
        self._script = script
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, path: str = "/", host: str = LOOPBACK) -> str:
        """Return the URL of `path` on this server."""
        return f"http://{host}:{self.port}{path}"

    async def accept(self) -> None:
        """Accept connections forever, each with a run of the script."""
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self.listener)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(sock, len(self.peers))
            self.peers.append(peer)
            self._tasks.add(asyncio.create_task(self._run(peer)))

    async def gone(self, count: int) -> None:
        """Wait until the clients of `count` connections have disconnected."""
        async with asyncio.timeout(LIMIT):
            waiting = {asyncio.create_task(peer.gone.wait()) for peer in self.peers}
            done = 0
            while done < count:
                ready, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                done += len(ready)
            for task in waiting:
                task.cancel()

    async def stop(self) -> None:
        """End every script that still runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, peer: Peer) -> None:
        try:
            async with asyncio.timeout(LIMIT):
                await self._script(peer)
        except OSError:
            peer.gone.set()
        except AssertionError as failure:
            self.failures.append(failure)
        finally:
            peer.sock.close()


@contextlib.asynccontextmanager
async def serving(script: Script, host: str = LOOPBACK) -> AsyncIterator[RawServer]:
    """Run a server with `script` for every connection. Yields it.

    An assertion that fails in a script fails the test.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen(128)
        listener.setblocking(False)
        server = RawServer(listener, script)
        accepting = asyncio.create_task(server.accept())
        try:
            yield server
        finally:
            accepting.cancel()
            await asyncio.gather(accepting, return_exceptions=True)
            await server.stop()
    if server.failures:
        raise server.failures[0]


@contextlib.asynccontextmanager
async def calling(rule: Guard = LOOPBACK_ONLY) -> AsyncIterator[HttpClient]:
    """Yield an HTTP client that may call the tests' servers."""
    gateway = HttpClient(rule)
    try:
        yield gateway
    finally:
        await gateway.close()


async def outcome(gateway: HttpClient, call: HttpCall) -> Answer | CallFailed:
    """Return the response or the failure of `call`. Any other exception, or a hang, fails the test."""
    async with asyncio.timeout(LIMIT):
        try:
            return await gateway.call(call)
        except CallFailed as failed:
            return failed


def replaying(*answers: bytes, close: bool = False) -> Script:
    """Return a script that sends the next of `answers` for each request, then closes or waits for the end."""

    async def script(peer: Peer) -> None:
        for answer in answers:
            if not await peer.request():
                return
            await peer.send(answer)
        if not close:
            await peer.leave()

    return script


async def silent(peer: Peer) -> None:
    """Read, and never answer."""
    await peer.leave()


def sending(data: bytes, *, reset: bool = False) -> Script:
    """Return a script that reads a request, sends `data`, and closes or resets the connection."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)
        if reset:
            peer.reset()

    return script


async def endless_headers(peer: Peer) -> None:
    """Send headers forever."""
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\n")
    await peer.flood(b"x-padding: " + b"y" * 1000 + b"\r\n")


async def endless_interims(peer: Peer) -> None:
    """Send interim responses forever."""
    await peer.request()
    await peer.flood(INTERIM * 10)


def dripping(once: bytes, again: bytes, pace: float = 0.01) -> Script:
    """Return a script that sends `once`, then drips `again` forever."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(once)
        await peer.drip(again, pace)

    return script


class Heard:
    """A count of the bytes that the HTTP client has read, for which a test can wait."""

    def __init__(self) -> None:
        self.total = 0
        self._news = asyncio.Event()
        self._original = Connection.data_received

    def data_received(self, connection: Connection, data: bytes) -> None:
        """Count the data after the original method; it replaces the method of `Connection`."""
        self._original(connection, data)
        self.total += len(data)
        self._news.set()

    async def until(self, total: int) -> None:
        """Wait until `total` bytes have been read."""
        while self.total < total:
            self._news.clear()
            await self._news.wait()


class Names:
    """A name server that returns the next of a name's answers each time, and the last one forever.

    It replaces the machine's name servers, and its answers are not cached.
    """

    def __init__(self, table: Mapping[str, Sequence[Iterable[str] | Exception]]) -> None:
        self._table = {name: list(answers) for name, answers in table.items()}
        self.asked: list[str] = []

    async def ask(self, host: str) -> list[str]:
        """Return the addresses of a host as `NameServers.ask` does, without any network."""
        self.asked.append(host)
        answers = self._table.get(host)
        if answers is None:
            raise Unresolved(NO_ADDRESS)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    def answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Answer every lookup from now on."""
        monkeypatch.setattr(NameServers, "ask", lambda _, host: self.ask(host))
        monkeypatch.setattr("receiver.egress.resolver.KEPT", -1.0)


@immutable
class Canned:
    """A response as bytes, and its reading. `closes` says that the end of the connection ends it."""

    raw: bytes
    status: int = 200
    body: bytes = b""
    closes: bool = False


GZIPPED = gzip.compress(b"squeezed", mtime=0)
LONG_HEADERS = b"".join(b"x-%d: %s\r\n" % (number, b"y" * 900) for number in range(20))
INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"

# Responses that two parsers of HTTP/1.1 read alike: the HTTP client and, as an oracle, httpx.
FRAMINGS: Mapping[str, Canned] = {
    "length": Canned(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 200, b"hello"),
    "length-capitals": Canned(b"HTTP/1.1 200 OK\r\nCONTENT-LENGTH:5\r\n\r\nhello", 200, b"hello"),
    "empty": Canned(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n", 202),
    "no-reason": Canned(b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    "204": Canned(b"HTTP/1.1 204 No Content\r\n\r\n", 204),
    "304": Canned(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304),
    "chunked": Canned(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        200,
        b"hello world",
    ),
    "chunked-extras": Canned(
        b"HTTP/1.1 201 Made\r\nTransfer-Encoding: Chunked\r\n\r\n00A;a=b\r\n0123456789\r\n0\r\nt: 1\r\n\r\n",
        201,
        b"0123456789",
    ),
    "to-close": Canned(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, b"until the end", closes=True),
    "to-close-1.0": Canned(b"HTTP/1.0 200 OK\r\nx: y\r\n\r\nold", 200, b"old", closes=True),
    "to-close-empty": Canned(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", 200, closes=True),
    "continue": Canned(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok"),
    "hints": Canned(INTERIM * 3 + OK, 200, b"ok"),
    "redirect": Canned(b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 2\r\n\r\nno", 302, b"no"),
    "server-error": Canned(b"HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 1\r\n\r\n!", 503, b"!"),
    "gzip": Canned(
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(GZIPPED) + GZIPPED,
        200,
        GZIPPED,
    ),
    "long-headers": Canned(b"HTTP/1.1 200 OK\r\n" + LONG_HEADERS + b"content-length: 1\r\n\r\n+", 200, b"+"),
    "binary": Canned(
        b"HTTP/1.1 200 OK\r\ncontent-length: 256\r\n\r\n" + bytes(range(256)), 200, bytes(range(256))
    ),
}
SMALL = {name: canned for name, canned in FRAMINGS.items() if len(canned.raw) < 400}


# Damage that a response may suffer on its way.

BOUNDED = settings(max_examples=60, deadline=None, derandomize=True, database=None)

Mutation = tuple[str, int, bytes]
MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "delete", "repeat", "truncate"]),
        st.integers(0, 400),
        st.one_of(
            st.binary(min_size=1, max_size=6),
            st.sampled_from(
                [b"\r\n", b"\r\n\r\n", b"\x00", b"-1", b"0\r\n\r\n", b"\xff" * 9, b"HTTP/1.1 100 x\r\n\r\n"]
            ),
        ),
    ),
    max_size=4,
)
PLACES = st.lists(st.integers(0, 400), max_size=8)


def mutated(raw: bytes, mutations: list[Mutation]) -> bytes:
    """Return `raw` after some mutations."""
    for kind, where, what in mutations:
        at = where % (len(raw) + 1)
        before, after, size = raw[:at], raw[at:], len(what)
        raw = {
            "replace": before + what + after[size:],
            "insert": before + what + after,
            "delete": before + after[size:],
            "repeat": before + after[: size * 9] + after,
            "truncate": before,
        }[kind]
    return raw


def cut(raw: bytes, places: Iterable[int]) -> Iterator[bytes]:
    """Yield `raw` in pieces, cut at `places`."""
    bounds = [0, *sorted({place for place in places if 0 < place < len(raw)}), len(raw)]
    for start, stop in pairwise(bounds):
        yield raw[start:stop]
