"""The health of an endpoint: failures in a row, the breaker that they open, and when it is disabled. Pure."""

import enum
from datetime import datetime, timedelta

from handlers.values import immutable

OPENS_AFTER = 10
"""The failures in a row that open the breaker."""
SHORTEST, LONGEST = timedelta(seconds=5), timedelta(minutes=5)
"""The bounds of the time for which an open breaker lets nothing through."""
ANNOUNCED_AT = 0.5
"""The part of the time until an endpoint is disabled after which `endpoint.failing` is sent."""


class Breaker(enum.StrEnum):
    """The state of a breaker. A half-open one lets single deliveries through, to probe the endpoint."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class HealthStep(enum.Enum):
    """A step that continuous failure makes due."""

    ANNOUNCE = "announce"
    DISABLE = "disable"


@immutable(kw_only=True)
class EndpointHealth:
    """The failures of an endpoint in a row, since the first of them, and its last attempt.

    `announced` is true once `endpoint.failing` was sent for these failures.
    """

    failures: int = 0
    failing_since: datetime | None = None
    announced: bool = False
    last_at: datetime | None = None
    last_status: int | None = None
    last_error: str | None = None


def after_attempt(
    health: EndpointHealth,
    at: datetime,
    status: int | None,
    error: str | None,
    *,
    delivered: bool,
    counts: bool,
) -> EndpointHealth:
    """Return the health after an attempt. One that does not `count` is the last attempt, and no more."""
    if not counts:
        failures, since, announced = health.failures, health.failing_since, health.announced
    elif delivered:
        failures, since, announced = 0, None, False
    else:
        failures, since, announced = health.failures + 1, health.failing_since or at, health.announced
    return EndpointHealth(
        failures=failures,
        failing_since=since,
        announced=announced,
        last_at=at,
        last_status=status,
        last_error=error,
    )


def pause(health: EndpointHealth, now: datetime) -> timedelta | None:
    """Return the time for which the breaker lets nothing through from now on, None while it is closed.

    It is half of the time since the first failure, so it grows by the half with each probe, however many
    calls were under way.
    """
    if health.failures < OPENS_AFTER or health.failing_since is None:
        return None
    return min(LONGEST, max(SHORTEST, (now - health.failing_since) / 2))


def breaker(health: EndpointHealth, *, held: bool) -> Breaker:
    """Return the state of the breaker of an endpoint that is `held` or not."""
    if health.failures < OPENS_AFTER:
        return Breaker.CLOSED
    return Breaker.OPEN if held else Breaker.HALF_OPEN


def due_step(health: EndpointHealth, now: datetime, disable_after: timedelta) -> HealthStep | None:
    """Return the step that the time of nothing but failure makes due; none where `disable_after` is 0."""
    if health.failing_since is None or not disable_after:
        return None
    failing = now - health.failing_since
    if failing >= disable_after:
        return HealthStep.DISABLE
    return HealthStep.ANNOUNCE if failing >= disable_after * ANNOUNCED_AT and not health.announced else None
