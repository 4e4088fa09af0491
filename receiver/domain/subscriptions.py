"""Subscriptions: whether an endpoint takes an event, by its event types and its filter, and why. Pure."""

from collections.abc import Mapping
from typing import Any

from receiver.domain.event_types import LITERAL_ONLY, wants
from receiver.domain.filters import Because, Filter


def explain(
    patterns: tuple[str, ...], filter_: Filter | None, event_type: str, data: Mapping[str, Any]
) -> Because:
    """Return whether an endpoint with these event types and this filter takes an event, and the reason."""
    if not wants(patterns, event_type):
        literally = (
            " (no pattern includes that type, so it must be named)" if event_type in LITERAL_ONLY else ""
        )
        return Because(False, (), f"its event types do not include {event_type}{literally}")
    if filter_ is None:
        return Because(True, (), f"its event types include {event_type}, and it has no filter")
    return filter_.explain(data)
