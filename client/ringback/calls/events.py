"""Calls about events."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ringback.calls.common import PAGE_SIZE, get, read_page
from ringback.core import Call, path, query
from ringback.events import Event, read_event
from ringback.reading import Unreadable


@dataclass(frozen=True)
class FeedPage:
    """A page of the feed, oldest first. `next_cursor` is the place behind it; `has_more`: there is more."""

    items: tuple[Event, ...]
    next_cursor: str
    has_more: bool


def page(
    *,
    after: str | None = None,
    type: str | None = None,  # noqa: A002  # the API's word
    job: str | None = None,
    wait: float | None = None,
    limit: int = PAGE_SIZE,
) -> Call[FeedPage]:
    """Read a page of the feed behind a place: an event's id, or the `next_cursor` of an earlier page.

    With `wait`, answer once there is an event or after so many seconds, at most 60.
    """
    wanted = query(after=after, type=type, job=job, wait=wait, limit=limit)
    return replace(get("/v1/events", _feed_page, wanted, waits=wait or 0.0), feed=True)


def _feed_page(given: Any) -> FeedPage:
    events = read_page(read_event, given)
    assert isinstance(given, Mapping)  # noqa: S101  # `read_page` refuses anything else
    if events.next_cursor is None:
        raise Unreadable("next_cursor: is missing")
    return FeedPage(events.items, events.next_cursor, given.get("has_more") is True)


def show(event_id: str) -> Call[Event]:
    """Read an event with the reason why it went to each endpoint, or did not."""
    return get(path("events", event_id), read_event)
