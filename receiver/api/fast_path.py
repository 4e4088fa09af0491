"""The fast path: a plain, small, complete request is answered below ASGI, in one write.

Most callbacks are such requests. The work of uvicorn and ASGI around a callback, for streamed bodies and
responses, took two thirds of the time of reading and verifying it. Any other request takes the ASGI path,
with the same response.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

Headers: TypeAlias = list[tuple[bytes, bytes]]
RawResponse: TypeAlias = tuple[int, Headers, bytes]
RawHandler: TypeAlias = Callable[[Scope, bytes], Awaitable[RawResponse]]
"""A handler below ASGI. Its scope has the method, path and headers, but no query. It must not raise."""

WHOLE = 64 * 1024
"""Most bytes of a body on the fast path. Above them uvicorn pauses reading until the body is consumed."""
UNUSUAL = frozenset({b"content-encoding", b"transfer-encoding", b"expect", b"upgrade"})
"""Headers that need more than a plain response, or change the form of the body."""


class _NullEvent:
    """Null object for uvicorn's message event: nothing waits for a part of a buffered request."""

    def set(self) -> None:
        """Do nothing."""


class BufferedRequest:
    """A request on the fast path. It stands in for uvicorn's `RequestResponseCycle`, which it resembles."""

    __slots__ = ("body", "disconnected", "keep_alive", "more_body", "response_complete")
    message_event = _NullEvent()

    def __init__(self) -> None:
        self.body = bytearray()
        self.more_body = True
        self.keep_alive = True
        self.disconnected = self.response_complete = False


def is_plain(url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Return whether a request has a short declared body, no query, no escape and no unusual header."""
    # The fast path uses the target as the path, undecoded. Why: receiver/README.md#the-fast-path
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
    """Return the bytes of a response. Without `keep_alive` it announces the end of the connection."""
    status, headers, body = answered
    lines = [b"%b: %b\r\n" % header for header in headers]
    if not keep_alive:
        lines.append(b"connection: close\r\n")
    return b"%b%b\r\n%b" % (STATUS_LINE[status], b"".join(lines), body)
