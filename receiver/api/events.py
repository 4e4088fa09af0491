"""The event feed over HTTP."""

from datetime import datetime

from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from handlers import json
from receiver.api.callers import identify
from receiver.api.guard import NOSNIFF, RequestContext
from receiver.api.paging import rendered
from receiver.api.requests import FeedQuery, When
from receiver.domain.errors import Gone, invalid, no_such
from receiver.domain.event_types import complaint, is_pattern
from receiver.feed.frames import public
from receiver.feed.places import ForeignPlace
from receiver.feed.reader import Place
from receiver.feed.selection import Selection
from receiver.security.ids import is_id
from receiver.store import events

LOOKS = 20
"""Most pages after the first that a call reads while no event fits. Then it returns the place it reached."""
WHEN: TypeAdapter[datetime] = TypeAdapter(When)
"""The reader of a moment."""
LOST = (
    "this place is not in the feed any more: retention removed it, or the database was restored from before "
    "it; start again without `after`"
)


async def feed(context: RequestContext) -> Response:
    """List events, oldest first. With `wait`, respond once there is an event or the time is up.

    Raises `Gone` when retention removed the place at which to continue.
    """
    query: FeedQuery = context.query
    name = "cursor" if query.after is None else "after"
    place = await read_place(context, query.cursor if query.after is None else query.after, name)
    check_type(query.type)
    page = await _page(context, place, query)
    page = await _sought(context, page, query)
    if query.wait and _is_empty(page) and not page.more:
        page = await _next(context, page, query)
        # Meanwhile the caller's key may have been removed.
        await identify(context.services, context.request, "events:read")
    if page.lost:
        extra = {"oldest": page.oldest} if page.oldest else {}
        raise Gone(LOST, extra=extra)
    return await rendered(
        page.events, public, next_cursor=context.services.feed.places.text(page.after), has_more=page.more
    )


def _is_empty(page: events.Page) -> bool:
    return not (page.events or page.lost)


async def _sought(context: RequestContext, page: events.Page, query: FeedQuery) -> events.Page:
    """Return the first page that is not empty, or the last one that a call may read."""
    # The place advances past events that do not fit. Why: receiver/README.md#the-feed-says-how-far-it-looked
    for _ in range(LOOKS):
        if not _is_empty(page) or not page.more:
            break
        page = await _page(context, page.after, query)
    return page


async def _next(context: RequestContext, page: events.Page, query: FeedQuery) -> events.Page:
    """Return the next page that is not empty, or an empty one when `query.wait` seconds are over."""
    clock, waiting_calls = context.services.clock, context.services.waiting_calls
    ends = clock.monotonic() + query.wait
    with waiting_calls.waiting(None, context.caller.id) as waiter:
        # Read once more after registering: an event recorded just before wakes no waiter.
        page = await _page(context, page.after, query)
        while _is_empty(page) and not waiting_calls.closed and (left := ends - clock.monotonic()) > 0:
            if not page.more:
                await waiter.news(left)
            async with waiting_calls.turn:
                page = await _page(context, page.after, query)
    return page


async def read_place(context: RequestContext, given: str | None, name: str, where: str = "query") -> Place:
    """Return the position in the feed that a client names. Raises `Invalid` with the `name` of the field.

    A moment is the position before the first event from that moment on.
    """
    if given is None or is_id("evt", given):
        return given
    try:
        known = context.services.feed.places.read(given)
    except ForeignPlace:
        detail = "is a place in the feed of another deployment; begin without it, or at a moment"
        raise invalid(name, detail, place=where) from None
    if known is not None:
        return known
    try:
        moment = WHEN.validate_python(given)
    except ValidationError:
        detail = "must be an event's id, the next_cursor of an earlier answer, or a moment with its offset"
        raise invalid(name, detail, place=where) from None
    return await context.services.store.read(events.since(moment))


def check_type(pattern: str | None) -> None:
    """Raise `Invalid` for a pattern that matches no event type."""
    if pattern is not None and not is_pattern(pattern):
        raise invalid("type", complaint(pattern), place="query")


async def _page(context: RequestContext, place: Place, query: FeedQuery) -> events.Page:
    of = Selection(type=query.type, job_id=query.job)
    return await context.services.store.read(
        events.feed(place, of.types, of.prefixes, query.job, query.limit)
    )


async def show(context: RequestContext) -> Response:
    """Show an event and, for each endpoint, its delivery status and the reason."""
    found = await context.services.store.read(events.get(context.path["id"], context.services.clock.now()))
    if found is None:
        raise no_such("event")
    event, places = found
    deliveries = [
        {
            "endpoint": place.endpoint_id,
            "delivery": place.delivery_id,
            "status": place.status,
            "reason": place.reason,
        }
        for place in places
    ]
    body = b'%b,"deliveries":%b}' % (public(event)[:-1], json.write(deliveries))
    return Response(body, 200, NOSNIFF, "application/json")
