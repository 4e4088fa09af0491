"""Server-sent events over HTTP, as plain ASGI: the feed, and the events of one job."""

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from receiver.api.api_keys import Caller
from receiver.api.callers import identify
from receiver.api.events import check_type, read_place
from receiver.api.guard import NOSNIFF, RequestContext
from receiver.api.jobs import job_id_of
from receiver.api.requests import StreamQuery
from receiver.api.transfers import left, transfer_of
from receiver.domain.errors import Forbidden, StoreUnavailable, Unauthorized, invalid, no_such
from receiver.domain.event_types import JOB_FINAL
from receiver.feed.reader import FeedReader, Place
from receiver.feed.selection import Selection
from receiver.store import events
from receiver.store.job_states import state_of

HEADERS: Mapping[str, str] = {
    **NOSNIFF,
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # nginx passes on each piece at once
    "referrer-policy": "no-referrer",  # the URL may hold a token
}
CHECKED = 1.0
"""The seconds for which the caller of a stream needs no new look, as a key's removal takes for all calls."""
LAST = "last-event-id"
"""The header by which a client names the last event that it has."""


class EventStream(Response):
    """A response that sends the chunks of a reader of the feed until one of the two sides ends.

    It ends as well once its caller may not read any more: the key, the session or the token is over.
    """

    media_type = "text/event-stream"

    def __init__(self, reader: FeedReader, allowed: Callable[[], Awaitable[Caller]]) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._reader = reader
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream. A store that is away ends it: the client returns with its position."""
        transfer = transfer_of(scope)
        transfer.under_way = True
        self._checked = asyncio.get_running_loop().time()
        self._reader.cut = transfer.cut if transfer.offered else None
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            leaving = asyncio.create_task(self._leave(receive))
            try:
                with contextlib.suppress(StoreUnavailable):
                    async for chunk in self._reader.chunks():
                        if not await self._may_read():
                            break
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
            finally:
                leaving.cancel()
        await send({"type": "http.response.body", "body": b""})

    async def _may_read(self) -> bool:
        """Return whether the caller may still read. It is looked up anew, at most every `CHECKED` seconds."""
        now = asyncio.get_running_loop().time()
        if now - self._checked < CHECKED:
            return True
        self._checked = now
        try:
            await self._allowed()
        except (Unauthorized, Forbidden):
            return False
        except StoreUnavailable:
            pass
        return True

    async def _leave(self, receive: Receive) -> None:
        await left(receive)
        self._reader.leave()


async def feed(context: RequestContext) -> Response:
    """Stream events from now on, after a place, or after the last one that the client has."""
    query: StreamQuery = context.query
    check_type(query.type)
    context.services.feed.check_room(context.caller.id)
    place, first = await _last_event(context), None
    if place is None:
        place = await read_place(context, query.after, "after")
    if place is None:
        end = await context.services.store.read(events.end())
        place, first = end.seq, end.id or context.services.feed.places.text(end.seq)
    return EventStream(
        FeedReader(
            context.services.feed,
            context.services.store,
            Selection(type=query.type),
            place,
            owner=context.caller.id,
            first=first,
            every=query.every,
        ),
        functools.partial(identify, context.services, context.request, "events:read"),
    )


async def job(context: RequestContext) -> Response:
    """Stream the events of a job from its first one, or from the last one that the client has.

    Nothing is left to a client that has the last event of a final job: 204 keeps a browser from returning.
    """
    services, job_id = context.services, job_id_of(context)
    services.feed.check_room(context.caller.id)
    state = await services.store.read(state_of(job_id))
    if state is None:
        raise no_such("job")
    place = await _last_event(context)
    if place is not None and state.final:
        page = await services.store.read(events.feed(place, (), (), job_id, 1))
        if not (page.events or page.lost):
            return Response(status_code=204, headers=HEADERS)
    return EventStream(
        FeedReader(
            services.feed,
            services.store,
            Selection(job_id=job_id),
            place,
            owner=context.caller.id,
            until=() if state.final else JOB_FINAL,
            once=state.final,
        ),
        functools.partial(identify, services, context.request, "jobs:read", by_token=True),
    )


async def _last_event(context: RequestContext) -> Place:
    given = context.request.headers.getlist(LAST)
    if len(given) > 1:
        raise invalid(LAST, "give it once", place="header")
    # An empty one is a client that has no event yet.
    return await read_place(context, given[0] or None if given else None, LAST, "header")
