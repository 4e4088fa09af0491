"""HTTP/1.1 as bytes: one connection, one exchange at a time, on `httptools`.

What leaves is exactly what is asked for; what comes back is capped, and anything the parser refuses is
`Unparsable`. No redirects, no cookies, no decompression, no environment.
"""

import asyncio
import functools
import math
import re
import select
from collections.abc import Sequence
from dataclasses import dataclass, field

import httptools

HEAD_LIMIT = 32 * 1024
INTERIM_LIMIT = 16
OVERHEAD = 8
"""Bytes of framing that a byte of body may cost: chunks of one byte cost six."""
_METHOD = re.compile(r"[A-Z]{1,16}", re.ASCII)
_TOKENS = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]*", re.ASCII)
_VALUES = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(r"/[!-~]*", re.ASCII)


class BadRequest(ValueError):
    """The request cannot be written as HTTP: a name, a value or a target has characters it must not have."""


class Broken(Exception):
    """The connection ended before the answer was whole; `fresh` tells that not a byte of it had come."""

    def __init__(self, fresh: bool) -> None:
        super().__init__("the connection broke")
        self.fresh = fresh


class Unparsable(Exception):
    """What came is no HTTP answer that we read."""


@dataclass(slots=True)
class Answer:
    """An answer: header names in lower case. `cut` tells that the body went over the cap."""

    status: int
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    cut: bool = False

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for key, value in self.headers if key == name), None)


def request_bytes(
    method: str, target: str, host: str, headers: Sequence[tuple[str, str]], body: bytes
) -> bytes:
    """A request, byte for byte, or `BadRequest` before anything is written."""
    head = _head(method, target, host)
    names, values = [name for name, _ in headers], [value for _, value in headers]
    if "" in names or not _TOKENS.fullmatch("".join(names)) or not _VALUES.fullmatch("".join(values)):
        raise BadRequest("a header holds characters that HTTP does not allow")
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers])
    length = f"content-length: {len(body)}\r\n" if body or method not in {"GET", "HEAD"} else ""
    return f"{head}{fields}{length}\r\n".encode("latin-1") + body


@functools.lru_cache(maxsize=1024)
def _head(method: str, target: str, host: str) -> str:
    if not _METHOD.fullmatch(method):
        raise BadRequest("the method must be capital letters")
    if not _TARGET.fullmatch(target):
        raise BadRequest("the path holds blanks, control or non-ASCII characters")
    return f"{method} {target} HTTP/1.1\r\nhost: {host}\r\naccept-encoding: identity\r\n"


class Connection(asyncio.Protocol):
    """One connection, `reusable` for a further exchange until anything goes wrong."""

    __slots__ = (
        "_answering",
        "_body",
        "_bodyless",
        "_cap",
        "_ends",
        "_future",
        "_head",
        "_headers",
        "_interim",
        "_loop",
        "_parser",
        "_poll",
        "_raw",
        "_started",
        "_timer",
        "_wakes",
        "idle_since",
        "reusable",
        "transport",
    )

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.reusable = True
        self.idle_since = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._future: asyncio.Future[Answer] | None = None
        self._started = False
        self._loop = asyncio.get_running_loop()
        self._ends = self._wakes = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._poll: select.poll | None = None

    def ask(
        self, data: bytes, cap: int, *, bodyless: bool = False, ends: float = math.inf
    ) -> asyncio.Future[Answer]:
        """Write a request; the future tells the answer, `Broken`, `Unparsable`, or `TimeoutError`.

        `ends` is a moment of the loop's clock. A `bodyless` answer (to HEAD) ends with its head, whatever
        length it declares.
        """
        self._future = self._loop.create_future()
        self._arm(ends)
        self._headers: list[tuple[str, str]] = []
        self._body = bytearray()
        self._cap = cap
        self._head = self._raw = self._interim = 0
        self._bodyless = bodyless
        self._started = self._answering = False
        future = self._future
        if self.transport is None or self.transport.is_closing():
            self._fail(Broken(fresh=True))
        else:
            self.transport.write(data)
        return future

    @property
    def silent(self) -> bool:
        """Whether the connection is open and nothing has come on it that nobody asked for."""
        if self.transport is None or self.transport.is_closing():
            return False
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not self._poll.poll(0)

    @property
    def unwritten(self) -> bool:
        """Whether the other side has not taken the whole request yet."""
        return self.transport is not None and self.transport.get_write_buffer_size() > 0

    def close(self) -> None:
        """End the connection at once."""
        if self._timer is not None:
            self._timer.cancel()
        self.reusable = False
        if self.transport is not None:
            self.transport.abort()

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # create_connection makes a full one

    def data_received(self, data: bytes) -> None:
        if self._future is None:
            self.close()
            return
        self._started = True
        self._raw += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(Unparsable())
        if self._raw > HEAD_LIMIT + (1 + OVERHEAD) * len(self._body):
            self._fail(Unparsable())

    def eof_received(self) -> None:
        self.reusable = False
        if self._future is None or not self._answering:
            return
        lengths = {name for name, _ in self._headers}
        if "content-length" not in lengths and "transfer-encoding" not in lengths:
            self._finish(cut=False)

    def connection_lost(self, _error: Exception | None) -> None:
        self.reusable = False
        self._fail(Broken(fresh=not self._started))

    # What the parser says.

    def on_message_begin(self) -> None:
        if self._future is None:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head += len(name) + len(value)
        if self._head > HEAD_LIMIT:
            raise Unparsable
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")))

    def on_headers_complete(self) -> None:
        self._answering = self._parser.get_status_code() >= 200
        if self._answering and self._bodyless:
            self.reusable = False
            self._finish(cut=False)

    def on_body(self, data: bytes) -> None:
        room = self._cap - len(self._body)
        self._body += data[:room]
        if len(data) > room and self._future is not None:
            self._finish(cut=True)
            self.close()

    def on_message_complete(self) -> None:
        if self._future is None:
            return
        if self._parser.get_status_code() < 200:
            self._interim += 1
            self._headers.clear()
            if self._interim > INTERIM_LIMIT:
                raise Unparsable
            return
        if not self._parser.should_keep_alive():
            self.reusable = False
        self._finish(cut=False)

    def _arm(self, ends: float) -> None:
        """Have the exchange end by `ends`; the timer of an earlier one serves and looks again."""
        self._ends = ends
        if ends < self._wakes:
            if self._timer is not None:
                self._timer.cancel()
            self._wakes, self._timer = ends, self._loop.call_at(ends, self._ring)

    def _ring(self) -> None:
        """Tell that the time is over; whoever asked looks at how far it came and closes."""
        self._wakes, self._timer = math.inf, None
        if self._future is None:
            return
        if self._loop.time() < self._ends:
            self._arm(self._ends)
            return
        future, self._future = self._future, None
        if not future.done():
            future.set_exception(TimeoutError())

    def _finish(self, *, cut: bool) -> None:
        future, self._future = self._future, None
        if future is not None and not future.done():
            status = self._parser.get_status_code()
            future.set_result(Answer(status, tuple(self._headers), bytes(self._body), cut))
        if not self.reusable and self.transport is not None:
            self.transport.close()

    def _fail(self, error: Exception) -> None:
        future, self._future = self._future, None
        if future is not None and not future.done():
            future.set_exception(error)
        self.close()
