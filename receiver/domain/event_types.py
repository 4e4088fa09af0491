"""Event types, and the patterns by which an endpoint subscribes to them."""

import functools
import re
from collections.abc import Sequence

from receiver.domain.errors import nearest

JOB_FINAL = ("job.succeeded", "job.failed", "job.canceled", "job.expired")
TYPES = (
    *JOB_FINAL,
    "job.running",
    "job.progressed",
    "job.unconfirmed",
    "job.late_result",
    "provider.blocked",
    "provider.unblocked",
    "endpoint.failing",
    "endpoint.disabled",
    "endpoint.test",
)
TEST = "endpoint.test"
"""The type of the event that a test sends to one endpoint, and to no other."""
LITERAL_ONLY = frozenset({"job.progressed", "job.late_result", TEST})
"""Types that are delivered only to endpoints that name them in full; no pattern includes them."""

ABOUT_ENDPOINTS = frozenset({"endpoint.failing", "endpoint.disabled"})
"""Types that are not delivered to the endpoint that they are about: it cannot take them."""

SOURCE = re.compile(r"source\.([a-z0-9_]{1,40})\.(?:received|\*)", re.ASCII)
"""The type of a source's events, or the pattern of all of them. The name of the source is its group."""
SOURCE_TYPE = "source.<name>.received"
"""The form of a source's type in texts."""
EVERY_SOURCE = "source.*"
SHOWN = (*TYPES, SOURCE_TYPE)
"""All event types, for texts."""


def of_source(name: str) -> str:
    """Return the type of the events of a source."""
    return f"source.{name}.received"


def unknown_source(pattern: str, names: Sequence[str]) -> str | None:
    """Return the reason why a pattern names no source of these `names`, None when it does not name any."""
    found = SOURCE.fullmatch(pattern)
    if found is None or found[1] in names:
        return None
    near = nearest(found[1], names)
    meant = f" (did you mean `{near}`?)" if near else ""
    return f"names no source{meant}; sources: {', '.join(names) or 'none; add one to the settings'}"


def is_pattern(text: str) -> bool:
    """Return whether `text` can match an event type: a type, `*`, or a prefix of a type that ends in `.*`."""
    if text in {"*", EVERY_SOURCE} or text in TYPES or SOURCE.fullmatch(text):
        return True
    return text.endswith(".*") and any(name.startswith(text[:-1]) for name in TYPES)


@functools.lru_cache(maxsize=4096)
def wants(patterns: tuple[str, ...], event_type: str) -> bool:
    """Return whether one of `patterns` includes `event_type`."""
    if event_type in patterns:
        return True
    if event_type in LITERAL_ONLY:
        return False
    return any(
        pattern == "*" or (pattern.endswith(".*") and event_type.startswith(pattern[:-1]))
        for pattern in patterns
    )


def nearest_type(pattern: str) -> str | None:
    """Return the event type probably meant, or None; a shared prefix alone, such as `job.`, is not enough."""
    return nearest(pattern, TYPES, likeness=0.75)


def complaint(pattern: str) -> str:
    """Return the reason why a pattern is refused, with the most similar event type and all event types."""
    near = nearest_type(pattern)
    meant = f" (did you mean `{near}`?)" if near else ""
    return f"must be an event type, `*`, or a prefix such as `job.*`{meant}; types: {', '.join(SHOWN)}"


def unknown(patterns: Sequence[str]) -> list[int]:
    """Return the indexes of the patterns that match no event type."""
    return [index for index, pattern in enumerate(patterns) if not is_pattern(pattern)]
