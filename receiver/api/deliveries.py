"""Deliveries over HTTP."""

from typing import Any

from starlette.responses import Response

from receiver.api.guard import RequestContext, answer
from receiver.api.paging import foreign_cursor, page
from receiver.api.requests import DeliveryQuery
from receiver.domain.rendering import stamp, when
from receiver.observability import redact
from receiver.security.ids import is_id
from receiver.store.attempts import Attempt
from receiver.store.deliveries import DeliveryFilter, StoredDelivery


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """Return an attempt as JSON."""
    return {
        "object": "attempt",
        "id": attempt.id,
        "delivery": attempt.delivery_id,
        "at": stamp(attempt.at),
        "status": attempt.status,
        "latency_ms": attempt.latency_ms,
        "error": attempt.error,
        # An endpoint may echo what it was sent, such as a key in a custom header.
        "answer": redact(bytes(attempt.answer).decode("utf-8", "replace")),
    }


def delivery_json(delivery: StoredDelivery) -> dict[str, Any]:
    """Return a delivery as JSON."""
    return {
        "object": "delivery",
        "id": delivery.id,
        "event": delivery.event_id,
        "type": delivery.event_type,
        "endpoint": delivery.endpoint_id,
        "url": delivery.url,
        "job": delivery.job_id,
        "state": delivery.state,
        "attempts_made": delivery.tries,
        "reason": delivery.reason,
        "last_status": delivery.status,
        "last_error": delivery.error,
        "created_at": stamp(delivery.created_at),
        "updated_at": stamp(delivery.updated_at),
        "next_attempt_at": when(delivery.next_at),
    }


async def list_(context: RequestContext) -> Response:
    """List deliveries, newest first."""
    query: DeliveryQuery = context.query
    if query.cursor is not None and not is_id("dlv", query.cursor):
        raise foreign_cursor()
    wanted = DeliveryFilter(
        endpoint=query.endpoint,
        state=query.state,
        event=query.event,
        job=query.job,
        before=query.cursor,
        limit=query.limit + 1,
    )
    listed = await context.services.deliveries.search(wanted)
    return page([delivery_json(one) for one in listed.found], query.limit, listed.place)


async def show(context: RequestContext) -> Response:
    """Show a delivery with its attempts."""
    delivery, attempts = await context.services.deliveries.get(context.path["id"])
    return answer(delivery_json(delivery) | {"attempts": [attempt_json(one) for one in attempts]})


async def retry(context: RequestContext) -> Response:
    """Retry a delivery now, in any state."""
    return answer(delivery_json(await context.services.deliveries.retry(context.path["id"])), 202)


async def cancel(context: RequestContext) -> Response:
    """Cancel a pending delivery."""
    return answer(delivery_json(await context.services.deliveries.cancel(context.path["id"])))
