"""Retries that wait: moved to their lanes when they are due, a bounded number at once."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.domain.model import Work
from receiver.store import due
from receiver.store.due import Claimed, ClaimRequest, claim
from receiver.store.statements import Transaction, insert, ms
from tests.receiver.store_fixture import LEASE, StoreFixture, owed, store_fixture

ORIGINS = 40


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """Yield a service at rest that keeps a day of history."""
    async with store_fixture(tmp_path, retention_days="1") as made:
        yield made


async def retries(fixture: StoreFixture, spread: timedelta = timedelta(seconds=1)) -> None:
    """Add a retry for each of many origins, one after the other from an hour on."""
    at, step = ms(fixture.clock.at + timedelta(hours=1)), int(spread.total_seconds() * 1000)
    await waiting(fixture, *((f"https://c{n}.example~", at + n * step) for n in range(ORIGINS)))


async def waiting(fixture: StoreFixture, *lanes: tuple[str, int]) -> None:
    """Add a delivery to each of these lanes, due at its time."""

    def fill() -> Transaction[None]:
        yield insert("due", [(f"dlv_{lane}", "deliver", lane, at, 0, 0, 1, "") for lane, at in lanes])

    await fixture.store.write(fill)


async def look(fixture: StoreFixture, asked: list[str], **others: Any) -> Claimed:
    """Claim deliveries without room, and note in `asked` the lanes that were looked at."""
    now = fixture.clock.at

    def room(lane: str) -> int:
        asked.append(lane)
        return 0

    request = ClaimRequest(
        work=Work.DELIVER,
        owner="rpc_1",
        now=now,
        lease_until=now + LEASE,
        until=0.0,
        room=room,
        prepare=owed,
        **others,
    )
    return await fixture.store.write(lambda: claim(request))


async def to_endpoint(fixture: StoreFixture) -> None:
    """Add a retry to an endpoint, due later than those to the origins."""
    await waiting(fixture, ("ep_1~", ms(fixture.clock.at + timedelta(hours=1, minutes=30))))


async def test_a_claim_asks_no_lane_in_which_nothing_is_due(fixture: StoreFixture) -> None:
    await retries(fixture)
    asked: list[str] = []
    taken = await look(fixture, asked)
    assert (asked, taken.next_at) == ([], fixture.clock.at + timedelta(hours=1))
    fixture.clock.pass_(hours=1, seconds=2)
    taken = await look(fixture, asked)
    assert sorted(asked) == [f"https://c{n}.example~now" for n in range(3)]
    assert taken.next_at == fixture.clock.at + timedelta(seconds=1)


async def test_a_claim_moves_a_bounded_number_of_retries_and_comes_back(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "PROMOTED", 15)
    await retries(fixture, timedelta())
    fixture.clock.pass_(hours=2)
    numbers, nexts = [], []
    for _ in range(3):
        asked: list[str] = []
        nexts.append((await look(fixture, asked)).next_at)
        numbers.append(len(asked))
    assert numbers == [15, 30, ORIGINS]
    assert nexts == [fixture.clock.at, fixture.clock.at, None]


@pytest.mark.parametrize(
    ("places", "moved", "left", "again"),
    [
        (0, 0, True, timedelta(seconds=1)),
        (15, 15, True, timedelta(seconds=1)),
        (ORIGINS, ORIGINS, False, None),
        (100, ORIGINS, False, None),
    ],
)
async def test_a_claim_moves_as_many_to_strangers_as_there_are_places_and_all_to_endpoints(
    fixture: StoreFixture, places: int, moved: int, left: bool, again: timedelta | None
) -> None:
    await retries(fixture)
    await to_endpoint(fixture)
    fixture.clock.pass_(hours=2)
    asked: list[str] = []
    told: list[bool] = []
    taken = await look(fixture, asked, places=lambda: places, behind=told.append)
    assert sorted(asked) == sorted(["ep_1~now", *(f"https://c{n}.example~now" for n in range(moved))])
    assert told == [left]
    assert taken.next_at == (None if again is None else fixture.clock.at + again)


async def test_a_full_crowd_hides_no_moment_that_comes(fixture: StoreFixture) -> None:
    await retries(fixture)
    await to_endpoint(fixture)
    taken = await look(fixture, [], places=lambda: 0)
    assert taken.next_at == fixture.clock.at + timedelta(hours=1)


async def test_an_origin_that_is_due_this_moment_waits_for_a_place(fixture: StoreFixture) -> None:
    now = ms(fixture.clock.at)
    await waiting(fixture, ("https://a.example~", now), ("https://b.example~", now + 60_000))
    left: list[bool] = []
    taken = await look(fixture, [], places=lambda: 0, behind=left.append)
    assert (left, taken.next_at) == ([True], fixture.clock.at + timedelta(seconds=1))
    asked: list[str] = []
    taken = await look(fixture, asked, places=lambda: 2, behind=left.append)
    assert (asked, left[1]) == (["https://a.example~now"], False)
    assert taken.next_at == fixture.clock.at + timedelta(seconds=60)
