"""Lanes: a few at once until proved, half for retries, holds, one probe while blocked, and a rate."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.model import Work
from receiver.store.due import RETRY_LANE
from receiver.work.limits import ConcurrencyLimits
from receiver.work.slots import UNPROVEN, ConcurrencyLimit
from tests.receiver.raw_server import BOUNDED

ENDPOINT, RETRIES, ACCOUNT = "ep_1", "ep_1" + RETRY_LANE, "apiframe"


@dataclass
class Watch:
    """A monotonic clock that is moved by hand."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


def made(
    make: Callable[[], ConcurrencyLimit] = lambda: ConcurrencyLimit(max=64, adaptive=True),
) -> tuple[ConcurrencyLimits, Watch]:
    """Return lanes that all have slots of one kind, and their clock."""
    watch = Watch()
    return ConcurrencyLimits(lambda _work, _name: make(), watch), watch


def full(lanes: ConcurrencyLimits, name: str = ENDPOINT, work: Work = Work.DELIVER) -> int:
    """Take every slot that the lane has room for. Returns their number."""
    taken = 0
    while lanes.room(work, name) > 0:
        lanes.acquire(work, name)
        taken += 1
    return taken


@pytest.mark.parametrize("top", [1, 3, 4, 5, 64, 1000])
def test_an_unproven_endpoint_gets_four_at_once(top: int) -> None:
    lanes, _ = made(lambda: ConcurrencyLimit(max=top, adaptive=True))
    assert UNPROVEN == 4
    assert full(lanes) == min(top, 4)


def test_an_account_gets_all_that_is_configured() -> None:
    lanes, _ = made(lambda: ConcurrencyLimit(max=16))
    assert full(lanes, ACCOUNT, Work.SUBMIT) == 16


def test_each_success_lets_one_more_through_up_to_the_top() -> None:
    lanes, _ = made(lambda: ConcurrencyLimit(max=7, adaptive=True))
    rooms = []
    for _ in range(5):
        lanes.succeeded(ENDPOINT)
        rooms.append(lanes.room(Work.DELIVER, ENDPOINT))
    assert rooms == [5, 6, 7, 7, 7]


@pytest.mark.parametrize("failing", [ENDPOINT, RETRIES])
def test_a_failure_drops_an_endpoint_to_four(failing: str) -> None:
    lanes, _ = made()
    for _ in range(100):
        lanes.succeeded(ENDPOINT)
    assert lanes.room(Work.DELIVER, ENDPOINT) == 64
    lanes.failed(failing)
    assert lanes.room(Work.DELIVER, ENDPOINT) == 4
    lanes.succeeded(RETRIES)
    assert lanes.room(Work.DELIVER, ENDPOINT) == 5


@pytest.mark.parametrize(("successes", "allowed", "retries"), [(0, 4, 2), (4, 8, 4), (60, 64, 32)])
def test_retries_take_at_most_half_of_the_lane(successes: int, allowed: int, retries: int) -> None:
    lanes, _ = made()
    for _ in range(successes):
        lanes.succeeded(ENDPOINT)
    assert full(lanes, RETRIES) == retries
    assert full(lanes) == allowed - retries


def test_a_lane_of_one_may_still_retry() -> None:
    lanes, _ = made(lambda: ConcurrencyLimit(max=1, adaptive=True))
    assert full(lanes, RETRIES) == 1
    assert lanes.room(Work.DELIVER, ENDPOINT) == 0


def test_fresh_work_may_take_the_retries_room() -> None:
    lanes, _ = made()
    assert full(lanes) == 4
    assert lanes.room(Work.DELIVER, RETRIES) == 0


def test_a_hold_keeps_the_whole_lane_still_for_a_while() -> None:
    lanes, watch = made()
    lanes.hold(Work.DELIVER, RETRIES, 60)
    lanes.hold(Work.DELIVER, ENDPOINT, 30)
    rooms = []
    for passed in (0, 59, 1):
        watch.seconds += passed
        rooms.append([lanes.room(Work.DELIVER, name) for name in (ENDPOINT, RETRIES, "ep_2")])
    assert rooms == [[0, 0, 4], [0, 0, 4], [4, 2, 4]]


def test_a_hold_of_polls_lets_submissions_go_on() -> None:
    lanes, _ = made(lambda: ConcurrencyLimit(max=16))
    lanes.hold(Work.POLL, ACCOUNT, 60)
    assert lanes.room(Work.POLL, ACCOUNT) == 0
    assert lanes.room(Work.SUBMIT, ACCOUNT) == 16


def test_a_blocked_account_gets_one_probe_at_a_time() -> None:
    lanes, watch = made(lambda: ConcurrencyLimit(max=16))
    lanes.block(ACCOUNT, blocked=True, probe_in=5.0)
    assert lanes.room(Work.SUBMIT, ACCOUNT) == 0
    assert lanes.room(Work.POLL, ACCOUNT) == 16
    watch.seconds += 5
    assert full(lanes, ACCOUNT, Work.SUBMIT) == 1
    watch.seconds += 100
    assert lanes.room(Work.SUBMIT, ACCOUNT) == 0
    lanes.release(ACCOUNT, Work.SUBMIT)
    assert lanes.room(Work.SUBMIT, ACCOUNT) == 1
    lanes.block(ACCOUNT, blocked=False)
    assert lanes.room(Work.SUBMIT, ACCOUNT) == 16


def test_submissions_and_polls_of_an_account_share_its_slots() -> None:
    lanes, _ = made(lambda: ConcurrencyLimit(max=3))
    lanes.acquire(Work.SUBMIT, ACCOUNT)
    lanes.acquire(Work.POLL, ACCOUNT)
    assert lanes.room(Work.SUBMIT, ACCOUNT) == lanes.room(Work.POLL, ACCOUNT) == 1


def test_an_endpoint_that_is_named_like_an_account_has_its_own_slots() -> None:
    lanes, _ = made(lambda: ConcurrencyLimit(max=16))
    lanes.failed(ACCOUNT)
    assert lanes.room(Work.SUBMIT, ACCOUNT) == 16


def test_a_born_delivery_takes_a_slot_or_waits_its_turn() -> None:
    lanes, _ = made()
    assert [lanes.reserve(ENDPOINT).waits_in for _ in range(6)] == [None] * 4 + [ENDPOINT] * 2
    assert lanes.release(ENDPOINT) == [Work.DELIVER]
    assert lanes.release(ENDPOINT) == [Work.DELIVER]
    assert lanes.reserve(ENDPOINT).waits_in == ENDPOINT, "half of the lane is for those who wait"
    assert lanes.release(ENDPOINT) == [Work.DELIVER]
    assert lanes.reserve(ENDPOINT).waits_in is None
    assert lanes.waiting(Work.DELIVER) == {ENDPOINT: 3}
    lanes.clear_waiting(Work.DELIVER, ENDPOINT, 3)
    assert lanes.waiting(Work.DELIVER) == {}
    assert lanes.reserve(ENDPOINT).waits_in is None


def test_what_a_claim_was_promised_is_left_alone() -> None:
    lanes, _ = made()
    noted = lanes.mark_waiting(Work.DELIVER, ENDPOINT)
    lanes.reserve_for_claim(Work.DELIVER, ENDPOINT, lanes.room(Work.DELIVER, ENDPOINT))
    assert lanes.reserve(ENDPOINT).waits_in == ENDPOINT
    assert lanes.room(Work.DELIVER, RETRIES) == 0
    lanes.release_claim(Work.DELIVER, [ENDPOINT])
    lanes.clear_waiting(Work.DELIVER, ENDPOINT, noted)
    assert list(lanes.waiting(Work.DELIVER)) == [ENDPOINT], "one came meanwhile"
    assert lanes.reserve(ENDPOINT).waits_in is None


def test_a_claim_that_found_nothing_does_not_speak_for_what_came_after_it() -> None:
    lanes, _ = made(lambda: ConcurrencyLimit(max=1))
    assert lanes.reserve(ENDPOINT).waits_in is None
    assert lanes.reserve(ENDPOINT).waits_in == ENDPOINT
    [noted] = lanes.waiting(Work.DELIVER).values()
    assert lanes.reserve(ENDPOINT).waits_in == ENDPOINT
    lanes.clear_waiting(Work.DELIVER, ENDPOINT, noted)
    assert lanes.release(ENDPOINT)


def test_a_release_tells_who_waits() -> None:
    lanes, _ = made()
    lanes.reserve(ENDPOINT)
    assert lanes.release(ENDPOINT) == []
    lanes.acquire(Work.DELIVER, ENDPOINT)
    assert lanes.mark_waiting(Work.DELIVER, ENDPOINT) == 1
    assert lanes.release(ENDPOINT) == [Work.DELIVER]


@pytest.mark.parametrize(
    ("ends", "waits", "others"),
    [
        ((Work.DELIVER, ENDPOINT), (Work.DELIVER, RETRIES), "ep_2"),
        ((Work.DELIVER, RETRIES), (Work.DELIVER, ENDPOINT), "ep_2"),
        ((Work.POLL, ACCOUNT), (Work.SUBMIT, ACCOUNT), "aiml"),
        ((Work.SUBMIT, ACCOUNT), (Work.POLL, ACCOUNT), "aiml"),
    ],
)
def test_lanes_that_share_slots_make_room_for_each_other(
    ends: tuple[Work, str], waits: tuple[Work, str], others: str
) -> None:
    lanes, _ = made()
    for work, name in (waits, (waits[0], others)):
        lanes.mark_waiting(work, name)
    lanes.acquire(*ends)
    assert lanes.release(ends[1], ends[0]) == [waits[0]]
    lanes.clear_waiting(*waits, 1)
    lanes.acquire(*ends)
    assert lanes.release(ends[1], ends[0]) == []


@pytest.mark.parametrize(
    ("rate", "burst", "after"),
    [(1.0, 1, [0, 1, 1]), (10.0, 10, [5, 10, 10]), (0.5, 1, [0, 0, 1]), (2.5, 2, [1, 2, 2])],
)
def test_a_rate_is_kept(rate: float, burst: int, after: list[int]) -> None:
    lanes, watch = made(lambda: ConcurrencyLimit(max=100, rate=rate))
    assert full(lanes, ACCOUNT, Work.SUBMIT) == burst
    rooms = []
    for passed in (0.5, 0.5, 1.0):
        watch.seconds += passed
        rooms.append(lanes.room(Work.SUBMIT, ACCOUNT))
    assert rooms == after


def test_a_rate_does_not_widen_a_lane() -> None:
    lanes, watch = made(lambda: ConcurrencyLimit(max=2, rate=100.0))
    assert full(lanes, ACCOUNT, Work.SUBMIT) == 2
    watch.seconds += 10
    assert lanes.room(Work.SUBMIT, ACCOUNT) == 0


def test_a_lane_opens_when_its_hold_ends() -> None:
    lanes, watch = made()
    told = [lanes.opens_in(Work.DELIVER, ENDPOINT)]
    lanes.hold(Work.DELIVER, ENDPOINT, 60)
    for passed in (0, 59, 1):
        watch.seconds += passed
        told.append(lanes.opens_in(Work.DELIVER, RETRIES))
    assert told == [0, 60, 1, 0]


def test_a_full_lane_opens_when_another_ends() -> None:
    lanes, _ = made()
    full(lanes, RETRIES)
    told = [lanes.opens_in(Work.DELIVER, name) for name in (RETRIES, ENDPOINT)]
    full(lanes)
    lanes.hold(Work.DELIVER, ENDPOINT, 60)
    assert [*told, lanes.opens_in(Work.DELIVER, ENDPOINT)] == [None, 0, None]


def test_a_blocked_account_opens_for_its_probe() -> None:
    lanes, watch = made(lambda: ConcurrencyLimit(max=16, rate=10.0))
    lanes.block(ACCOUNT, blocked=True, probe_in=5.0)
    told = [lanes.opens_in(Work.SUBMIT, ACCOUNT)]
    watch.seconds += 5
    told.append(lanes.opens_in(Work.SUBMIT, ACCOUNT))
    lanes.acquire(Work.SUBMIT, ACCOUNT)
    assert [*told, lanes.opens_in(Work.SUBMIT, ACCOUNT)] == [5, 0, None]


@pytest.mark.parametrize(
    ("rate", "live", "opens"), [(1.0, 1, 1.0), (10.0, 1, 0.1), (0.5, 1, 2.0), (1.0, 4, 4.0)]
)
def test_a_lane_opens_when_its_rate_allows_one_more(rate: float, live: int, opens: float) -> None:
    lanes, watch = made(lambda: ConcurrencyLimit(max=100, rate=rate))
    lanes.share(live)
    full(lanes, ACCOUNT, Work.SUBMIT)
    told = lanes.opens_in(Work.SUBMIT, ACCOUNT)
    assert told == pytest.approx(opens)
    watch.seconds += opens / 2
    assert lanes.opens_in(Work.SUBMIT, ACCOUNT) == pytest.approx(opens / 2)
    watch.seconds += opens / 2 + 0.001
    assert (lanes.opens_in(Work.SUBMIT, ACCOUNT), lanes.room(Work.SUBMIT, ACCOUNT)) == (0, 1)


STEPS = st.sampled_from(["take", "retry", "release", "succeeded", "failed", "hold", "pass"])


@BOUNDED
@given(st.lists(STEPS, max_size=60), st.integers(1, 12))
def test_no_story_overfills_a_lane(steps: list[str], top: int) -> None:
    lanes, watch = made(lambda: ConcurrencyLimit(max=top, adaptive=True))
    under_way: list[str] = []
    for step in steps:
        name = RETRIES if step == "retry" else ENDPOINT
        if step in {"take", "retry"} and lanes.room(Work.DELIVER, name) > 0:
            lanes.acquire(Work.DELIVER, name)
            under_way.append(name)
        elif step == "release" and under_way:
            lanes.release(under_way.pop())
        elif step in {"succeeded", "failed"}:
            getattr(lanes, step)(name)
        elif step == "hold":
            lanes.hold(Work.DELIVER, name, 5.0)
        watch.seconds += 3.0 if step == "pass" else 0.0
        for one in (ENDPOINT, RETRIES):
            assert (lanes.opens_in(Work.DELIVER, one) == 0) == (lanes.room(Work.DELIVER, one) > 0)
        assert len(under_way) <= top
        assert under_way.count(RETRIES) <= max(1, top // 2)
    watch.seconds += 10
    for name in under_way:
        lanes.release(name)
    assert lanes.lane(Work.DELIVER, ENDPOINT).slots.in_flight == 0
    assert lanes.room(Work.DELIVER, ENDPOINT) >= min(top, UNPROVEN)


def test_two_threads_never_share_a_slot() -> None:
    lanes, _ = made(lambda: ConcurrencyLimit(max=50))
    taken: list[int] = []

    def take_all() -> None:
        taken.append(sum(lanes.reserve(ENDPOINT).waits_in is None for _ in range(50)))

    threads = [threading.Thread(target=take_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 50


@BOUNDED
@given(
    st.lists(st.tuples(st.sampled_from([ENDPOINT, RETRIES]), st.integers(0, 9)), max_size=30),
    st.integers(1, 9),
)
def test_claims_of_lanes_that_share_slots_never_take_more_than_there_are(
    claims: list[tuple[str, int]], top: int
) -> None:
    lanes, _ = made(lambda: ConcurrencyLimit(max=top))
    for name, due in claims:
        lanes.reserve_for_claim(Work.DELIVER, name, 0)
        room = lanes.room(Work.DELIVER, name)
        lanes.reserve_for_claim(Work.DELIVER, name, room)
        lanes.reserve_for_claim(Work.DELIVER, name, min(room, due))
        slots = lanes.lane(Work.DELIVER, name).slots
        assert slots.in_flight + slots.reserved <= top
        if due > 4:
            lanes.release_claim(Work.DELIVER, [ENDPOINT, RETRIES])
            assert slots.reserved == 0
            for _ in range(min(room, due)):
                lanes.acquire(Work.DELIVER, name)
        assert slots.in_flight <= top


@pytest.mark.parametrize("slots", [1, 2, 3, 16])
@pytest.mark.parametrize("hungry", [Work.SUBMIT, Work.POLL])
def test_no_kind_of_work_keeps_every_slot_of_an_account_from_another(slots: int, hungry: Work) -> None:
    lanes, _ = made(lambda: ConcurrencyLimit(max=slots))
    other = Work.POLL if hungry is Work.SUBMIT else Work.SUBMIT
    under_way = [hungry] * full(lanes, ACCOUNT, hungry)
    for work in (hungry, other):
        lanes.mark_waiting(work, ACCOUNT)
    for _ in range(2 * slots):
        lanes.release(ACCOUNT, under_way.pop(0))
        turn = next(work for work in (hungry, other) if lanes.room(work, ACCOUNT))
        lanes.acquire(turn, ACCOUNT)
        under_way.append(turn)
    assert len(under_way) == slots
    assert abs(under_way.count(hungry) - under_way.count(other)) <= 1


def test_a_kind_of_work_that_cannot_start_takes_no_turns() -> None:
    lanes, _ = made(lambda: ConcurrencyLimit(max=4))
    lanes.mark_waiting(Work.SUBMIT, ACCOUNT)
    assert lanes.room(Work.POLL, ACCOUNT) == 2
    lanes.block(ACCOUNT, blocked=True, probe_in=5.0)
    assert lanes.room(Work.POLL, ACCOUNT) == 4
    assert lanes.others(Work.POLL, ACCOUNT) == [Work.SUBMIT]
    lanes.clear_waiting(Work.SUBMIT, ACCOUNT, 1)
    assert lanes.others(Work.POLL, ACCOUNT) == []


def test_the_last_token_of_a_rate_goes_to_each_kind_in_turn() -> None:
    lanes, watch = made(lambda: ConcurrencyLimit(max=16, rate=1.0))
    for work in (Work.SUBMIT, Work.POLL):
        lanes.mark_waiting(work, ACCOUNT)
    turns = []
    for _ in range(6):
        watch.seconds += 1
        able = [work for work in (Work.POLL, Work.SUBMIT) if lanes.room(work, ACCOUNT)]
        turns.append(able[0])
        lanes.acquire(able[0], ACCOUNT)
    assert turns[0] is not turns[1]
    assert turns[1:] == [turns[1], turns[0]] * 2 + [turns[1]]
