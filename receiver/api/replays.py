"""Replays over HTTP."""

from typing import Any

from starlette.responses import Response

from receiver.api.guard import RequestContext, answer
from receiver.api.paging import foreign_cursor, page
from receiver.api.requests import ReplayRequest
from receiver.domain.errors import invalid
from receiver.domain.rendering import stamp, when
from receiver.security.ids import is_id
from receiver.store.replays import Replay, ReplayProgress, Which

NEWEST = "rpl_g"
"""A bound above every replay's id: ids go on with hexadecimal digits."""
NOTHING = ReplayProgress(pending=0, delivered=0, failed=0, canceled=0)


def replay_json(replay: Replay, progress: ReplayProgress, *, dry_run: bool = False) -> dict[str, Any]:
    """Return a replay as JSON. A dry run has neither an id nor deliveries."""
    return {
        "object": "replay",
        "id": None if dry_run else replay.id,
        "endpoint": replay.endpoint_id,
        "state": "dry-run" if dry_run else replay.state.value,
        "only": replay.which.value,
        "since": when(replay.since),
        "until": when(replay.until),
        "events": None if replay.events is None else list(replay.events),
        "total": replay.total,
        "made": replay.made,
        "pending": progress.pending,
        "delivered": progress.delivered,
        "failed": progress.failed,
        "canceled": progress.canceled,
        "created_at": stamp(replay.created_at),
        "ended_at": when(replay.ended_at),
    }


async def create(context: RequestContext) -> Response:
    """Deliver old events to an endpoint again. A dry run only counts them."""
    body: ReplayRequest = context.body
    services = context.services
    endpoint = await services.endpoints.get(context.path["id"])
    if body.since is not None and body.until is not None and body.since >= body.until:
        raise invalid("/until", "must be after `since`")
    planned = await services.replays.plan(endpoint, Which(body.only), body.since, body.until, body.events)
    if body.dry_run:
        return answer(replay_json(planned, NOTHING, dry_run=True))
    await services.replays.start(planned)
    return answer(replay_json(planned, NOTHING), 202, {"location": f"/v1/replays/{planned.id}"})


async def list_(context: RequestContext) -> Response:
    """List replays, newest first."""
    cursor, limit = context.query.cursor, context.query.limit
    if cursor is not None and not is_id("rpl", cursor):
        raise foreign_cursor()
    found = await context.services.replays.page(cursor or NEWEST, limit + 1, context.query.endpoint)
    return page([replay_json(*one) for one in found], limit)


async def show(context: RequestContext) -> Response:
    """Show a replay and its progress."""
    return answer(replay_json(*await context.services.replays.get(context.path["id"])))


async def cancel(context: RequestContext) -> Response:
    """Cancel a replay and its pending deliveries."""
    return answer(replay_json(*await context.services.replays.cancel(context.path["id"])))
