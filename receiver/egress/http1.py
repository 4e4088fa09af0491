"""HTTP/1.1 as bytes: one connection, one exchange at a time, on `httptools`.

A request is sent exactly as given. An answer is capped, or its body goes into a stream; anything the parser
refuses is `Unparsable`. No redirects, no cookies, no decompression, no environment. Where the head decides
(deliveries), a head that strict HTTP refuses is read leniently, and nothing that follows a head undoes it.
"""

import asyncio
import math
import select
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httptools

from receiver.bodies.parts import Parts
from receiver.egress.body_stream import IDLE_SECONDS, BodyStream
from receiver.egress.lenient_head import Head, NoHead, read_head

HEAD_LIMIT = 32 * 1024
"""The most bytes of an answer's header names and values."""
INTERIM_LIMIT = 16
"""The most interim heads (1xx) before the final one."""
OVERHEAD = 8
"""Bytes of framing that a byte of body may cost; chunks of one byte cost six."""
BODY_SECONDS = 1.0
"""Seconds that the rest of a body gets where the head decides."""
PIECE = 128 * 1024
"""Bytes of a request body in parts that are written at once."""
AT_ONCE = 16 * 1024
"""Bytes of a request that the system accepts at once; for more, it is tracked whether all are sent."""


class Broken(Exception):
    """The error for a connection that ended before its answer was whole, if `fresh` before any byte of it."""

    def __init__(self, fresh: bool) -> None:
        super().__init__("the connection broke")
        self.fresh = fresh


class Unparsable(Exception):
    """The error for an answer that is not readable as HTTP."""


@dataclass(slots=True)
class Answer:
    """An answer, with header names in lower case.

    `cut` means that the body is not whole: it went over the cap, or broke where the head decides.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    cut: bool = False

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None."""
        return next((value for key, value in self.headers if key == name), None)


class Connection(asyncio.Protocol):
    """A connection that is `reusable` for a further exchange until anything goes wrong."""

    __slots__ = (
        "_body",
        "_bodyless",
        "_cap",
        "_ends",
        "_future",
        "_going",
        "_head",
        "_head_decides",
        "_headers",
        "_interim",
        "_left",
        "_lenient",
        "_loop",
        "_lost",
        "_more",
        "_parser",
        "_paused",
        "_poll",
        "_raw",
        "_seen",
        "_stream",
        "_timer",
        "_wakes",
        "answering",
        "heard",
        "idle_since",
        "reusable",
        "transport",
    )

    def __init__(self, lost: Callable[[], None] | None = None) -> None:
        """Create a connection. `lost` is called once, when it has ended."""
        self.transport: asyncio.Transport | None = None
        self._lost = lost
        self._paused = False
        self._more: Iterator[bytes | memoryview] | None = None
        self._left = 0
        self._going = False
        self.reusable = True
        self.idle_since = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._future: asyncio.Future[Answer] | None = None
        self.heard = False
        self._loop = asyncio.get_running_loop()
        self._ends = self._wakes = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._poll: select.poll | None = None
        self._stream: BodyStream | None = None

    def ask(
        self,
        data: bytes,
        cap: int,
        *,
        more: Parts | None = None,
        bodyless: bool = False,
        head_decides: bool = False,
        ends: float = math.inf,
        stream: BodyStream | None = None,
    ) -> asyncio.Future[Answer]:
        """Write a request. Returns a future of the answer, `Broken`, `Unparsable` or `TimeoutError`.

        The bytes of `more` are written after `data`, piece by piece, as fast as the peer reads them. `ends`
        is a moment of the loop's clock. A `bodyless` answer (to HEAD) ends with its head, whatever length it
        declares. Where the `head_decides`, it is read leniently and nothing after it is an error. With a
        `stream`, the answer is its head, and the body goes into the stream, which then has its own deadline.
        """
        self._future = future = self._loop.create_future()
        self._arm(ends)
        self._cap, self._bodyless, self._head_decides, self._stream = cap, bodyless, head_decides, stream
        self._expect_head()
        if self.transport is None or self.transport.is_closing():
            self._fail(Broken(fresh=True))
            return future
        if len(data) > AT_ONCE or more is not None:
            # Not 0: an empty TLS buffer has reached that already, so writing would pause and never resume.
            self.transport.set_write_buffer_limits(high=1, low=0)
        self.transport.write(data)
        if more is not None:
            self._more, self._left = more.pieces(PIECE), len(more)
            self._go_on()
        return future

    def _expect_head(self) -> None:
        """Forget the answer before, and expect the head of the next one."""
        self._headers: list[tuple[str, str]] = []
        self._body = bytearray()
        self._head = self._raw = self._interim = 0
        self.heard = self.answering = False
        self._seen = b""
        self._lenient: Head | None = None

    @property
    def silent(self) -> bool:
        """Return whether the connection is open and no byte has come on it while idle."""
        if self.transport is None or self.transport.is_closing():
            return False
        # Bytes that wait unread in the socket would be taken for the beginning of the next answer.
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not self._poll.poll(0)

    @property
    def unwritten(self) -> bool:
        """Return whether a part of the request is not sent, so that it cannot have been accepted whole."""
        if self._paused or self._left:
            return True
        return self.transport is not None and self.transport.get_write_buffer_size() > 0

    def forget(self) -> None:
        """Drop the answer, which has been returned: an idle connection is kept for long."""
        self._body, self._headers = bytearray(), []

    def close(self) -> None:
        """Close the connection at once."""
        if self._timer is not None:
            self._timer.cancel()
        self.reusable, self._more = False, None
        if self.transport is not None:
            self.transport.abort()
        self._leave()

    def resume_reading(self) -> None:
        """Read on, after the stream of the body was full."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()
            self._arm(self._loop.time() + IDLE_SECONDS)

    # Callbacks of the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # create_connection makes a full one

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._go_on()

    def data_received(self, data: bytes) -> None:
        if self._future is None:
            self.close()
            return
        self.heard = True
        self._raw += len(data)
        if self._head_decides and not self.answering:
            self._seen += data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._end(Unparsable())
        except httptools.HttpParserError:
            self._misread()
        # Also bounds bytes that reach neither headers nor body, such as chunk extensions.
        arrived = len(self._body) if self._stream is None else self._stream.arrived
        if self._raw > HEAD_LIMIT + (1 + OVERHEAD) * arrived:
            self._end(Unparsable())
        if self._stream is not None and self.answering and self._future is not None:
            self._pace(self._stream)
        if self.answering and self._head_decides and self._future is not None:
            # The head has decided, so the rest of the body may change nothing but the use of the connection.
            # It gets a short time. Why: receiver/README.md#the-head-decides-a-delivery
            self._arm(min(self._ends, self._loop.time() + BODY_SECONDS))

    def _pace(self, stream: BodyStream) -> None:
        """Read no more while the stream is full; until the next bytes, set the deadline for them."""
        if stream.full and self.transport is not None:
            self.transport.pause_reading()
            self._arm(math.inf)
        else:
            self._arm(self._loop.time() + IDLE_SECONDS)

    def eof_received(self) -> None:
        self.reusable = False
        if self._future is None or not self.answering:
            return
        lengths = {name for name, _ in self._headers}
        if "content-length" not in lengths and "transfer-encoding" not in lengths:
            self._finish(cut=False)

    def connection_lost(self, _error: Exception | None) -> None:
        self._end(Broken(fresh=not self.heard))
        self._leave()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.transport = None
        # The parser refers to this object: the cycle would keep both until the garbage collector runs.
        del self._parser

    def _go_on(self) -> None:
        """Write a further piece in a turn of its own, so that the loop does other work in between."""
        if self._more is not None and not self._paused and not self._going:
            self._going = True
            self._loop.call_soon(self._write_more)

    def _write_more(self) -> None:
        self._going = False
        if self._more is None or self.transport is None:
            return
        piece = next(self._more)
        self._left -= len(piece)
        if not self._left:
            self._more = None
        self.transport.write(piece)
        self._go_on()

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        if self._future is None:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head += len(name) + len(value)
        if self._head > HEAD_LIMIT:
            raise Unparsable
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")))

    def on_headers_complete(self) -> None:
        self.answering = self._parser.get_status_code() >= 200
        if self._lenient is not None:
            self._headers = list(self._lenient.headers)
        # The parser now waits for the body that was declared, so it cannot read another answer.
        if self.answering and self._bodyless:
            self.reusable = False
            self._finish(cut=False)
        elif self.answering and self._stream is not None:
            self._tell(self._future, cut=False)

    def on_body(self, data: bytes) -> None:
        if self._stream is not None:
            self._stream.feed(data)
            return
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

    def _misread(self) -> None:
        """Handle a refused head: where the head decides, it is read leniently once it is whole."""
        if not self._head_decides or self.answering or self._lenient is not None:
            self._end(Unparsable())
            return
        self.reusable = False
        try:
            self._lenient = read_head(self._seen)
        except NoHead:
            self._end(Unparsable())
            return
        if self._lenient is not None:
            self._headers.clear()
            self._parser = httptools.HttpResponseParser(self)
            rest = self._seen[self._lenient.end :]
            try:
                self._parser.feed_data(self._lenient.strictly() + rest)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade):
                self._end(Unparsable())

    def _arm(self, ends: float) -> None:
        """Set the deadline of the exchange to `ends`."""
        # A timer of an earlier exchange is left running and sets itself again when it fires, so a connection
        # in steady use makes no timer for each call.
        self._ends = ends
        if ends < self._wakes:
            if self._timer is not None:
                self._timer.cancel()
            self._wakes, self._timer = ends, self._loop.call_at(ends, self._ring)

    def _ring(self) -> None:
        """End the exchange if its deadline has passed, otherwise set the timer again."""
        self._wakes, self._timer = math.inf, None
        if self._future is None:
            return
        if self._loop.time() < self._ends:
            self._arm(self._ends)
            return
        self._end(TimeoutError())

    def _end(self, error: Exception) -> None:
        """End the exchange with an error, or with its answer where the head decides and has come."""
        self.reusable = False
        if self._future is not None and self.answering and self._head_decides:
            self._finish(cut=True)
        else:
            self._fail(error)

    def _finish(self, *, cut: bool) -> None:
        future, self._future = self._future, None
        # The peer still waits for the rest of this request, and would take the next request for it.
        if self._paused or self._left:
            self.reusable, self._more = False, None
        self._tell(future, cut=cut)
        if self._stream is not None:
            self._stream.end(whole=True)
        if not self.reusable and self.transport is not None:
            self.transport.close()

    def _tell(self, future: asyncio.Future[Answer] | None, *, cut: bool) -> None:
        """Give the caller its answer, without a body where that goes into a stream."""
        if future is not None and not future.done():
            status = self._parser.get_status_code()
            future.set_result(Answer(status, tuple(self._headers), bytes(self._body), cut))

    def _fail(self, error: Exception) -> None:
        future, self._future = self._future, None
        if future is not None and not future.done():
            future.set_exception(error)
        if self._stream is not None:
            self._stream.end(whole=False)
        self.close()

    def _leave(self) -> None:
        """Call `lost`, once, when the connection has ended."""
        lost, self._lost = self._lost, None
        if lost is not None:
            lost()
