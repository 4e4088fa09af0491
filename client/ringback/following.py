"""The flow of a follower: read the feed from a place on, for ever, and keep the place behind each event."""

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ringback.calls import events
from ringback.core import Pause, Reply, Step, passes
from ringback.errors import PlaceLost
from ringback.events import Event
from ringback.retrying import Failure, Retry, result
from ringback.waiting import QUICK

LOGGER = logging.getLogger("ringback")
OnLost: TypeAlias = Literal["raise", "oldest"] | Callable[[PlaceLost], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Following:
    """The choices of a follower.

    `after` is where it begins while no place is kept; None: at the oldest event. `wait` is the number of
    seconds for which a call waits for an event. With `on_lost` "oldest", or a function that is called with
    the error, it goes on at the oldest event when retention removed its place.
    """

    type: str | None = None
    job: str | None = None
    after: str | None = None
    wait: float = 30.0
    page_size: int = 100
    on_lost: OnLost = "raise"


@dataclass(frozen=True, slots=True)
class Load:
    """A step: reply with the place that is kept."""


@dataclass(frozen=True, slots=True)
class Save:
    """A step: keep a place."""

    place: str


FeedStep: TypeAlias = Step | Load | Save | Event
FeedReply: TypeAlias = Reply | str
FeedSteps: TypeAlias = Generator[FeedStep, FeedReply, None]


def follow(chosen: Following, retry: Retry) -> FeedSteps:
    """Yield every event, and the steps in between. The place is kept once an event was taken.

    Raises `PlaceLost`, or an error that does not pass.
    """
    kept = yield Load()
    place = kept if isinstance(kept, str) else chosen.after
    bad = 0
    while True:
        asked = retry.clock()
        call = events.page(
            after=place, type=chosen.type, job=chosen.job, wait=chosen.wait, limit=chosen.page_size
        )
        found = result(call, _replied((yield call)))
        if isinstance(found, Failure):
            # Without a place there is none to give up: that service has no beginning either.
            if isinstance(found.error, PlaceLost) and place is not None:
                _lost(found.error, chosen.on_lost)
                place = None
                continue
            if not passes(found.error):
                raise found.error
            bad += 1
            yield Pause(retry.pause(bad, found.after))
            continue
        place = yield from _taken(found, place)
        # With a filter, a page may be empty while there is more: the next is read at once.
        idle = not found.items and not found.has_more
        bad = bad + 1 if idle and retry.clock() - asked < min(chosen.wait, QUICK) else 0
        if bad:
            yield Pause(retry.pause(bad))


def _replied(reply: FeedReply) -> Reply:
    assert not isinstance(reply, str)  # noqa: S101  # only `Load` is replied to with a text
    return reply


def _taken(page: events.FeedPage, place: str | None) -> Generator[FeedStep, FeedReply, str]:
    """Hand out the events of a page, and keep the place behind each. Returns the place behind the page."""
    for event in page.items[:-1]:
        yield event
        yield Save(event.id)
    yield from page.items[-1:]
    # Behind the last event lie perhaps more that do not fit: the page's own place is further on.
    if page.next_cursor != place:
        yield Save(page.next_cursor)
    return page.next_cursor


def _lost(error: PlaceLost, on_lost: OnLost) -> None:
    if on_lost == "raise":
        raise error
    if callable(on_lost):
        on_lost(error)
    else:
        LOGGER.warning("the place in the feed was removed; going on at the oldest event: %s", error)
