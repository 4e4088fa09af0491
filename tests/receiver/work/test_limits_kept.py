"""Lanes and holds: the number that is kept and for how long, and the lanes that a hold stops."""

from typing import Any

import pytest

from receiver.domain.model import Endpoint, Work
from receiver.store.due import HAND_LANES, RETRY_LANE
from receiver.store.holds import hold_of
from receiver.work.limits import LEARNED, SOME_HOLDS, ConcurrencyLimits
from receiver.work.slots import ConcurrencyLimit
from tests.receiver.store_fixture import START
from tests.receiver.work.test_limits import ENDPOINT, RETRIES, full, made

ORIGIN = "https://one-off.example"


def lanes_of(lanes: ConcurrencyLimits) -> int:
    """Return the numbers of lanes and slots that are kept."""
    return len(lanes._lanes) + len(lanes._slots) + len(lanes._waiting)


def endpoint(**fields: Any) -> Endpoint:
    """Return the endpoint of the lanes, with these limits."""
    return Endpoint(
        id=ENDPOINT, url="https://a.example/", events=("*",), created_at=START, updated_at=START, **fields
    )


def test_an_origin_is_forgotten_once_nothing_of_it_goes_on() -> None:
    lanes, watch = made()
    for number in range(50):
        name = f"{ORIGIN}:{2000 + number}"
        assert lanes.reserve(name).waits_in is None
        lanes.mark_waiting(Work.DELIVER, name + RETRY_LANE)
        lanes.reserve_for_claim(Work.DELIVER, name + RETRY_LANE, 1)
        lanes.release(name)
        lanes.release_claim(Work.DELIVER, [name + RETRY_LANE])
        assert lanes.waiting(Work.DELIVER) == {name + RETRY_LANE: 1}
        lanes.clear_waiting(Work.DELIVER, name + RETRY_LANE, 1)
        lanes.hold(Work.DELIVER, name, 5.0)
    watch.seconds += 60
    assert lanes_of(lanes) == 0


def test_what_an_endpoint_has_proved_is_remembered_while_it_rests() -> None:
    lanes, _ = made()
    assert lanes.reserve(ENDPOINT).waits_in is None
    lanes.succeeded(ENDPOINT)
    lanes.release(ENDPOINT)
    assert lanes.room(Work.DELIVER, ENDPOINT) == 5
    assert full(lanes) == 5


def test_of_how_many_that_is_remembered_is_bounded() -> None:
    lanes, _ = made()
    for number in range(LEARNED + 10):
        lanes.reserve(f"{ORIGIN}:{number}")
        lanes.succeeded(f"{ORIGIN}:{number}")
        lanes.release(f"{ORIGIN}:{number}")
    rooms = [lanes.room(Work.DELIVER, f"{ORIGIN}:{number}") for number in (9, 10, LEARNED + 9)]
    assert rooms == [4, 5, 5]
    assert len(lanes._slots) == LEARNED


def test_holds_that_are_over_are_forgotten() -> None:
    lanes, watch = made()
    for number in range(4 * SOME_HOLDS):
        lanes.hold(Work.DELIVER, f"{ORIGIN}#{number}", 5.0)
        watch.seconds += 1
    assert len(lanes._holds) <= SOME_HOLDS + 1
    assert lanes.held(f"{ORIGIN}#{4 * SOME_HOLDS - 1}") == 4.0


@pytest.mark.parametrize("by_hand", [ENDPOINT + end for end in HAND_LANES])
def test_what_is_retried_by_hand_waits_for_no_hold(by_hand: str) -> None:
    lanes, _ = made()
    lanes.hold(Work.DELIVER, ENDPOINT, 60)
    assert [lanes.room(Work.DELIVER, name) for name in (ENDPOINT, RETRIES, by_hand)] == [0, 0, 4]
    assert full(lanes, by_hand) == 4
    lanes.end_hold(ENDPOINT)
    assert lanes.room(Work.DELIVER, ENDPOINT) == 0, "it shares the slots"


def test_the_hold_of_a_callback_url_is_not_one_of_its_host() -> None:
    lanes, _ = made()
    mine, other = [hold_of(ORIGIN + RETRY_LANE, f"{ORIGIN}/{path}") for path in ("mine", "other")]
    assert "mine" not in mine
    lanes.hold(Work.DELIVER, mine, 60)
    assert [lanes.held(one) for one in (mine, other)] == [60, 0]
    assert lanes.room(Work.DELIVER, ORIGIN) == 4
    assert hold_of(RETRIES, None) == ENDPOINT


def test_holds_of_others_are_taken_up_and_end_with_them() -> None:
    lanes, _ = made()
    lanes.hold(Work.DELIVER, "ep_own", 30)
    lanes.replace_holds({ENDPOINT: 60.0, "ep_2": 10.0})
    assert [lanes.held(name) for name in ("ep_own", ENDPOINT, "ep_2")] == [30, 60, 10]
    lanes.replace_holds({"ep_2": 10.0})
    assert [lanes.held(name) for name in ("ep_own", ENDPOINT, "ep_2")] == [30, 0, 10]


def test_an_endpoint_tells_when_it_begins_to_fail_and_when_it_recovers() -> None:
    lanes, _ = made()
    told = [
        lanes.failed(ENDPOINT),
        lanes.failed(RETRIES),
        lanes.succeeded(RETRIES),
        lanes.succeeded(ENDPOINT),
    ]
    assert told == [True, False, True, False]


def test_a_cap_that_is_learned_later_holds() -> None:
    lanes, _ = made()
    assert full(lanes) == 4
    lanes.change(endpoint(max_in_flight=1))
    for _ in range(10):
        lanes.succeeded(ENDPOINT)
    assert lanes.lane(Work.DELIVER, ENDPOINT).slots.max == 1
    assert lanes.lane(Work.DELIVER, ENDPOINT).slots.current == 1


def test_a_rate_that_is_learned_later_holds_and_begins_anew_with_each_change() -> None:
    lanes, watch = made()
    for _ in range(20):
        assert lanes.reserve(ENDPOINT)
        lanes.succeeded(ENDPOINT)
        lanes.release(ENDPOINT)
    lanes.change(endpoint(rate_limit=2.0))
    assert full(lanes) == 2
    lanes.change(endpoint())
    assert lanes.room(Work.DELIVER, ENDPOINT) == 22
    lanes.change(endpoint(rate_limit=4.0))
    assert full(lanes) == 4
    lanes.change(endpoint(rate_limit=4.0, description="a note"))
    assert lanes.room(Work.DELIVER, ENDPOINT) == 0
    watch.seconds += 0.5
    assert lanes.room(Work.DELIVER, ENDPOINT) == 2


def test_the_rate_of_an_endpoint_that_rests_is_remembered() -> None:
    lanes, watch = made(lambda: ConcurrencyLimit(max=2, adaptive=True, rate=1.0))
    assert lanes.reserve(ENDPOINT)
    lanes.succeeded(ENDPOINT)
    lanes.release(ENDPOINT)
    assert not lanes.reserve(ENDPOINT)
    watch.seconds += 1.0
    lanes.clear_waiting(Work.DELIVER, ENDPOINT, 1)
    assert lanes.reserve(ENDPOINT)


def test_a_burst_is_a_part_of_the_rate_and_at_least_one_call() -> None:
    lanes, _ = made(lambda: ConcurrencyLimit(max=100, rate=40.0, burst=0.25))
    assert full(lanes) == 10
    lanes, _ = made(lambda: ConcurrencyLimit(max=100, rate=2.0, burst=0.25))
    assert full(lanes) == 1
