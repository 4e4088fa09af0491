"""The ring: which positions it covers, and its bounds in number, size and age."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.feed import ring as module
from receiver.feed.ring import Entry, Ring


def entry(seq: int, size: int = 10) -> Entry:
    """Return an entry at a position."""
    return Entry(seq=seq, type="job.running", job_id=None, frame=b"x" * size)


def after(ring: Ring, place: int) -> list[int]:
    """Return the positions in the ring after a place."""
    return [one.seq for one in ring.after(place)]


def test_an_empty_ring_covers_the_end_of_the_feed_only() -> None:
    ring = Ring(7)
    assert (ring.covers(6), ring.covers(7), ring.covers(8)) == (False, True, False)
    assert (ring.last, after(ring, 7)) == (7, [])


def test_events_are_read_after_a_place_also_between_two_positions() -> None:
    ring = Ring(7)
    ring.append([entry(9), entry(12)], 0.0)
    ring.append([entry(13)], 1.0)
    assert [after(ring, place) for place in (7, 8, 9, 11, 12, 13, 99)] == [
        [9, 12, 13],
        [9, 12, 13],
        [12, 13],
        [12, 13],
        [13],
        [],
        [],
    ]
    assert ring.last == 13


def test_the_oldest_events_go_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COUNT", 3)
    ring = Ring(0)
    ring.append([entry(seq) for seq in (1, 2, 3, 4, 5)], 0.0)
    assert (ring.since, after(ring, 2)) == (2, [3, 4, 5])
    assert (ring.covers(1), ring.covers(2)) == (False, True)


def test_the_oldest_events_go_when_they_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BYTES", 25)
    ring = Ring(0)
    ring.append([entry(1), entry(2), entry(3)], 0.0)
    assert (ring.since, after(ring, 1)) == (1, [2, 3])
    ring.append([entry(4, 26)], 0.0)
    assert (ring.since, ring.last, after(ring, 4)) == (4, 4, [])


def test_an_event_goes_when_it_is_too_old() -> None:
    ring = Ring(0)
    ring.append([entry(1)], 100.0)
    ring.append([entry(2)], 101.0)
    ring.trim(100.0 + module.AGE)
    assert after(ring, 0) == [1, 2]
    ring.trim(100.5 + module.AGE)
    assert (ring.since, after(ring, 1)) == (1, [2])
    ring.trim(102.0 + module.AGE)
    assert (ring.since, ring.last, after(ring, 2)) == (2, 2, [])


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 40), st.integers(1, 9)), max_size=30))
def test_what_it_covers_is_complete_and_within_its_bounds(steps: list[tuple[int, int, int]]) -> None:
    """Each step adds an event some positions and seconds later."""
    ring, place, now = Ring(0), 0, 0.0
    told: list[tuple[int, float]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "COUNT", 5)
        patch.setattr(module, "BYTES", 25)
        for further, seconds, size in steps:
            place, now = place + further, now + seconds
            told.append((place, now))
            ring.append([entry(place, size)], now)
            kept = after(ring, ring.since)
            assert kept == [seq for seq, _ in told if seq > ring.since]
            assert len(kept) <= 5
            assert sum(len(one.frame) for one in ring.after(ring.since)) <= 25
            assert all(now - at <= module.AGE for seq, at in told if seq > ring.since)
            assert ring.last == place
