"""Request heads on raw sockets: an offer to upgrade is ignored, and an ambiguous head is refused."""

import json
from collections.abc import AsyncIterator

import pytest

from receiver.api.request_head import MOST_MORE, problem_with, seconds_more, without_upgrade
from tests.receiver.front_door import CHUNKS, HEAD, WHOLE, App, Front, serving
from tests.receiver.raw_server import cut

OFFERS = {
    "h2c": b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAB\r\n",
    "websocket": b"upgrade: websocket\r\nconnection: keep-alive, Upgrade\r\nsec-websocket-version: 13\r\n",
    "something else": b"Connection: UPGRADE\r\nUpgrade: TLS/1.0, IRC/6.9\r\n",
    "two offers": b"connection: upgrade\r\nupgrade: h2c\r\nupgrade: websocket\r\n",
}
FRAMINGS = {
    "a length": b"content-length: 5\r\n\r\nhello",
    "chunks": b"transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    "a wish to go on": b"expect: 100-continue\r\ncontent-length: 5\r\n\r\nhello",
}
LAST = WHOLE.replace(b"host: h", b"host: h\r\nconnection: close")
REFUSED = {
    "a whole address": b"POST http://h/a HTTP/1.1\r\nhost: h\r\n",
    "another host's address": b"POST http://other.example/a HTTP/1.1\r\nhost: h\r\n",
    "a fragment": b"POST /a#b HTTP/1.1\r\nhost: h\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nhost: h\r\n",
    "a proxy's method": b"CONNECT h:443 HTTP/1.1\r\nhost: h\r\n",
    "a proxy's method on a path": b"CONNECT /a HTTP/1.1\r\nhost: h\r\n",
    "no host": b"POST /a HTTP/1.1\r\n",
    "two hosts": b"POST /a HTTP/1.1\r\nhost: h\r\nHost: i\r\n",
    "the same host twice": b"POST /a HTTP/1.1\r\nhost: h\r\nHost: h\r\n",
    "two hosts in an older request": b"POST /a HTTP/1.0\r\nhost: h\r\nhost: i\r\n",
    "a host that is none": b"POST /a HTTP/1.1\r\nhost: h/b\r\n",
    "a host with a user": b"POST /a HTTP/1.1\r\nhost: me@h\r\n",
    "two hosts in one": b"POST /a HTTP/1.1\r\nhost: h, i j\r\n",
    "HTTP/0.9": b"POST /a HTTP/0.9\r\nhost: h\r\n",
    "HTTP/1.2": b"POST /a HTTP/1.2\r\nhost: h\r\n",
    "HTTP/2.0": b"POST /a HTTP/2.0\r\nhost: h\r\n",
    "HTTP/1.10": b"POST /a HTTP/1.10\r\nhost: h\r\n",
}


@pytest.fixture(params=["long", "short"])
async def front(request: pytest.FixtureRequest) -> AsyncIterator[Front]:
    """Yield a server that takes plain requests through ASGI or on the fast path."""
    async with serving(App(), way=request.param) as made:
        yield made


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
async def test_an_offer_to_upgrade_costs_no_body(front: Front, offer: bytes, framing: bytes) -> None:
    answer = await front.said(HEAD + offer + framing + CHUNKS + HEAD + offer + framing + LAST)
    assert answer.count(b"HTTP/1.1 200 ") == 4
    assert front.app.bodies == [b"hello"] * 4


@pytest.mark.parametrize("places", [range(0, 400, 1), range(0, 400, 7), [100, 101, 102, 103], [135, 139]])
async def test_an_offer_is_ignored_however_it_is_cut(front: Front, places: range | list[int]) -> None:
    request = HEAD + OFFERS["h2c"] + FRAMINGS["a length"] + LAST
    async with front.caller() as caller:
        for piece in cut(request, places):
            caller.writer.write(piece)
            await caller.writer.drain()
        answer = await caller.to_the_end(b"")
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert front.app.bodies == [b"hello"] * 2


async def test_many_offers_at_once_are_all_answered(front: Front) -> None:
    answer = await front.said((HEAD + OFFERS["h2c"] + FRAMINGS["a length"]) * 200 + LAST)
    assert answer.count(b"HTTP/1.1 200 ") == 201
    assert front.app.bodies == [b"hello"] * 201


@pytest.mark.parametrize("offer", [b"", OFFERS["h2c"]], ids=["plain", "with an offer"])
@pytest.mark.parametrize("head", REFUSED.values(), ids=REFUSED)
async def test_an_ambiguous_head_is_refused(front: Front, head: bytes, offer: bytes) -> None:
    answer = await front.said(head + offer + b"content-length: 5\r\n\r\nhello" + LAST)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"x-request-id") == 1
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "malformed"
    assert front.app.bodies == []


async def test_an_older_request_needs_no_host(front: Front) -> None:
    answer = await front.said(b"POST /a HTTP/1.0\r\ncontent-length: 5\r\n\r\nhello")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert front.app.bodies == [b"hello"]


@pytest.mark.parametrize("host", ["", "h", "a_b.example:8080", "[::1]", "[::1]:80", "127.0.0.1:1", "a.b."])
def test_a_host_as_people_have_them_passes(host: str) -> None:
    assert problem_with(b"/a?b=c", "1.1", [host.encode()]) is None


def test_a_head_without_its_offer_is_otherwise_the_same() -> None:
    headers = [(b"host", b"h"), (b"connection", b"upgrade"), (b"upgrade", b"h2c"), (b"x", b"\xff y")]
    found = without_upgrade(b"POST", b"/a?b", "1.1", headers)
    assert found == b"POST /a?b HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nx: \xff y\r\n\r\n"


@pytest.mark.parametrize("request_", [WHOLE, CHUNKS, HEAD.replace(b"POST", b"GET") + b"\r\n"])
async def test_whoever_ends_its_side_gets_its_answers(front: Front, request_: bytes) -> None:
    async with front.caller() as caller:
        caller.writer.write(request_ * 3)
        caller.writer.write_eof()
        answer = await caller.to_the_end(b"")
    assert answer.count(b"HTTP/1.1 200 ") == 3
    assert b"connection: close" in answer
    assert len(front.app.bodies) == 3


@pytest.mark.parametrize("rest", [b"", HEAD, HEAD + b"content-length: 5\r\n\r\nhel"])
async def test_whoever_ends_its_side_within_a_request_is_let_go(front: Front, rest: bytes) -> None:
    async with front.caller() as caller:
        assert await caller.ask(WHOLE) == b"hello"
        caller.writer.write(rest)
        caller.writer.write_eof()
        assert await caller.to_the_end(b"") == b""
    assert front.app.bodies == [b"hello"]


@pytest.mark.parametrize(
    ("declared", "seconds"),
    [
        (None, 0.0),
        (b"0", 0.0),
        (b"524288", 0.5),
        (b"1048576", 1.0),
        (b"9" * 15, MOST_MORE),
        (b"9" * 16, 0.0),
        (b"-1", 0.0),
    ],
)
def test_a_body_gets_a_second_for_every_mib_within_a_bound(declared: bytes | None, seconds: float) -> None:
    headers = [(b"host", b"h")] + ([] if declared is None else [(b"content-length", declared)])
    assert seconds_more(headers) == seconds
