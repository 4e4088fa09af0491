"""The waits that providers and receivers ask for."""

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from handlers.contract import HttpMessage

DAY = timedelta(hours=24)
"""The longest wait that a message may ask for."""
BODY = {
    "retry_after": 1,
    "retryAfter": 1,
    "retry_after_seconds": 1,
    "retryDelay": 1,
    "retry_after_ms": 1000,
    "retryAfterMs": 1000,
}
"""The fields of a body with a wait, each with the number of its unit in a second."""
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?", re.ASCII)
_SECONDS_TWICE = re.compile(r"[0-9. \t]+(?:,[0-9. \t]+)+", re.ASCII)


def number(value: object) -> object:
    """Return a plausible number, given as a number or as its digits; None for anything else."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value < 1e9 else None


def retry_after(message: HttpMessage) -> timedelta | None:
    """Return the wait in `Retry-After`: seconds, with a fraction rounded up, or a date; at most a day.

    Returns None where it is missing or unreadable, or present twice with different values.
    """
    found: set[timedelta | None] = set()
    for value in message.every("retry-after"):
        # A doubled header may arrive as one with a comma, but a date has a comma of its own.
        texts = value.split(",") if _SECONDS_TWICE.fullmatch(value) else [value]
        found.update(_wait(text.strip(" \t"), message.received_at) for text in texts)
    return found.pop() if len(found) == 1 else None


def _wait(text: str, now: datetime) -> timedelta | None:
    if _SECONDS.fullmatch(text):
        whole, _, fraction = text.partition(".")
        digits = whole.lstrip("0")
        # A day has five digits of seconds, so a longer number need not be parsed.
        seconds = int(digits or 0) + bool(fraction.strip("0")) if len(digits) <= 5 else DAY.total_seconds()
        return min(timedelta(seconds=seconds), DAY)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(moment - now, timedelta()), DAY)


def wish(message: HttpMessage, body: object) -> timedelta | None:
    """Return the wait that a provider asks for: in `Retry-After`, `retry-after-ms` or the body."""
    wait = retry_after(message)
    if wait is None and len(values := message.every("retry-after-ms")) == 1:
        wait = _seconds(values[0], 1000)
    asked = (_seconds(place.get(name), unit) for place in _places(body) for name, unit in BODY.items())
    return wait if wait is not None else next((found for found in asked if found is not None), None)


def _places(body: object) -> Iterator[dict[str, Any]]:
    """Return the objects of a body that may hold a wait: itself, its errors, and the details of those."""
    outer = [body]
    for _ in range(3):
        level = [one for node in outer for one in (node[:8] if isinstance(node, list) else [node])]
        found = [one for one in level if isinstance(one, dict)]
        yield from found
        outer = [
            one[name] for one in found for name in ("error", "errors", "detail", "details") if name in one
        ]


def _seconds(value: object, unit: int = 1) -> timedelta | None:
    found = number(value.strip().removesuffix("s") if isinstance(value, str) else value)
    return timedelta(seconds=math.ceil(min(found / unit, 86400))) if isinstance(found, int | float) else None
