"""The short way in: a plain request that is small and whole is answered in one write, with no ASGI between.

Most callbacks are such. What uvicorn and ASGI do around one, for bodies that stream and answers that grow,
took two thirds as long as reading and proving it. Whatever is unusual goes the long way, answered alike.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

Headers: TypeAlias = list[tuple[bytes, bytes]]
RawResponse: TypeAlias = tuple[int, Headers, bytes]
RawHandler: TypeAlias = Callable[[Scope, bytes], Awaitable[RawResponse]]
"""Answers a request for which only method, path and headers of the scope are told; it does not raise."""

WHOLE = 64 * 1024
"""Bytes of a body that is taken at once; beyond them a connection has to wait for its reader."""
UNUSUAL = frozenset({b"content-encoding", b"transfer-encoding", b"expect", b"upgrade"})


class _NullEvent:
    """Who waits for a part of a plain request."""

    def set(self) -> None:
        """A part of it came."""


class BufferedRequest:
    """A request on the short way, in the place where uvicorn keeps what goes the long way."""

    __slots__ = ("body", "disconnected", "keep_alive", "more_body", "response_complete")
    message_event = _NullEvent()

    def __init__(self) -> None:
        self.body = bytearray()
        self.more_body = True
        self.keep_alive = True
        self.disconnected = self.response_complete = False


def is_plain(url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a request says what it is without a query, an escape or a header that asks for more."""
    if not url.isascii() or b"%" in url or b"?" in url or b"#" in url:
        return False
    length = None
    for name, value in headers:
        if name == b"content-length":
            length = value
        elif name in UNUSUAL:
            return False
    return length is not None and length.isdigit() and len(length) < 6 and int(length) <= WHOLE


def response(answered: RawResponse, *, keep_alive: bool) -> bytes:
    """An answer, byte for byte."""
    status, headers, body = answered
    lines = [b"%b: %b\r\n" % header for header in headers]
    if not keep_alive:
        lines.append(b"connection: close\r\n")
    return b"%b%b\r\n%b" % (STATUS_LINE[status], b"".join(lines), body)
