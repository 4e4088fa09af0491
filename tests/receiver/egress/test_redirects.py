"""GET requests that follow redirects: a few of them, each to an address that was checked."""

import asyncio

import pytest

from receiver.egress.client import CallFailed, HttpClient
from receiver.egress.redirects import HOPS, MOVED, get
from tests.receiver.client_fixture import staged
from tests.receiver.raw_server import LIMIT, OK, Peer, Script, replaying, serving


def moving(location: str, status: int = 302) -> bytes:
    """Return a redirect."""
    return f"HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 4\r\n\r\naway".encode()


def recording(seen: list[bytes], *answers: bytes) -> Script:
    """Return a script that answers in turn, over all connections, and keeps the requests."""
    left = list(answers)

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            seen.append(request)
            await peer.send(left.pop(0))

    return script


async def body_of(client: HttpClient, url: str, *headers: tuple[str, str]) -> tuple[int, bytes]:
    """Return the status and the body at the end of the redirects."""
    async with asyncio.timeout(LIMIT):
        streamed = await get(client, url, headers)
        found = b""
        while piece := await streamed.body.read():
            found += piece
    streamed.body.close()
    return streamed.answer.status, found


@pytest.mark.parametrize("status", sorted(MOVED))
async def test_a_redirect_is_followed_with_the_same_headers(status: int) -> None:
    seen: list[bytes] = []
    async with staged(recording(seen, moving("/b?c=1#frag", status), OK)) as (server, client):
        assert await body_of(client, server.url("/a"), ("range", "bytes=0-")) == (200, b"ok")
    assert [one.split(b" ")[1] for one in seen] == [b"/a", b"/b?c=1"]
    assert all(b"\r\nrange: bytes=0-\r\n" in one for one in seen)


async def test_links_are_mended_as_those_of_files_are() -> None:
    seen: list[bytes] = []
    async with staged(recording(seen, moving("/a b/ö"), OK)) as (server, client):
        assert await body_of(client, server.url("/a") + "#t=1") == (200, b"ok")
    assert [one.split(b" ")[1] for one in seen] == [b"/a", b"/a%20b/%C3%B6"]


async def test_redirects_to_other_origins_are_followed() -> None:
    async with (
        serving(replaying(OK)) as other,
        staged(replaying(moving(other.url("/x")))) as (server, client),
    ):
        assert await body_of(client, server.url("/a")) == (200, b"ok")


async def test_more_redirects_than_a_few_are_not_followed() -> None:
    seen: list[bytes] = []
    async with staged(recording(seen, *[moving("/again")] * (HOPS + 1))) as (server, client):
        with pytest.raises(CallFailed, match="too many redirects"):
            await get(client, server.url(), ())
        await server.gone(HOPS + 1)
    assert len(seen) == HOPS + 1


@pytest.mark.parametrize("host", ["127.0.0.2", "[::1]", "169.254.169.254", "10.0.0.1"])
async def test_a_redirect_to_an_address_that_is_not_allowed_is_not_dialled(host: str) -> None:
    reached: list[int] = []

    async def canary(peer: Peer) -> None:
        reached.append(peer.number)

    async with serving(canary, "127.0.0.2") as secret:
        location = f"http://{host}:{secret.port}/latest"
        async with staged(replaying(moving(location))) as (server, client):
            with pytest.raises(CallFailed, match="not public"):
                await get(client, server.url(), ())
            await server.gone(1)
    assert reached == []


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "javascript:alert(1)", "http://user@127.0.0.1/", "http://[bad", "gopher://a/"],
)
async def test_a_redirect_to_no_http_url_fails(location: str) -> None:
    async with staged(replaying(moving(location))) as (server, client):
        with pytest.raises(CallFailed, match=r"^request: "):
            await get(client, server.url(), ())


async def test_a_redirect_without_a_location_fails() -> None:
    away = b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n"
    async with staged(replaying(away)) as (server, client):
        with pytest.raises(CallFailed, match="without a location"):
            await get(client, server.url(), ())
