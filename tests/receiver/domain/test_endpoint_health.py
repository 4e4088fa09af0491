"""The health of an endpoint: failures in a row, its breaker, and the steps towards its end."""

from datetime import datetime, timedelta

import pytest

from receiver.domain.endpoint_health import (
    LONGEST,
    OPENS_AFTER,
    SHORTEST,
    Breaker,
    EndpointHealth,
    HealthStep,
    after_attempt,
    breaker,
    due_step,
    pause,
)
from tests.receiver.store_fixture import START

SECOND = timedelta(seconds=1)


def failing(
    failures: int = OPENS_AFTER, *, since: datetime = START, announced: bool = False
) -> EndpointHealth:
    """Return the health of an endpoint with so many failures in a row."""
    return EndpointHealth(failures=failures, failing_since=since, announced=announced)


def test_failures_count_from_the_first_and_a_success_ends_them() -> None:
    health = EndpointHealth()
    for number, status in enumerate((500, None, 503)):
        error = None if status else "connect: refused"
        health = after_attempt(health, START + number * SECOND, status, error, delivered=False, counts=True)
    assert health == EndpointHealth(
        failures=3, failing_since=START, last_at=START + 2 * SECOND, last_status=503, last_error=None
    )
    health = after_attempt(health, START + 9 * SECOND, 204, None, delivered=True, counts=True)
    assert health == EndpointHealth(last_at=START + 9 * SECOND, last_status=204)


@pytest.mark.parametrize("delivered", [True, False])
def test_an_attempt_by_hand_is_neither_for_nor_against_it(delivered: bool) -> None:
    before = failing(3, announced=True)
    after = after_attempt(before, START + SECOND, 200, None, delivered=delivered, counts=False)
    assert (after.failures, after.failing_since, after.announced) == (3, START, True)
    assert (after.last_at, after.last_status) == (START + SECOND, 200)


@pytest.mark.parametrize(
    ("failures", "elapsed", "found"),
    [
        (OPENS_AFTER - 1, 60, None),
        (OPENS_AFTER, 0, SHORTEST),
        (OPENS_AFTER, 10, SHORTEST),
        (OPENS_AFTER + 5, 60, timedelta(seconds=30)),
        (OPENS_AFTER, 100_000, LONGEST),
    ],
)
def test_the_pause_of_an_open_breaker_grows_with_the_time_of_failure(
    failures: int, elapsed: int, found: timedelta | None
) -> None:
    assert pause(failing(failures), START + elapsed * SECOND) == found


def test_a_breaker_is_half_open_once_its_hold_is_over() -> None:
    assert breaker(EndpointHealth(), held=True) is Breaker.CLOSED
    assert breaker(failing(OPENS_AFTER - 1), held=True) is Breaker.CLOSED
    assert breaker(failing(), held=True) is Breaker.OPEN
    assert breaker(failing(), held=False) is Breaker.HALF_OPEN


@pytest.mark.parametrize(
    ("elapsed", "announced", "step"),
    [
        (49, False, None),
        (50, False, HealthStep.ANNOUNCE),
        (99, True, None),
        (100, True, HealthStep.DISABLE),
        (100, False, HealthStep.DISABLE),
    ],
)
def test_failure_is_announced_at_half_time_once_and_ends_in_disabling(
    elapsed: int, announced: bool, step: HealthStep | None
) -> None:
    health = failing(announced=announced)
    assert due_step(health, START + elapsed * SECOND, timedelta(seconds=100)) is step
    assert due_step(health, START + elapsed * SECOND, timedelta()) is None


def test_a_healthy_endpoint_has_no_step() -> None:
    assert due_step(EndpointHealth(), START, SECOND) is None
