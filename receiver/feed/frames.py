"""Server-sent events as bytes (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from handlers import json
from receiver.domain.model import Event

RETRY = 2000
"""Milliseconds after which a client that lost its connection returns."""
HEARTBEAT = b": \n\n"
"""A comment: it shows client and proxies that the connection lives."""


def opening(last: str | None) -> bytes:
    """Return the beginning of a stream. `last` is the id at which a client without any event continues."""
    place = b"" if last is None else b"id: %b\n" % last.encode()
    return b"retry: %d\n%b\n" % (RETRY, place)


def public(event: Event) -> bytes:
    """Return an event as JSON on one line, as the feed lists it."""
    # The stored body is JSON without line breaks, which escapes those in texts.
    return b'{"object":"event",' + bytes(event.body)[1:]


def frame(event: Event) -> bytes:
    """Return the frame of an event."""
    return b"id: %b\ndata: %b\n\n" % (event.id.encode(), public(event))


def gap(place: int, oldest: str | None) -> bytes:
    """Return the frame that reports lost events: those up to `place`. `oldest` is the first that is left."""
    # The id becomes the client's position, so that it learns of the same gap once.
    return b"event: gap\nid: %d\ndata: %b\n\n" % (place, json.write({"oldest": oldest}))
