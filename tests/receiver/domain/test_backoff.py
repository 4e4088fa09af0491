"""Pauses between the calls of one account: each trouble makes them longer, each success shorter."""

import pytest

from receiver.domain.backoff import LOST, THROTTLED, UNREACHABLE, Pace


def test_each_throttled_call_behind_a_pause_makes_the_next_one_longer() -> None:
    pace, now = Pace(), 0.0
    for pause in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0):
        assert pace.troubled(THROTTLED, None, now) == pause
        assert pace.narrow
        now += pause


def test_calls_that_were_under_way_together_count_as_one() -> None:
    pace = Pace()
    assert [pace.troubled(THROTTLED, None, 0.0) for _ in range(16)] == [1.0] * 16
    assert pace.troubled(THROTTLED, None, 1.0) == 2.0


def test_the_provider_s_own_wish_counts_where_it_is_longer() -> None:
    pace = Pace()
    assert pace.troubled(THROTTLED, 0.5, 0.0) == 1.0
    assert pace.troubled(THROTTLED, 20.0, 0.5) == 20.0
    assert pace.troubled(THROTTLED, None, 10.0) == 10.5
    assert pace.troubled(THROTTLED, 30.0, 21.0) == 30.0


@pytest.mark.parametrize("ladder", [LOST, UNREACHABLE])
def test_a_few_lost_calls_in_a_row_make_a_pause(ladder: object) -> None:
    pace = Pace()
    kind = LOST if ladder is LOST else UNREACHABLE
    told = [pace.troubled(kind, None, float(second)) for second in range(3)]
    assert told == [0.0, 0.0, kind.steps[0]]
    assert pace.troubled(kind, None, 3.0 + kind.steps[0]) == kind.steps[1]


def test_a_call_that_works_between_breaks_the_row() -> None:
    pace = Pace()
    for second in range(20):
        assert pace.troubled(LOST, None, float(second)) == 0.0
        assert not pace.worked(float(second))
    assert not pace.narrow


def test_a_wish_that_comes_with_a_lost_call_is_kept_at_once() -> None:
    assert Pace().troubled(LOST, 7.0, 0.0) == 7.0


def test_room_comes_back_with_every_success() -> None:
    pace, now = Pace(), 0.0
    for _ in range(3):
        now += pace.troubled(THROTTLED, None, now)
    assert [pace.worked(now) for _ in range(3)] == [False, False, True]
    assert pace.troubled(THROTTLED, None, now) == 1.0


def test_a_success_that_was_under_way_ends_no_pause() -> None:
    pace = Pace()
    pace.troubled(THROTTLED, 20.0, 0.0)
    assert not pace.worked(1.0)
    assert pace.narrow
    assert pace.worked(20.0)
