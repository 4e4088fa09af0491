"""Tests of HTTP/1.1 requests as bytes: exactly the given request is sent, or nothing is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.egress.client import HttpCall
from receiver.egress.request_bytes import BadRequest, request_bytes
from tests.receiver.raw_server import BOUNDED, OK, Peer, calling, serving


def test_a_request_byte_for_byte() -> None:
    headers = [("User-Agent", "us"), ("b", "1"), ("A", ""), ("b", "\t2 \xff")]
    assert request_bytes("POST", "/a%2Fb?c=%00", "h:8080", headers, b"\x00body") == (
        b"POST /a%2Fb?c=%00 HTTP/1.1\r\nhost: h:8080\r\naccept-encoding: identity\r\nUser-Agent: us\r\n"
        b"b: 1\r\nA: \r\nb: \t2 \xff\r\ncontent-length: 5\r\n\r\n\x00body"
    )


LENGTHS = [
    ("GET", b"", None),
    ("HEAD", b"", None),
    ("POST", b"", b"0"),
    ("PUT", b"", b"0"),
    ("DELETE", b"", b"0"),
    ("POST", b"abc", b"3"),
    ("GET", b"abc", b"3"),
]


@pytest.mark.parametrize(("method", "body", "length"), LENGTHS)
def test_the_length_is_told_wherever_a_body_may_be(method: str, body: bytes, length: bytes | None) -> None:
    head = request_bytes(method, "/", "h", [], body).partition(b"\r\n\r\n")[0]
    told = [line for line in head.split(b"\r\n") if line.startswith(b"content-length")]
    assert told == ([] if length is None else [b"content-length: " + length])


ODD = ["/", "/a%2Fb/%2e%2E/../c//./d", "/?", "/?a=%00&b=/../?", "/%zz;x=1/~(*)'!$,@:|{}^`\"<>"]


@pytest.mark.parametrize("path", ODD)
async def test_a_request_goes_over_the_wire_byte_for_byte(path: str) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(OK)

    headers = [("Z-First", "1"), ("a-second", "\xe4 "), ("Z-First", "3")]
    async with serving(script) as server, calling() as gateway:
        await gateway.call(HttpCall(method="PUT", url=server.url(path), headers=headers))
    assert seen == [
        f"PUT {path} HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\naccept-encoding: identity\r\n"
        "user-agent: ringback\r\nZ-First: 1\r\na-second: \xe4 \r\nZ-First: 3\r\n"
        "content-length: 0\r\n\r\n".encode("latin-1")
    ]


CONTROLS = [chr(code) for code in (*range(32), 0x7F)]
BAD_NAMES = [
    "",
    " ",
    "a b",
    "a:",
    ":a",
    "a\xa0",
    "\u017f",
    "a\u212a",
    "a/b",
    "a(b)",
    "a,b",
    'a"',
    "a\\",
    "{a}",
]
BAD_VALUES = ["\u0100", "\u2028", "\ud800", "\U0001f600", "ok\r\nx: y", "ok\n x", "\r", "ok\x00"]
BAD_TARGETS = ["", "a", "*", "http://h/", " /", "/ ", "/a b", "/\xe4", "/\u0660", "/a\r\nx: y", "/\ud800"]


@pytest.mark.parametrize("name", [*BAD_NAMES, *(f"a{control}b" for control in CONTROLS)], ids=ascii)
def test_bad_header_names_are_refused(name: str) -> None:
    with pytest.raises(BadRequest):
        request_bytes("POST", "/", "h", [("good", "good"), (name, "v")], b"")


@pytest.mark.parametrize("value", [*BAD_VALUES, *(f"a{one}b" for one in CONTROLS if one != "\t")], ids=ascii)
def test_bad_header_values_are_refused(value: str) -> None:
    with pytest.raises(BadRequest):
        request_bytes("POST", "/", "h", [("good", "good"), ("n", value)], b"")


@pytest.mark.parametrize("target", [*BAD_TARGETS, *(f"/a{control}" for control in CONTROLS)], ids=ascii)
def test_bad_targets_are_refused(target: str) -> None:
    with pytest.raises(BadRequest):
        request_bytes("POST", target, "h", [], b"")


@pytest.mark.parametrize(
    "method", ["", "GET /x HTTP/1.1\r\nx: y\r\n\r\nGET", "GET\x00", "P ST", "\u20ac"], ids=ascii
)
def test_bad_methods_are_refused(method: str) -> None:
    with pytest.raises(BadRequest):
        request_bytes(method, "/", "h", [], b"")


@BOUNDED
@given(st.text(), st.text(), st.text())
def test_a_request_has_the_lines_that_were_asked_for_or_is_refused(
    target: str, name: str, value: str
) -> None:
    try:
        data = request_bytes("PUT", "/" + target, "h", [(name, value)], b"\r\n\r\n")
    except BadRequest:
        return
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.count(b"\n") == head.count(b"\r\n") == 4
    assert (body, b"\x00" in head) == (b"\r\n\r\n", False)
