"""Which events an endpoint wants."""

import functools
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
    "endpoint.disabled",
    "endpoint.test",
)
LITERAL_ONLY = frozenset({"job.progressed", "job.late_result", "endpoint.test"})
"""Types that go only where they are named in full."""


def is_pattern(text: str) -> bool:
    """Whether `text` can match anything: a type, `*`, or a prefix of one that ends in `.*`."""
    if text == "*" or text in TYPES:
        return True
    return text.endswith(".*") and any(name.startswith(text[:-1]) for name in TYPES)


@functools.lru_cache(maxsize=4096)
def wants(patterns: tuple[str, ...], event_type: str) -> bool:
    """Whether one of `patterns` asks for `event_type`."""
    if event_type in patterns:
        return True
    if event_type in LITERAL_ONLY:
        return False
    return any(
        pattern == "*" or (pattern.endswith(".*") and event_type.startswith(pattern[:-1]))
        for pattern in patterns
    )


def nearest_type(pattern: str) -> str | None:
    """Return the event type that was probably meant; a family alone, such as `job.`, is no likeness."""
    return nearest(pattern, TYPES, likeness=0.75)


def complaint(pattern: str) -> str:
    """Return why a pattern is refused: the nearest event type, and all of them."""
    near = nearest_type(pattern)
    meant = f" (did you mean `{near}`?)" if near else ""
    return f"must be an event type, `*`, or a prefix such as `job.*`{meant}; types: {', '.join(TYPES)}"


def unknown(patterns: Sequence[str]) -> list[int]:
    """The places of those patterns that match no event type."""
    return [index for index, pattern in enumerate(patterns) if not is_pattern(pattern)]
