"""Downloads through the service's own server, from a file server on raw sockets."""

import asyncio

import httpx
import pytest

from handlers.contract import Kind
from tests.receiver.api_client import problem_of
from tests.receiver.download_site import LARGE, Site, to_the_end
from tests.receiver.file_server import FILE, answer, file_server
from tests.receiver.front_door import until
from tests.receiver.raw_server import Peer, serving, silent

SIZE = len(FILE)
CANARY = "cookie-of-the-reader"
PART_IN_CHUNKS = (
    b"HTTP/1.1 206 X\r\ncontent-range: %b\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n"
)


# Whole files and parts.


async def test_a_file_is_passed_on_with_headers_of_ours(site: Site) -> None:
    got = await site.get(await site.link())
    assert (got.status_code, got.content) == (200, FILE)
    assert got.headers["content-type"] == "video/mp4"
    assert got.headers["content-length"] == str(SIZE)
    assert got.headers["accept-ranges"] == "bytes"
    assert got.headers["etag"] == '"v1"'
    assert got.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["cache-control"] == "private, no-store"
    assert got.headers["x-request-id"].startswith("req_")
    assert got.headers["content-disposition"].startswith('inline; filename="job_')


@pytest.mark.parametrize(
    ("wanted", "part", "told"),
    [
        ("bytes=0-0", FILE[:1], f"bytes 0-0/{SIZE}"),
        ("bytes=100-299", FILE[100:300], f"bytes 100-299/{SIZE}"),
        ("bytes=100-", FILE[100:], f"bytes 100-{SIZE - 1}/{SIZE}"),
        ("bytes=-7", FILE[-7:], f"bytes {SIZE - 7}-{SIZE - 1}/{SIZE}"),
        ("bytes=0-999999", FILE, f"bytes 0-{SIZE - 1}/{SIZE}"),
    ],
)
async def test_a_part_is_passed_on(site: Site, wanted: str, part: bytes, told: str) -> None:
    got = await site.get(await site.link(), range=wanted, if_range='"v1"')
    assert (got.status_code, got.content) == (206, part)
    assert got.headers["content-range"] == told
    assert got.headers["content-length"] == str(len(part))
    assert (site.files.header("range"), site.files.header("if-range")) == (wanted, '"v1"')


@pytest.mark.parametrize("wanted", ["bytes=0-1,4-5", "bytes=9-1", "pages=1-2", "bytes=x"])
async def test_ranges_that_are_not_one_bring_the_whole_file(site: Site, wanted: str) -> None:
    got = await site.get(await site.link(), range=wanted)
    assert (got.status_code, got.content) == (200, FILE)
    assert site.files.header("range") is None


async def test_a_part_behind_the_end_is_refused_with_the_length(site: Site) -> None:
    got = await site.get(await site.link(), range=f"bytes={SIZE}-")
    problem_of(got, 416, "range-not-satisfiable")
    assert got.headers["content-range"] == f"bytes */{SIZE}"


async def test_a_server_without_ranges_answers_with_the_whole_file(site: Site) -> None:
    site.files.answers = [answer(200, FILE, content_type="video/mp4")]
    got = await site.get(await site.link(), range="bytes=5-")
    assert (got.status_code, got.content) == (200, FILE)
    assert "accept-ranges" not in got.headers


async def test_head_tells_the_head_and_leaves_the_body(site: Site) -> None:
    path = await site.link()
    got = await site.client.head(path, headers={"range": "bytes=1-2"})
    assert (got.status_code, got.content) == (200, b"")
    assert (got.headers["content-length"], got.headers["accept-ranges"]) == (str(SIZE), "bytes")
    assert site.files.requests[-1].startswith(b"GET ")
    assert site.files.header("range") is None
    assert (await site.get(path)).content == FILE


async def test_a_file_in_chunks_is_passed_on_in_chunks(site: Site) -> None:
    chunks = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n"
    site.files.answers = [head + chunks] * 2
    got = await site.get(path := await site.link())
    assert (got.status_code, got.content) == (200, b"hello world")
    assert got.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in got.headers
    assert "content-length" not in (await site.client.head(path)).headers


@pytest.mark.parametrize("query", ["download=1&utm_source=mail", "utm=2&download=1", "a&download=1&%ff"])
async def test_other_parameters_are_ignored(site: Site, query: str) -> None:
    path = (await site.link()).partition("?")[0]
    assert (await site.get(f"{path}?{query}")).content == FILE
    for other in ("download=0", "download=", "download=11", "xdownload=1", "Download=1"):
        assert (await site.get(f"{path}?{other}")).status_code == 307


# Files that must not run here, and secrets that must not leave.


@pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "application/xhtml+xml"])
async def test_a_page_of_the_provider_is_only_bytes(site: Site, content_type: str) -> None:
    site.files.content_type = content_type
    got = await site.get(await site.link(kind=Kind.FILE, mime_type="text/html"))
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["content-disposition"].startswith('attachment; filename="job_')
    assert got.headers["content-disposition"].endswith('-0-file.bin"')
    assert got.headers["x-content-type-options"] == "nosniff"


async def test_headers_of_the_file_server_are_not_passed_on(site: Site) -> None:
    site.files.answers = [answer(200, b"x", set_cookie="a=b", refresh="0;url=//x", link="<x>", server="s")]
    got = await site.get(await site.link())
    assert got.headers.keys().isdisjoint({"set-cookie", "refresh", "link", "server"})


async def test_nothing_of_the_reader_and_no_key_goes_out(site: Site) -> None:
    async with file_server() as other:
        site.files.answers = [answer(302, b"", location=other.url("/1.mp4"))]
        got = await site.get(
            await site.link(), authorization=f"Bearer {CANARY}", cookie=CANARY, referer=f"http://{CANARY}/"
        )
        assert got.content == FILE
        for request in (*site.files.requests, *other.requests):
            names = {line.partition(b":")[0] for line in request.split(b"\r\n")[1:] if line}
            assert names == {b"host", b"accept-encoding", b"user-agent"}
            assert b"\r\naccept-encoding: identity\r\n" in request


async def test_a_redirect_to_a_private_address_is_not_followed(site: Site) -> None:
    reached: list[int] = []

    async def canary(peer: Peer) -> None:
        reached.append(peer.number)

    async with serving(canary, "127.0.0.2") as secret:
        site.files.answers = [answer(302, b"", location=secret.url("/x", "127.0.0.2"))]
        got = await site.get(await site.link())
        detail = problem_of(got, 503, "provider-unavailable")["detail"]
        assert detail == "the file's server cannot be reached now"
        assert "retry-after" in got.headers
    assert reached == []


@pytest.mark.parametrize(
    "said",
    [
        answer(200, b"x", content_encoding="gzip"),
        b"HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\n\r\nto the end",
        answer(206, b"x", content_range="bytes 0-0/1"),
        answer(500, b"x"),
        answer(304, b""),
        b"not HTTP at all\r\n\r\n",
    ],
)
async def test_an_answer_that_cannot_be_passed_on_is_a_503(site: Site, said: bytes) -> None:
    site.files.answers = [said]
    got = await site.get(await site.link())
    problem_of(got, 503, "provider-unavailable")
    assert got.headers["retry-after"] == "5"


# Ends.


@pytest.mark.parametrize(
    "said",
    [
        answer(200, b"half", length=10),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        PART_IN_CHUNKS % b"bytes 0-9/99",
        PART_IN_CHUNKS % b"bytes 0-1/99",
    ],
)
async def test_a_file_that_is_not_whole_never_looks_whole(site: Site, said: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(said)

    async with serving(script) as server:
        path = await site.link(server.url())
        wanted = {"range": "bytes=0-9"} if b" 206 " in said else {}
        with pytest.raises(httpx.RemoteProtocolError):
            await site.client.get(path, headers=wanted)


async def test_a_reader_that_leaves_ends_the_connection_to_the_file_server(site: Site) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(f"HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\nsome".encode())
        await peer.leave()

    async with serving(script) as server:
        async with site.reader(await site.link(server.url())) as reader:
            assert await asyncio.get_running_loop().sock_recv(reader, 4) == b"HTTP"
            assert site.under_way == 1
        await server.gone(1)
        await until(lambda: site.under_way == 0)


async def test_a_reader_that_leaves_before_the_first_byte_ends_it_too(site: Site) -> None:
    async with serving(silent) as server:
        async with site.reader(await site.link(server.url())):
            await until(lambda: server.peers and server.peers[0].got)
        await server.gone(1)
        await until(lambda: site.under_way == 0)


async def test_a_file_server_that_falls_silent_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.egress.http1.IDLE_SECONDS", 0.01)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(200, b"half", length=10))
        await peer.leave()

    async with serving(script) as server:
        with pytest.raises(httpx.RemoteProtocolError):
            await site.get(await site.link(server.url()))
        await server.gone(1)


async def test_a_file_server_that_does_not_answer_is_away(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.egress.redirects.HEAD_SECONDS", 0.05)
    async with serving(silent) as server:
        problem_of(await site.get(await site.link(server.url())), 503, "provider-unavailable")
        await server.gone(1)


async def test_a_stop_cuts_a_download_within_the_grace_period(site: Site) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(200, b"some", length=LARGE))
        await peer.leave()

    async with serving(script) as server, site.reader(await site.link(server.url())) as reader:
        assert await asyncio.get_running_loop().sock_recv(reader, 4) == b"HTTP"
        shutdown = site.fixture.services.core.shutdown
        shutdown.hurry(20)
        assert site.under_way == 1
        site.fixture.clock.pass_(seconds=20)
        assert (await to_the_end(reader)).endswith(b"some")
        await server.gone(1)
