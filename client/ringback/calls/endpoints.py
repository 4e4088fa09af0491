"""Calls about endpoints and replays."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict, Unpack

from ringback.calls.common import PAGE_SIZE, get, listing, nothing, reader, send
from ringback.core import Call, known, path, query, some
from ringback.values import (
    Attempt,
    Endpoint,
    EndpointSecret,
    EndpointWithHealth,
    Explanation,
    NewEndpoint,
    Page,
    Replay,
)


class EndpointFields(TypedDict, total=False):
    """The fields that a new endpoint and a change of one have in common."""

    events: Sequence[str] | None
    description: str | None
    max_in_flight: int | None
    include: Sequence[str] | None
    filter: Mapping[str, Any] | None
    signatures: Sequence[str] | None
    retry_schedule: Sequence[float] | None
    timeout: float | None
    rate_limit: float | None
    format: str | None
    template: str | None
    handshake: bool | None


class EndpointChanges(EndpointFields, total=False):
    """The fields of an endpoint that may change. None sets a field back to its default."""

    url: str
    headers: Mapping[str, str | None] | None


class EndpointOptions(EndpointFields, total=False):
    """The fields of a new endpoint. One that is None is left to the service."""

    headers: Mapping[str, str] | None
    secret: str | None
    state: str | None


def create(url: str, **options: Unpack[EndpointOptions]) -> Call[NewEndpoint]:
    """Create an endpoint. Returns it with its secret.

    The options are the fields of `EndpointOptions`: `events`, `filter`, `secret` and so on.
    """
    known(options, EndpointOptions)
    return send("POST", "/v1/endpoints", reader(NewEndpoint), some({"url": url, **options}))


def show(endpoint_id: str) -> Call[EndpointWithHealth]:
    """Read an endpoint, how it does, and the deliveries that it is owed."""
    return get(path("endpoints", endpoint_id), reader(EndpointWithHealth))


def pages(*, page_size: int = PAGE_SIZE) -> Call[Page[Endpoint]]:
    """List endpoints, newest first."""
    return listing("/v1/endpoints", reader(Endpoint), query(limit=page_size))


def update(endpoint_id: str, **changes: Unpack[EndpointChanges]) -> Call[Endpoint]:
    """Change fields of an endpoint, those of `EndpointChanges`. None resets a field. Returns the endpoint."""
    known(changes, EndpointChanges)
    # As it is: a None resets its field (RFC 7396), while a new endpoint has nothing to reset.
    return send("PATCH", path("endpoints", endpoint_id), reader(Endpoint), changes)


def delete(endpoint_id: str) -> Call[None]:
    """Delete an endpoint and cancel its pending deliveries."""
    return send("DELETE", path("endpoints", endpoint_id), nothing)


def secret(endpoint_id: str) -> Call[EndpointSecret]:
    """Read the secret that signs the deliveries to an endpoint."""
    return get(path("endpoints", endpoint_id, "secret"), reader(EndpointSecret))


def test(endpoint_id: str) -> Call[Attempt]:
    """Send an `endpoint.test` to an endpoint now. Returns the attempt."""
    return send("POST", path("endpoints", endpoint_id, "test"), reader(Attempt))


def pause(endpoint_id: str) -> Call[Endpoint]:
    """Pause an endpoint: its deliveries wait until it is resumed. Returns it."""
    return send("POST", path("endpoints", endpoint_id, "pause"), reader(Endpoint))


def resume(endpoint_id: str) -> Call[Endpoint]:
    """Resume a paused or disabled endpoint. Returns it."""
    return send("POST", path("endpoints", endpoint_id, "resume"), reader(Endpoint))


def rotate_secret(
    endpoint_id: str, *, overlap_seconds: int | None = None, secret: str | None = None
) -> Call[NewEndpoint]:
    """Give an endpoint a new secret; the present one signs too for a while. Returns it with the secret."""
    given = some({"overlap_seconds": overlap_seconds, "secret": secret})
    return send("POST", path("endpoints", endpoint_id, "rotate-secret"), reader(NewEndpoint), given)


def explain(
    endpoint_id: str,
    *,
    event: str | None = None,
    type: str | None = None,  # noqa: A002  # the API's word
    data: Mapping[str, Any] | None = None,
) -> Call[Explanation]:
    """Explain whether an endpoint takes an event: one of the feed by its id, or a type with data."""
    given = some({"event": event, "type": type, "data": data})
    return send("POST", path("endpoints", endpoint_id, "explain"), reader(Explanation), given)


def replay(
    endpoint_id: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    events: Sequence[str] | None = None,
    only: str = "failed",
    dry_run: bool = False,
) -> Call[Replay]:
    """Send old events to an endpoint again; with `dry_run` they are only counted. Returns the replay."""
    given = some({"since": since, "until": until, "events": events, "only": only, "dry_run": dry_run})
    return send("POST", path("endpoints", endpoint_id, "replay"), reader(Replay), given)


def replay_show(replay_id: str) -> Call[Replay]:
    """Read a replay with its progress."""
    return get(path("replays", replay_id), reader(Replay))


def replay_pages(*, endpoint: str | None = None, page_size: int = PAGE_SIZE) -> Call[Page[Replay]]:
    """List replays, of all endpoints or of one, newest first."""
    return listing("/v1/replays", reader(Replay), query(endpoint=endpoint, limit=page_size))


def replay_cancel(replay_id: str) -> Call[Replay]:
    """Cancel a replay and its pending deliveries. Returns it."""
    return send("POST", path("replays", replay_id, "cancel"), reader(Replay))
