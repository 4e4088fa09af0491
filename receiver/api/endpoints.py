"""Endpoints over HTTP."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from starlette.responses import Response

from handlers import json
from receiver.api.deliveries import attempt_json
from receiver.api.guard import NO_STORE, RequestContext, answer
from receiver.api.paging import foreign_cursor, page
from receiver.api.requests import (
    MOST_HEADERS,
    EndpointPatch,
    EndpointRequest,
    ExplanationRequest,
    RotationRequest,
)
from receiver.api.services import Services
from receiver.delivery.handshake import NotAllowed
from receiver.domain import subscriptions
from receiver.domain.endpoint_health import breaker
from receiver.domain.errors import Conflict, FieldError, Invalid, invalid, pointer_to
from receiver.domain.event_types import JOB_FINAL, unknown_source
from receiver.domain.filter_reader import BadFilter, checked_filter
from receiver.domain.filters import Filter
from receiver.domain.formats import TEMPLATE
from receiver.domain.model import MAX_IN_FLIGHT, STANDARD, SYMMETRIC, Endpoint, EndpointState
from receiver.domain.rendering import stamp, when
from receiver.domain.templates import BadTemplate, check
from receiver.egress.address_guard import BadUrl
from receiver.security.custom_headers import header_problems
from receiver.security.signing import new_secret
from receiver.store import events

LOGGER = logging.getLogger("ringback.endpoints")
MASK = "***"
"""The text shown for the value of a header. Sent back in a change, it keeps the stored value."""
DEFAULTS: Mapping[str, Any] = {
    "events": JOB_FINAL,
    "description": "",
    "max_in_flight": MAX_IN_FLIGHT,
    "include": (),
    "signatures": (SYMMETRIC,),
    "filter": None,
    "retry_schedule": None,
    "timeout": None,
    "rate_limit": None,
    "format": STANDARD,
    "template": None,
}
"""The defaults that a null in a change restores."""


def endpoint_json(endpoint: Endpoint) -> dict[str, Any]:
    """Return an endpoint as JSON, with the values of its headers masked."""
    return {
        "object": "endpoint",
        "id": endpoint.id,
        "url": endpoint.url,
        "events": list(endpoint.events),
        "description": endpoint.description,
        "headers": dict.fromkeys(endpoint.headers, MASK),
        "max_in_flight": endpoint.max_in_flight,
        "include": list(endpoint.include),
        "filter": None if endpoint.filter is None else json.read(endpoint.filter.text.encode()),
        "signatures": list(endpoint.signatures),
        "retry_schedule": None if endpoint.retry_schedule is None else list(endpoint.retry_schedule),
        "timeout": endpoint.timeout,
        "format": endpoint.format,
        "template": endpoint.template,
        "rate_limit": endpoint.rate_limit,
        "previous_secrets_until": [stamp(moment) for moment in endpoint.retire_at],
        "state": endpoint.state.value,
        "disabled_reason": endpoint.disabled_reason,
        "from_file": endpoint.from_file,
        "created_at": stamp(endpoint.created_at),
        "updated_at": stamp(endpoint.updated_at),
    }


def _check_url(context: RequestContext, url: str) -> None:
    try:
        context.services.endpoints.check_url(url)
    except BadUrl as error:
        raise invalid("/url", str(error)) from None


def _check_headers(headers: Mapping[str, str | None]) -> None:
    problems = [
        FieldError("body", pointer_to("headers", name), name, why) for name, why in header_problems(headers)
    ]
    if problems:
        raise Invalid("a header cannot be sent", errors=problems)


def _filter(value: Mapping[str, Any] | None, events: Sequence[str]) -> Filter | None:
    """Return a filter for an endpoint with these event types. Raises `Invalid`."""
    if value is None:
        return None
    try:
        return checked_filter(value, tuple(events))
    except BadFilter as error:
        raise Invalid(
            "the filter cannot be used",
            errors=[
                FieldError("body", pointer_to("filter", *one.keys), ("filter", *one.keys)[-1], one.detail)
                for one in error.problems
            ],
        ) from None


def _template(template: str | None, format_: str, events: Sequence[str]) -> str | None:
    """Return the template of an endpoint. Raises `Invalid` where the format or the events do not fit it."""
    if (format_ == TEMPLATE) != (template is not None):
        needed = "must be given with the format `template`"
        raise invalid("/template", needed if template is None else "goes with the format `template` only")
    if template is not None:
        try:
            check(template, tuple(events))
        except BadTemplate as error:
            raise invalid("/template", str(error)) from None
    return template


async def create(context: RequestContext) -> Response:
    """Create an endpoint. Only this response and `/secret` show its secret."""
    body: EndpointRequest = context.body
    _check_url(context, body.url)
    _check_mask(None, body.headers)
    _check_headers(body.headers)
    _check_sources(context, body.events)
    filter_ = _filter(body.filter, body.events)
    services = context.services
    template = _template(body.template, body.format, body.events)
    rate = (
        await _asked(services, body.url, body.headers, body.rate_limit) if body.handshake else body.rate_limit
    )
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
        filter=filter_,
        signatures=tuple(body.signatures),
        retry_schedule=None if body.retry_schedule is None else tuple(body.retry_schedule),
        timeout=body.timeout,
        rate_limit=rate,
        format=body.format,
        template=template,
        state=EndpointState(body.state),
    )
    await services.endpoints.create(endpoint)
    created = endpoint_json(endpoint) | {"secret": endpoint.secrets[0]}
    return answer(created, 201, {"location": f"/v1/endpoints/{endpoint.id}", **NO_STORE})


async def _asked(
    services: Services, url: str, headers: Mapping[str, str], rate_limit: float | None
) -> float | None:
    """Return the rate limit of a receiver that was asked: its own, unless a lower one is wanted.

    Raises `Invalid` where it does not want deliveries.
    """
    try:
        allowed = await services.endpoints.handshake.ask(url, headers)
    except NotAllowed as error:
        raise invalid("/url", str(error)) from None
    limits = [one for one in (allowed, rate_limit) if one is not None]
    return min(limits) if limits else None


def _check_sources(context: RequestContext, patterns: Sequence[str]) -> None:
    """Raise `Invalid` for a pattern that names a source that is not configured."""
    names = context.services.settings.source_names
    for number, pattern in enumerate(patterns):
        if (detail := unknown_source(pattern, names)) is not None:
            raise invalid(f"/events/{number}", detail)


async def list_(context: RequestContext) -> Response:
    """List endpoints, newest first."""
    cursor, limit = context.query.cursor, context.query.limit
    found = await context.services.endpoints.page(cursor, limit + 1)
    if found is None:
        raise foreign_cursor()
    return page([endpoint_json(endpoint) for endpoint in found], limit)


async def show(context: RequestContext) -> Response:
    """Show an endpoint, how it does, and the deliveries that it is owed."""
    services, endpoint_id = context.services, context.path["id"]
    endpoint = await services.endpoints.get(endpoint_id)
    health, held_until, owed = await services.endpoints.health(endpoint_id)
    last = {"at": when(health.last_at), "status": health.last_status, "error": health.last_error}
    held = held_until is not None and held_until > services.clock.now()
    more = {
        "failing_since": when(health.failing_since),
        "last_attempt": last if health.last_at is not None else None,
        "owed": owed.count,
        "oldest_owed_at": when(owed.oldest_at),
        "breaker": breaker(health, held=held).value,
    }
    return answer(endpoint_json(endpoint) | more)


async def secret(context: RequestContext) -> Response:
    """Show the secret that signs the deliveries to an endpoint."""
    return answer({"secret": await context.services.endpoints.secret(context.path["id"])}, headers=NO_STORE)


async def update(context: RequestContext) -> Response:
    """Change an endpoint by JSON merge patch (RFC 7396). A null resets a field to its default."""
    services = context.services
    endpoint = await services.endpoints.get(context.path["id"])
    _only_ours(endpoint)
    body: EndpointPatch = context.body
    # Only the fields in the request: RFC 7396 distinguishes a missing field from a null one.
    given = {name: getattr(body, name) for name in body.model_fields_set}
    if "url" in given:
        _check_url(context, given["url"])
    _check_sources(context, given.get("events") or ())
    asks = given.pop("handshake", None)
    wanted = _changed(endpoint, given, now := services.clock.now())
    if asks:
        given["rate_limit"] = await _asked(services, wanted.url, wanted.headers, wanted.rate_limit)
    # Again in the transaction, with the endpoint as that finds it, so that concurrent changes are kept.
    changed = await services.endpoints.update(endpoint.id, lambda fresh: _changed(fresh, given, now))
    return answer(endpoint_json(changed))


def _changed(endpoint: Endpoint, given: Mapping[str, Any], now: datetime) -> Endpoint:
    """Return the endpoint with the given fields changed. A null stands for the default of its field.

    Raises `Invalid` for headers that cannot be sent, for a mask that stands for no value, and for a filter
    that does not fit the event types.
    """
    fields: dict[str, Any] = {"updated_at": now}
    for name, value in given.items():
        if name == "headers":
            fields[name] = _new_headers(endpoint, value)
        else:
            chosen = DEFAULTS.get(name) if value is None else value
            fields[name] = tuple(chosen) if isinstance(chosen, list) else chosen
    if not {"filter", "events"}.isdisjoint(given):
        stored = None if endpoint.filter is None else json.read_object(endpoint.filter.text.encode())
        fields["filter"] = _filter(given.get("filter", stored), fields.get("events", endpoint.events))
    changed = replace(endpoint, **fields)
    if not {"template", "format", "events"}.isdisjoint(given):
        _template(changed.template, changed.format, changed.events)
    return changed


def _new_headers(endpoint: Endpoint, given: Mapping[str, str | None] | None) -> dict[str, str]:
    """Return the headers of an endpoint after a change. Raises `Invalid`."""
    _check_mask(endpoint, given)
    # A mask stands for the stored value, so a new value may stand beside it under another case of its name.
    _check_headers({name: value for name, value in (given or {}).items() if value != MASK})
    merged = {name: text for name, text in _merged(endpoint, given).items() if text is not None}
    if len(merged) > MOST_HEADERS:
        raise invalid("/headers", f"must have at most {MOST_HEADERS} entries, the stored ones included")
    return merged


def _merged(endpoint: Endpoint, headers: Mapping[str, str | None] | None) -> dict[str, str | None]:
    """Return the stored headers with the given ones merged in; names are compared regardless of case.

    A masked value keeps the stored one. A null stays in the result, for the caller to remove. With `headers`
    None the result is empty.
    """
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
            raise invalid(
                pointer_to("headers", name), f"is {MASK}, as answers mask values; give the value itself"
            )


def _only_ours(endpoint: Endpoint) -> None:
    if endpoint.from_file:
        raise Conflict("this endpoint is kept in the configuration file; change it there")


async def delete(context: RequestContext) -> Response:
    """Delete an endpoint and cancel its pending deliveries."""
    endpoint = await context.services.endpoints.get(context.path["id"])
    _only_ours(endpoint)
    await context.services.endpoints.delete(endpoint.id)
    return Response(status_code=204)


async def resume(context: RequestContext) -> Response:
    """Resume a paused or disabled endpoint. Its pending deliveries are sent."""
    return answer(endpoint_json(await context.services.endpoints.resume(context.path["id"])))


async def pause(context: RequestContext) -> Response:
    """Pause an endpoint. Its deliveries wait until it is resumed."""
    return answer(endpoint_json(await context.services.endpoints.pause(context.path["id"])))


async def rotate_secret(context: RequestContext) -> Response:
    """Give an endpoint a new secret. The present one signs as well until the overlap ends."""
    body: RotationRequest = context.body
    services = context.services
    _only_ours(await services.endpoints.get(context.path["id"]))
    secret = body.secret or new_secret(services.clock.entropy(32))
    changed = await services.endpoints.rotate_secret(
        context.path["id"], secret, timedelta(seconds=body.overlap_seconds)
    )
    return answer(endpoint_json(changed) | {"secret": changed.secrets[0]}, headers=NO_STORE)


async def explain(context: RequestContext) -> Response:
    """Explain whether an endpoint takes an event, and which clause of its filter decides it."""
    body: ExplanationRequest = context.body
    endpoint = await context.services.endpoints.get(context.path["id"])
    event_type, data = body.type, body.data
    if (body.event is None) == (event_type is None and data is None):
        raise invalid("", "give either `event`, or `type` and `data`")
    if body.event is not None:
        found = await context.services.store.read(events.one(body.event))
        if found is None:
            raise invalid("/event", "is the id of no event; retention may have removed it")
        event_type, data = found.type, json.read_object(bytes(found.body))["data"]
    for name, value in (("type", event_type), ("data", data)):
        if value is None:
            raise invalid(f"/{name}", "must be given, too")
    because = subscriptions.explain(
        endpoint.events, endpoint.filter, event_type or "", data or {}, endpoint.id
    )
    clause = pointer_to(*because.keys) if because.keys else None
    return answer({"matches": because.matches, "because": because.reason, "clause": clause})


async def test(context: RequestContext) -> Response:
    """Send an `endpoint.test` event to an endpoint now and show the attempt."""
    return answer(attempt_json(await context.services.endpoints.ping(context.path["id"])))
