"""Unproven origins: the slots that they share, and the order in which their deliveries wait."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.model import Work
from receiver.store.due import RETRY_LANE, WAITING
from receiver.work.limits import ConcurrencyLimits
from receiver.work.slots import UNPROVEN, UNPROVEN_PLACES, ConcurrencyLimit, UnprovenOrigins
from tests.receiver.raw_server import BOUNDED

PLACES = 8
ORIGINS = [f"https://one-{number}.example" for number in range(4)]


def crowded(places: int = PLACES) -> ConcurrencyLimits:
    """Return lanes for unproven origins that share so many slots."""
    return ConcurrencyLimits(
        lambda _work, _name: ConcurrencyLimit(max=64, adaptive=True), lambda: 1000.0, UnprovenOrigins(places)
    )


def filled(lanes: ConcurrencyLimits) -> None:
    """Take every shared slot, two for each origin."""
    for name in ORIGINS * 2:
        assert lanes.reserve(name).waits_in is None
    assert lanes.unproven_room() == 0


def test_a_full_crowd_lets_no_stranger_start_and_everybody_else() -> None:
    lanes = crowded()
    for _ in range(3):
        lanes.succeeded("https://proved.example")
    filled(lanes)
    assert lanes.reserve("https://new.example").waits_in == "https://new.example" + WAITING
    assert lanes.room(Work.DELIVER, ORIGINS[0]) == lanes.room(Work.DELIVER, ORIGINS[0] + RETRY_LANE) == 0
    assert lanes.opens_in(Work.DELIVER, ORIGINS[0]) is None
    assert lanes.reserve("https://proved.example").waits_in is None
    assert lanes.room(Work.DELIVER, "https://proved.example") == UNPROVEN + 3 - 1
    assert lanes.reserve("ep_1").waits_in is None
    assert lanes.room(Work.POLL, "aiml") > 0


def test_a_reserved_slot_is_true_and_a_place_in_the_line_is_not() -> None:
    lanes = crowded()
    assert bool(lanes.reserve(ORIGINS[0])) is True
    lanes.release(ORIGINS[0])
    filled(lanes)
    assert bool(lanes.reserve("https://new.example")) is False


def test_the_crowd_has_a_bound_unless_told() -> None:
    lanes = ConcurrencyLimits(lambda _work, _name: ConcurrencyLimit(max=64, adaptive=True), lambda: 1000.0)
    began = sum(
        lanes.reserve(f"https://one-{number}.example").waits_in is None
        for number in range(UNPROVEN_PLACES + 9)
    )
    assert began == UNPROVEN_PLACES == 512


def test_those_behind_are_claimed_for_once_a_quarter_is_free() -> None:
    lanes = crowded()
    filled(lanes)
    assert lanes.release(ORIGINS[0]) == [], "nothing waits"
    assert lanes.reserve(ORIGINS[0]).waits_in is None
    waits = lanes.reserve("https://new.example").waits_in
    assert waits is not None
    lanes.mark_waiting(Work.DELIVER, waits)
    assert lanes.waiting(Work.DELIVER) == {}, "they lie in the store"
    assert lanes.release(ORIGINS[0]) == []
    assert lanes.opens_in(Work.DELIVER, waits) is None
    assert lanes.release(ORIGINS[1]) == [Work.DELIVER]
    assert lanes.opens_in(Work.DELIVER, waits) == 0


def test_those_that_come_line_up_after_those_behind() -> None:
    lanes = crowded()
    filled(lanes)
    assert lanes.reserve("https://new.example").waits_in is not None
    lanes.release(ORIGINS[0])
    assert lanes.reserve("https://newer.example").waits_in == "https://newer.example" + WAITING
    lanes.set_unproven_backlog(False)
    assert lanes.reserve("https://newest.example").waits_in is None


def test_a_claim_that_finds_no_place_in_the_crowd_is_woken_by_its_end() -> None:
    lanes = crowded(places=4)
    for _ in range(UNPROVEN):
        lanes.acquire(Work.DELIVER, ORIGINS[0])
    assert lanes.room(Work.DELIVER, ORIGINS[1] + RETRY_LANE) == 0
    assert lanes.release(ORIGINS[0]) == [Work.DELIVER]


@BOUNDED
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["reserve", "claim", "release", "succeeded", "failed"]),
            st.sampled_from([*ORIGINS, "ep_1"]),
        ),
        max_size=60,
    )
)
def test_the_crowd_counts_the_calls_of_those_that_have_not_proved_themselves(
    steps: list[tuple[str, str]],
) -> None:
    lanes, under_way = crowded(), Counter[str]()
    for step, name in steps:
        if step == "reserve":
            under_way[name] += lanes.reserve(name).waits_in is None
        elif step == "claim":
            lanes.reserve_for_claim(Work.DELIVER, name, lanes.room(Work.DELIVER, name))
            for _ in range(min(1, lanes.lane(Work.DELIVER, name).reserved)):
                lanes.acquire(Work.DELIVER, name)
                under_way[name] += 1
            lanes.release_claim(Work.DELIVER, [name])
        elif step == "release" and under_way[name]:
            lanes.release(name)
            under_way[name] -= 1
        elif step in {"succeeded", "failed"}:
            getattr(lanes, step)(name)
        strange = [one for one in ORIGINS if lanes.lane(Work.DELIVER, one).slots.current <= UNPROVEN]
        assert lanes.unproven.taken == sum(under_way[one] for one in strange)
        lanes.set_unproven_backlog(False)
    for name in under_way.elements():
        lanes.release(name)
    assert lanes.unproven.taken == 0
