"""Endpoints, deliveries, keys and providers over HTTP."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from starlette.responses import Response

from receiver.api.guard import NO_STORE, RequestContext, answer
from receiver.api.jobs import page
from receiver.api.requests import DeliveryQuery, EndpointPatch, EndpointRequest, KeyRequest
from receiver.domain.errors import Conflict, FieldError, Invalid, invalid, no_such
from receiver.domain.event_types import JOB_FINAL
from receiver.domain.model import Endpoint, EndpointState
from receiver.domain.rendering import stamp, when
from receiver.egress.address_guard import BadUrl
from receiver.events.endpoint_cache import UNREADABLE
from receiver.observability import redact
from receiver.security.custom_headers import header_problems
from receiver.security.signing import new_secret
from receiver.security.tokens import hash_api_key, is_id, new_api_key
from receiver.store import deliveries, jobs
from receiver.store import endpoints as table
from receiver.store.attempts import Attempt
from receiver.store.deliveries import StoredDelivery
from receiver.store.endpoints import ApiKey
from receiver.store.holds import hold_of
from receiver.store.statements import from_ms, moment, ms

LOGGER = logging.getLogger("ringback.endpoints")
MASK = "***"
DEFAULTS: Mapping[str, Any] = {
    "events": JOB_FINAL,
    "description": "",
    "max_in_flight": 64,
    "include": (),
}


def endpoint_answer(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint as it is told."""
    return {
        "object": "endpoint",
        "id": endpoint.id,
        "url": endpoint.url,
        "events": list(endpoint.events),
        "description": endpoint.description,
        "headers": dict.fromkeys(endpoint.headers, MASK),
        "max_in_flight": endpoint.max_in_flight,
        "include": list(endpoint.include),
        "state": endpoint.state.value,
        "disabled_reason": endpoint.disabled_reason,
        "from_file": endpoint.from_file,
        "created_at": stamp(endpoint.created_at),
        "updated_at": stamp(endpoint.updated_at),
    }


def _check_url(asked: RequestContext, url: str) -> None:
    try:
        asked.services.gateway.check(url)
    except BadUrl as error:
        raise invalid("/url", str(error)) from None


def _check_headers(headers: Mapping[str, str | None]) -> None:
    problems = [FieldError("body", f"/headers/{name}", name, why) for name, why in header_problems(headers)]
    if problems:
        raise Invalid("a header cannot be sent", errors=problems)


async def _endpoint(asked: RequestContext) -> Endpoint:
    row = await asked.services.store.read(table.get(asked.path["id"]))
    if row is None:
        raise no_such("endpoint")
    return asked.services.endpoints.open(row)


async def create(asked: RequestContext) -> Response:
    """Create an endpoint; its secret is in this answer and at `/secret` only."""
    body: EndpointRequest = asked.body
    _check_url(asked, body.url)
    _check_mask(None, body.headers)
    _check_headers(body.headers)
    services = asked.services
    now = services.clock.now()
    endpoint = Endpoint(
        id=services.ids.new("ep"),
        url=body.url,
        events=tuple(body.events),
        created_at=now,
        updated_at=now,
        description=body.description,
        headers=body.headers,
        include=tuple(body.include),
        max_in_flight=body.max_in_flight,
        secrets=(body.secret or new_secret(services.clock.entropy(32)),),
    )
    await services.save(endpoint)
    if any(one.url == endpoint.url and one.id != endpoint.id for one in services.endpoints.all()):
        LOGGER.warning(
            "endpoint %s has the URL of another endpoint: it gets events of both",
            endpoint.id,
            extra={"endpoint": endpoint.id},
        )
    told = endpoint_answer(endpoint) | {"secret": endpoint.secrets[0]}
    return answer(told, 201, {"location": f"/v1/endpoints/{endpoint.id}", **NO_STORE})


async def listed(asked: RequestContext) -> Response:
    """List endpoints, newest first."""
    services, cursor, limit = asked.services, asked.query.cursor, asked.query.limit
    behind = None
    if cursor is not None:
        made = await services.store.read(table.made_at(cursor))
        if made is None:
            raise _foreign_cursor()
        behind = (made, cursor)
    found = await services.store.read(table.page(behind, limit + 1))
    return page([endpoint_answer(services.endpoints.open(row)) for row in found], limit)


def _foreign_cursor() -> Invalid:
    return invalid("cursor", "is not a cursor of this list", place="query")


async def show(asked: RequestContext) -> Response:
    """Show an endpoint."""
    return answer(endpoint_answer(await _endpoint(asked)))


async def secret(asked: RequestContext) -> Response:
    """Show the secret that signs for an endpoint."""
    endpoint = await _endpoint(asked)
    if not endpoint.secrets:
        raise Conflict(f"it cannot be told: {UNREADABLE}")
    return answer({"secret": endpoint.secrets[0]}, headers=NO_STORE)


async def change(asked: RequestContext) -> Response:
    """Change an endpoint (RFC 7396): null takes a field back to its default."""
    endpoint = await _endpoint(asked)
    _only_ours(endpoint)
    body: EndpointPatch = asked.body
    given = {name: getattr(body, name) for name in body.model_fields_set}
    if "url" in given:
        _check_url(asked, given["url"])
    _check_mask(endpoint, given.get("headers"))
    _check_headers(_merged(endpoint, given.get("headers", {})))
    now = asked.services.clock.now()
    changed = await asked.services.alter(endpoint.id, lambda fresh: _changed(fresh, given, now))
    if changed is None:
        raise no_such("endpoint")
    return answer(endpoint_answer(changed))


def _changed(endpoint: Endpoint, given: Mapping[str, Any], now: datetime) -> Endpoint:
    """The endpoint with what was given; null is a field's default."""
    fields: dict[str, Any] = {"updated_at": now}
    for name, value in given.items():
        if name == "headers":
            merged = _merged(endpoint, value)
            fields[name] = {one: text for one, text in merged.items() if text is not None}
        else:
            chosen = DEFAULTS.get(name) if value is None else value
            fields[name] = tuple(chosen) if isinstance(chosen, list) else chosen
    return replace(endpoint, **fields)


def _merged(endpoint: Endpoint, headers: Mapping[str, str | None] | None) -> dict[str, str | None]:
    """Return the headers as given; a value as it is masked in answers leaves the stored one."""
    if headers is None:
        return {}
    names = {name.lower(): name for name in endpoint.headers}
    merged: dict[str, str | None] = dict(endpoint.headers)
    for name, value in headers.items():
        known = names.get(name.lower())
        if value == MASK and known is not None:
            continue
        if known is not None:
            del merged[known]
        merged[name] = value
    return merged


def _check_mask(endpoint: Endpoint | None, headers: Mapping[str, str | None] | None) -> None:
    known = {name.lower() for name in endpoint.headers} if endpoint else set()
    for name, value in (headers or {}).items():
        if value == MASK and name.lower() not in known:
            raise invalid(f"/headers/{name}", f"is {MASK}, as answers mask values; give the value itself")


def _only_ours(endpoint: Endpoint) -> None:
    if endpoint.from_file:
        raise Conflict("this endpoint is kept in the configuration file; change it there")


async def remove(asked: RequestContext) -> Response:
    """Delete an endpoint and cancel its pending deliveries."""
    endpoint = await _endpoint(asked)
    _only_ours(endpoint)
    now = asked.services.clock.now()
    await asked.services.store.write(lambda: table.remove(endpoint.id, now))
    await asked.services.refresh()
    return Response(status_code=204)


async def resume(asked: RequestContext) -> Response:
    """Resume a paused or disabled endpoint; the deliveries that it collected go out."""
    endpoint = await _endpoint(asked)
    now = asked.services.clock.now()
    await asked.services.store.write(lambda: table.set_state(endpoint.id, "active", None, now))
    await asked.services.refresh()
    asked.services.lanes.end_hold(endpoint.id)
    asked.services.wake_deliveries()
    resumed = replace(endpoint, state=EndpointState.ACTIVE, disabled_reason=None, updated_at=now)
    return answer(endpoint_answer(resumed))


async def test(asked: RequestContext) -> Response:
    """Send `endpoint.test` to an endpoint now, and show the attempt."""
    endpoint = await _endpoint(asked)
    if not endpoint.secrets:
        raise Conflict(f"nothing can be signed for this endpoint: {UNREADABLE}")
    attempt = await asked.services.testing.send(endpoint)
    return answer(attempt_answer(attempt))


def attempt_answer(attempt: Attempt) -> dict[str, Any]:
    """An attempt as it is told."""
    return {
        "object": "attempt",
        "id": attempt.id,
        "delivery": attempt.delivery_id,
        "at": stamp(attempt.at),
        "status": attempt.status,
        "latency_ms": attempt.latency_ms,
        "error": attempt.error,
        "answer": redact(bytes(attempt.answer).decode("utf-8", "replace")),
    }


def delivery_answer(seen: StoredDelivery) -> dict[str, Any]:
    """A delivery as it is told."""
    return {
        "object": "delivery",
        "id": seen.id,
        "event": seen.event_id,
        "type": seen.event_type,
        "endpoint": seen.endpoint_id,
        "url": seen.url,
        "job": seen.job_id,
        "state": seen.state,
        "attempts_made": seen.tries,
        "reason": seen.reason,
        "last_status": seen.status,
        "last_error": seen.error,
        "created_at": stamp(seen.created_at),
        "updated_at": stamp(seen.updated_at),
        "next_attempt_at": when(seen.next_at),
    }


async def deliveries_listed(asked: RequestContext) -> Response:
    """List deliveries, newest first."""
    query: DeliveryQuery = asked.query
    if query.cursor is not None and not is_id("dlv", query.cursor):
        raise _foreign_cursor()
    wanted = deliveries.DeliveryFilter(
        query.endpoint, query.state, query.event, query.job, query.cursor, query.limit + 1
    )
    listed = await asked.services.store.read(deliveries.search(wanted))
    return page([delivery_answer(one) for one in listed.found], query.limit, listed.place)


async def _delivery(asked: RequestContext) -> tuple[StoredDelivery, list[Attempt]]:
    found = await asked.services.store.read(deliveries.get(asked.path["id"]))
    if found is None:
        raise no_such("delivery")
    return found


async def delivery_shown(asked: RequestContext) -> Response:
    """Show a delivery with its attempts."""
    seen, attempts = await _delivery(asked)
    return answer(delivery_answer(seen) | {"attempts": [attempt_answer(one) for one in attempts]})


async def delivery_retried(asked: RequestContext) -> Response:
    """Retry a delivery now, whatever its state."""
    seen, _ = await _delivery(asked)
    services, now = asked.services, asked.services.clock.now()
    lane = seen.endpoint_id or services.meaning.lane_of_url(seen.url or "")
    held = hold_of(lane, seen.url)
    if not await services.store.write(lambda: deliveries.retry(seen.id, lane, now, held)):
        raise Conflict("the endpoint was deleted")
    services.lanes.end_hold(held)
    services.wake_deliveries()
    seen, _ = await _delivery(asked)
    return answer(delivery_answer(seen), 202)


async def delivery_canceled(asked: RequestContext) -> Response:
    """Cancel a pending delivery."""
    seen, _ = await _delivery(asked)
    if seen.state not in {"pending", "canceled"}:
        raise Conflict(f"the delivery is already {seen.state}")
    now = asked.services.clock.now()
    await asked.services.store.write(lambda: deliveries.cancel([seen.id], "canceled by hand", now))
    seen, _ = await _delivery(asked)
    return answer(delivery_answer(seen))


def key_answer(key: ApiKey) -> dict[str, Any]:
    """A key as it is told."""
    return {
        "object": "key",
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "created_at": stamp(moment(key.created_at)),
        "expires_at": when(from_ms(key.expires_at)),
    }


async def key_created(asked: RequestContext) -> Response:
    """Create an API key; it is shown in this answer only."""
    body: KeyRequest = asked.body
    services = asked.services
    now = services.clock.now()
    if body.expires_at is not None and body.expires_at <= now:
        raise invalid("/expires_at", "lies in the past")
    text = new_api_key(services.clock.entropy(32))
    key = ApiKey(
        services.ids.new("key"),
        body.name,
        hash_api_key(text),
        tuple(dict.fromkeys(body.scopes)),
        ms(now),
        ms(body.expires_at) if body.expires_at else None,
    )
    await services.store.write(lambda: table.add_key(key))
    services.keyring.forget()
    headers = {"location": f"/v1/keys/{key.id}", **NO_STORE}
    return answer(key_answer(key) | {"key": text}, 201, headers)


async def keys_listed(asked: RequestContext) -> Response:
    """List API keys, newest first."""
    found = await asked.services.store.read(table.keys())
    cursor, limit = asked.query.cursor, asked.query.limit
    if cursor is not None and not is_id("key", cursor):
        raise _foreign_cursor()
    behind = [key for key in found if cursor is None or key.id < cursor]
    return page([key_answer(key) for key in behind[: limit + 1]], limit)


async def key_removed(asked: RequestContext) -> Response:
    """Revoke an API key."""
    key_id = asked.path["id"]
    if not await asked.services.store.write(lambda: table.remove_key(key_id)):
        raise no_such("key")
    asked.services.keyring.forget()
    return Response(status_code=204)


async def providers_listed(asked: RequestContext) -> Response:
    """List the configured accounts: operations, health, blocked or not."""
    services = asked.services
    since = services.clock.now() - timedelta(hours=1)
    took = await services.store.read(jobs.durations(since))
    counted = await services.tally.totals()
    names, cursor, limit = list(services.accounts.setups), asked.query.cursor, asked.query.limit
    if cursor is not None and cursor not in names:
        raise _foreign_cursor()
    behind = names[names.index(cursor) + 1 :] if cursor is not None else names
    told = [
        services.providers.view(name, took.get(name, []), counted.get(name, Counter()))
        for name in behind[:limit]
    ]
    return answer({"data": told, "next_cursor": behind[limit - 1] if len(behind) > limit else None})
