"""The shutdown: one grace period, which further calls can only shorten."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.work.shutdown import Shutdown
from tests.receiver.raw_server import BOUNDED


class Seconds:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_process_that_does_not_stop_has_all_the_time() -> None:
    shutdown = Shutdown(Seconds())
    assert (shutdown.begun, shutdown.time_left) == (False, math.inf)


def test_the_grace_period_passes_and_never_becomes_negative() -> None:
    seconds = Seconds()
    shutdown = Shutdown(seconds)
    shutdown.hurry(20.0)
    assert (shutdown.begun, shutdown.time_left) == (True, 20.0)
    seconds.now += 15.0
    assert shutdown.time_left == 5.0
    seconds.now += 15.0
    assert shutdown.time_left == 0.0


@pytest.mark.parametrize(("passed", "again", "left"), [(5.0, 20.0, 15.0), (5.0, 3.0, 3.0), (5.0, 0.0, 0.0)])
def test_a_further_call_can_only_shorten_the_grace_period(passed: float, again: float, left: float) -> None:
    seconds = Seconds()
    shutdown = Shutdown(seconds)
    shutdown.hurry(20.0)
    seconds.now += passed
    shutdown.hurry(again)
    assert shutdown.time_left == left


@BOUNDED
@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=20))
def test_the_earliest_end_counts(calls: list[tuple[int, int]]) -> None:
    seconds = Seconds()
    shutdown, ends = Shutdown(seconds), []
    for pause, grace in calls:
        seconds.now += pause
        shutdown.hurry(grace)
        ends.append(seconds.now + grace)
    assert shutdown.time_left == max(0.0, min(ends) - seconds.now)
