"""Server-sent events as bytes (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from collections.abc import Iterator, Sequence

from handlers import json
from receiver.domain.model import Event

RETRY = 2000
"""Milliseconds after which a client that lost its connection returns."""
CHUNK = 64 * 1024
"""Bytes of a chunk: small events are sent together."""
SEPARATORS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))
HEARTBEAT = b": \n\n"
"""A comment: it shows client and proxies that the connection lives."""


def opening(last: str | None) -> bytes:
    """Return the beginning of a stream. `last` is the id at which a client without any event continues."""
    place = b"" if last is None else b"id: %b\n" % last.encode()
    return b"retry: %d\n%b\n" % (RETRY, place)


def public(event: Event) -> bytes:
    """Return an event as JSON on one line, as the feed lists it."""
    # The stored body is JSON without line breaks, which escapes those in texts. Many clients end a line at
    # other separators, too; they stand in texts only, so their escapes mean the same.
    body = bytes(event.body)[1:]
    for raw, escaped in SEPARATORS:
        if raw in body:
            body = body.replace(raw, escaped)
    return b'{"object":"event",' + body


def position(place: str) -> bytes:
    """Return a block without data that moves the client's position."""
    return b"id: %b\n\n" % place.encode()


def packed(frames: Sequence[bytes]) -> Iterator[bytes]:
    """Yield frames in chunks of about `CHUNK` bytes; a larger frame is a chunk of its own."""
    some: list[bytes] = []
    size = 0
    for one in frames:
        if some and size + len(one) > CHUNK:
            yield b"".join(some)
            some, size = [], 0
        some.append(one)
        size += len(one)
    if some:
        yield b"".join(some)


def frame(event: Event) -> bytes:
    """Return the frame of an event."""
    return b"id: %b\ndata: %b\n\n" % (event.id.encode(), public(event))


def gap(place: str, oldest: str | None) -> bytes:
    """Return the frame that reports lost events: those up to `place`. `oldest` is the first that is left."""
    # The id becomes the client's position, so that it learns of the same gap once.
    return b"event: gap\nid: %b\ndata: %b\n\n" % (place.encode(), json.write({"oldest": oldest}))
