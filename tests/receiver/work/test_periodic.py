"""Loops that outlive failures: tries until a result is stored, and calls in an interval."""

import asyncio
import logging

import pytest

from receiver.domain.errors import StoreUnavailable
from receiver.work.periodic import LONGEST_PAUSE, PAUSE, retry_until_stored, run_periodically

LOGGER = logging.getLogger("ringback.test")


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses that the loops make; none of them takes any time."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr("receiver.work.periodic.asyncio.sleep", sleep)
    return made


class Attempts:
    """Attempts that fail with these errors first, and return the number of calls then."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.calls


def away(count: int) -> list[StoreUnavailable]:
    """Return errors of a store that is away."""
    return [StoreUnavailable(f"away {number}") for number in range(count)]


async def test_what_is_stored_at_once_is_returned_without_a_pause(pauses: list[float]) -> None:
    failures: list[StoreUnavailable] = []
    assert await retry_until_stored(Attempts(), failures.append) == 1
    assert (failures, pauses) == ([], [])


async def test_a_store_that_is_away_is_tried_again_after_longer_and_longer_pauses(
    pauses: list[float],
) -> None:
    failures: list[StoreUnavailable] = []
    errors = away(8)
    assert await retry_until_stored(Attempts(*errors), failures.append) == 9
    assert failures == errors
    assert pauses == [PAUSE, 0.2, 0.4, 0.8, 1.6, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]


async def test_another_error_is_raised_at_once(pauses: list[float]) -> None:
    failures: list[StoreUnavailable] = []
    attempts = Attempts(*away(1), ValueError("a fault"), *away(1))
    with pytest.raises(ValueError, match="a fault"):
        await retry_until_stored(attempts, failures.append)
    assert (attempts.calls, len(failures), pauses) == (2, 1, [PAUSE])


async def test_a_periodic_call_outlives_every_failure_until_it_is_cancelled(
    pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, LOGGER.name)
    failures = [*away(1), ValueError("a fault")]
    calls = 0

    async def look() -> None:
        nonlocal calls
        calls += 1
        if failures:
            raise failures.pop(0)
        if calls == 4:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await run_periodically(look, every=7.0, logger=LOGGER)
    assert (calls, pauses) == (4, [7.0] * 4)
    logged = [(record.levelno, record.getMessage(), bool(record.exc_info)) for record in caplog.records]
    assert logged == [
        (logging.DEBUG, "waits for the database: away 0", False),
        (logging.ERROR, "failed, and is tried again", True),
    ]
