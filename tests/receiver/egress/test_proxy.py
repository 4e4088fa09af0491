"""The forward proxy: tunnels to checked addresses, with credentials, and every way in which it fails."""

import asyncio
import base64
import contextlib
import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from receiver.egress.address_guard import BadUrl, guard
from receiver.egress.client import CallFailed, HttpCall, HttpClient
from receiver.egress.http1 import Answer
from receiver.egress.proxy import HEAD_LIMIT, Proxy, proxy_of
from tests.receiver.raw_server import LIMIT, LOOPBACK_ONLY, OK, Names, outcome, replaying, serving

NAME, PROXY_NAME = "hooks.test", "proxy.test"


@dataclass
class ForwardProxy:
    """A proxy on loopback that opens tunnels, or gives one `answer` to every request."""

    answer: bytes | None = None
    requests: list[bytes] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            if self.answer is not None:
                writer.write(self.answer)
            else:
                target = self.requests[-1].split(b" ")[1].decode()
                await self._tunnel(target, reader, writer)
        writer.close()

    async def _tunnel(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = target.rpartition(":")
        back, forth = await asyncio.open_connection(host.strip("[]"), int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pipe(reader, forth), _pipe(back, writer))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(4096):
        writer.write(data)
    writer.close()


@contextlib.asynccontextmanager
async def proxied(answer: bytes | None = None) -> AsyncIterator[ForwardProxy]:
    """Run a proxy. Yields it."""
    made = ForwardProxy(answer)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


@contextlib.asynccontextmanager
async def through(proxy: ForwardProxy, user: str = "", host: str = "127.0.0.1") -> AsyncIterator[HttpClient]:
    """Yield a client that calls through a proxy."""
    gateway = HttpClient(LOOPBACK_ONLY, proxy=proxy_of(f"http://{user}{host}:{proxy.port}"))
    try:
        yield gateway
    finally:
        await gateway.close()


def post(url: str) -> HttpCall:
    """Return a delivery to a URL."""
    return HttpCall(method="POST", url=url, body=b"{}", timeout=LIMIT, delivery=True)


async def test_a_call_goes_to_the_checked_address_and_names_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    Names({NAME: [["127.0.0.1"]], PROXY_NAME: [["127.0.0.1"]]}).answer(monkeypatch)
    async with (
        serving(replaying(OK)) as server,
        proxied() as proxy,
        through(proxy, "me:pa%3Ass@", PROXY_NAME) as gateway,
    ):
        found = await outcome(gateway, post(server.url(host=NAME)))
    assert isinstance(found, Answer)
    assert found.status == 200
    place = server.url().removeprefix("http://").split("/")[0]
    credentials = base64.b64encode(b"me:pa:ss").decode()
    head = f"CONNECT {place} HTTP/1.1\r\nhost: {place}\r\n"
    assert proxy.requests == [f"{head}proxy-authorization: Basic {credentials}\r\n\r\n".encode()]


async def test_a_kept_connection_needs_no_second_tunnel() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n{}")
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with proxied() as proxy, through(proxy) as gateway:
        for _ in range(2):
            assert isinstance(await outcome(gateway, post(f"http://127.0.0.1:{port}/")), Answer)
    server.close()
    assert len(proxy.requests) == 1


async def test_an_address_that_is_not_permitted_never_reaches_the_proxy() -> None:
    async with proxied() as proxy:
        gateway = HttpClient(guard([], http=True), proxy=proxy_of(f"http://127.0.0.1:{proxy.port}"))
        for url in ("http://127.0.0.1:9999/", "http://169.254.169.254/latest", "http://10.0.0.1/"):
            failed = await outcome(gateway, post(url))
            assert isinstance(failed, CallFailed)
            assert failed.stage == "resolve"
        await gateway.close()
    assert proxy.requests == []


@pytest.mark.parametrize(
    ("answer", "reason", "local"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "the proxy answered 502", False),
        (b"HTTP/1.0 504\r\nserver: x\r\n\r\nbody", "the proxy answered 504", False),
        (b"HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\npage", "the proxy answered 503", False),
        (b"HTTP/1.1 407 No\r\ncontent-length: 4\r\n\r\npage", "the proxy answered 407", True),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy answered 407", True),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "the proxy answered 403", True),
        (
            b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "the proxy does not answer as a proxy does",
            True,
        ),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the proxy does not answer as a proxy does", True),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * HEAD_LIMIT, "the proxy does not answer as a proxy does", True),
        (b"HTTP/1.1 200 OK\r\n", "the proxy closed the connection", True),
        (b"", "the proxy closed the connection", True),
    ],
)
async def test_a_tunnel_that_is_not_opened_tells_why(answer: bytes, reason: str, local: bool) -> None:
    async with proxied(answer) as proxy, through(proxy) as gateway:
        failed = await outcome(gateway, HttpCall(method="POST", url="http://127.0.0.1:9999/", timeout=LIMIT))
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.reason, failed.local, failed.written) == ("proxy", reason, local, False)


async def test_a_proxy_that_is_away_says_nothing_about_the_peer(unserved: str) -> None:
    gateway = HttpClient(LOOPBACK_ONLY, proxy=proxy_of(unserved))
    failed = await outcome(gateway, post("http://127.0.0.1:9999/"))
    await gateway.close()
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.local) == ("proxy", True)
    assert failed.reason == "127.0.0.1: connection refused"


async def test_a_proxy_that_never_answers_costs_the_deadline() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    gateway = HttpClient(LOOPBACK_ONLY, proxy=proxy_of(f"http://127.0.0.1:{port}"))
    failed = await outcome(gateway, HttpCall(method="POST", url="http://127.0.0.1:9999/", timeout=0.1))
    await gateway.close()
    server.close()
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.reason) == ("connect", "timed out")


def test_a_proxy_is_read_from_its_url_and_hides_its_credentials() -> None:
    assert proxy_of("http://proxy.example:3128") == Proxy("proxy.example", 3128)
    assert proxy_of("http://[::1]:3128/") == Proxy("::1", 3128)
    made = proxy_of("http://me:secret@proxy.example:3128")
    assert made.authorization == "Basic " + base64.b64encode(b"me:secret").decode()
    assert "secret" not in repr(made)
    assert made.authorization not in repr(made)


def test_the_request_names_an_address_of_either_kind() -> None:
    proxy = Proxy("proxy.example", 3128)
    assert proxy.request(ipaddress.ip_address("192.0.2.1"), 443).startswith(
        b"CONNECT 192.0.2.1:443 HTTP/1.1\r\n"
    )
    assert proxy.request(ipaddress.ip_address("2001:db8::1"), 443).startswith(
        b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nhost: [2001:db8::1]:443\r\n"
    )


@pytest.mark.parametrize(
    "url",
    [
        "",
        "proxy.example",
        "https://proxy.example",
        "socks5://p.example:1",
        "http://p.example/path",
        "http://@p",
        "http://a@b@c",
    ],
)
def test_what_is_no_proxy_is_refused(url: str) -> None:
    with pytest.raises(BadUrl, match="must be http://host:port"):
        proxy_of(url)
