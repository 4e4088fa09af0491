"""Subscriptions: whether an endpoint takes an event, by its event types and its filter, and why. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from receiver.domain.event_types import ABOUT_ENDPOINTS, LITERAL_ONLY, TEST, wants
from receiver.domain.filters import Because, EventTexts, Filter
from receiver.domain.model import Endpoint, Event


def subscribers(endpoints: Sequence[Endpoint], event: Event) -> Iterator[Endpoint]:
    """Yield the endpoints that take an event."""
    texts: EventTexts | None = None
    about_endpoint = event.type in ABOUT_ENDPOINTS
    for endpoint in endpoints:
        if not wants(endpoint.events, event.type):
            continue
        if endpoint.filter is not None or about_endpoint:
            # Parsed for the first that needs it: most events meet no filter.
            texts = EventTexts(from_json(event.body)["data"]) if texts is None else texts
            if about_endpoint and texts.data["id"] == endpoint.id:
                continue
            if endpoint.filter is not None and not endpoint.filter.matches(texts):
                continue
        yield endpoint


def unsubscribed(
    patterns: tuple[str, ...], event_type: str, data: Mapping[str, Any], endpoint_id: str
) -> str | None:
    """Return the reason why an endpoint with these event types gets no event of this kind, None otherwise."""
    if event_type == TEST:
        return "a test goes to its own endpoint only"
    if not wants(patterns, event_type):
        literally = (
            " (no pattern includes that type, so it must be named)" if event_type in LITERAL_ONLY else ""
        )
        return f"its event types do not include {event_type}{literally}"
    if event_type in ABOUT_ENDPOINTS and data.get("id") == endpoint_id:
        return "an endpoint is not told about itself"
    return None


def explain(
    patterns: tuple[str, ...],
    filter_: Filter | None,
    event_type: str,
    data: Mapping[str, Any],
    endpoint_id: str,
) -> Because:
    """Return whether an endpoint with these event types and this filter takes an event, and the reason."""
    reason = unsubscribed(patterns, event_type, data, endpoint_id)
    if reason is not None:
        return Because(False, (), reason)
    if filter_ is None:
        return Because(True, (), f"its event types include {event_type}, and it has no filter")
    return filter_.explain(data)
