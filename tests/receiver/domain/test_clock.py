"""The service's time: it equals the system's, never steps, and slowly follows a step of the system."""

from datetime import UTC, datetime, timedelta

import pytest

from receiver.domain.clock import FOLLOW, Clock, Wall

START = datetime(2026, 11, 28, tzinfo=UTC)
HOUR = 3600.0


class System:
    """A machine with two clocks that are set by hand."""

    def __init__(self) -> None:
        self.wall = START.timestamp()
        self.boot = 1000.0

    def pass_(self, seconds: float) -> None:
        """Let time pass on both."""
        self.wall += seconds
        self.boot += seconds


def made() -> tuple[Wall, System]:
    """Return the service's time over a machine, and that machine."""
    system = System()
    return Wall(lambda: system.wall, lambda: system.boot), system


def test_without_steps_it_is_the_systems_time() -> None:
    wall, system = made()
    for seconds in (0.0, 0.001, 5.0, HOUR):
        system.pass_(seconds)
        assert wall.now() == wall.real()


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_step_of_the_system_is_none_of_the_service(step: float) -> None:
    wall, system = made()
    before = wall.now()
    system.wall += step
    assert wall.now() == before
    system.pass_(60.0)
    followed = timedelta(seconds=60 * FOLLOW if step > 0 else -60 * FOLLOW)
    assert wall.now() == before + timedelta(seconds=60) + followed


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_it_follows_a_step_in_the_end_and_never_goes_back(step: float) -> None:
    wall, system = made()
    system.wall += step
    seen = []
    for _ in range(1200):
        system.pass_(60.0)
        seen.append(wall.now())
    assert seen == sorted(seen)
    assert wall.now() == wall.real()


def test_a_clock_that_is_wrong_for_a_minute_moves_nothing_that_counts() -> None:
    wall, system = made()
    system.wall += 30 * 24 * HOUR
    system.pass_(60.0)
    wall.now()
    system.wall -= 30 * 24 * HOUR
    assert abs(wall.now() - wall.real()) <= timedelta(seconds=60 * FOLLOW)


def test_a_machine_that_was_suspended_is_where_the_system_is() -> None:
    wall, system = made()
    system.pass_(8 * HOUR)
    assert wall.now() == START + timedelta(hours=8)


def test_a_shared_database_is_followed_from_the_anchor_on() -> None:
    wall, system = made()
    wall.ahead = timedelta(minutes=5)
    wall.anchor()
    assert wall.now() == wall.real() == START + timedelta(minutes=5)
    system.pass_(10.0)
    assert wall.now() == START + timedelta(minutes=5, seconds=10)


def test_signatures_carry_the_time_that_others_have() -> None:
    wall, system = made()
    clock = Clock(now=wall.now, real=wall.real)
    system.wall += HOUR
    assert clock.outside() - clock.now() == timedelta(hours=1)
    alone = Clock(now=lambda: START)
    assert alone.outside() == START
