"""How far one look goes: claims, the feed, lists and a start, whatever there is."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import Phase
from receiver.domain.errors import Misconfigured
from receiver.domain.model import Work
from receiver.store import deliveries, due, events, jobs
from receiver.store.due import Claimed, ClaimRequest, claim
from receiver.store.events import Page
from receiver.store.statements import Transaction, insert, ms
from tests.receiver.store_fixture import LEASE, Storehouse, owed, storehouse, told, word

ORIGINS = 40


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Storehouse]:
    """A service at rest that keeps a day of history."""
    async with storehouse(tmp_path, retention_days="1") as made:
        yield made


# Claims.


async def retries(house: Storehouse, spread: timedelta = timedelta(seconds=1)) -> None:
    """A retry for each of many origins: one after the other from an hour on."""

    at, step = ms(house.hands.at + timedelta(hours=1)), int(spread.total_seconds() * 1000)
    await waiting(house, *((f"https://c{n}.example~", at + n * step) for n in range(ORIGINS)))


async def waiting(house: Storehouse, *lanes: tuple[str, int]) -> None:
    """A delivery in each of these lanes that waits for its moment."""

    def fill() -> Transaction[None]:
        yield insert("due", [(f"dlv_{lane}", "deliver", lane, at, 0, 0, 1, "") for lane, at in lanes])

    await house.store.write(fill)


async def look(house: Storehouse, asked: list[str], **others: Any) -> Claimed:
    """A claim of deliveries that notes the lanes it asks for."""
    now = house.hands.at

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
    return await house.store.write(lambda: claim(request))


async def test_a_claim_asks_no_lane_in_which_nothing_is_due(house: Storehouse) -> None:
    await retries(house)
    asked: list[str] = []
    taken = await look(house, asked)
    assert (asked, taken.next_at) == ([], house.hands.at + timedelta(hours=1))
    house.hands.pass_(hours=1, seconds=2)
    taken = await look(house, asked)
    assert sorted(asked) == [f"https://c{n}.example~now" for n in range(3)]
    assert taken.next_at == house.hands.at + timedelta(seconds=1)


async def test_a_claim_moves_a_bounded_number_of_retries_and_comes_back(
    house: Storehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "PROMOTED", 15)
    await retries(house, timedelta())
    house.hands.pass_(hours=2)
    numbers, nexts = [], []
    for _ in range(3):
        asked: list[str] = []
        nexts.append((await look(house, asked)).next_at)
        numbers.append(len(asked))
    assert numbers == [15, 30, ORIGINS]
    assert nexts == [house.hands.at, house.hands.at, None]


async def to_endpoint(house: Storehouse) -> None:
    """A retry to an endpoint that is due later than those to the origins."""
    await waiting(house, ("ep_1~", ms(house.hands.at + timedelta(hours=1, minutes=30))))


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
    house: Storehouse, places: int, moved: int, left: bool, again: timedelta | None
) -> None:
    await retries(house)
    await to_endpoint(house)
    house.hands.pass_(hours=2)
    asked: list[str] = []
    told: list[bool] = []
    taken = await look(house, asked, places=lambda: places, behind=told.append)
    assert sorted(asked) == sorted(["ep_1~now", *(f"https://c{n}.example~now" for n in range(moved))])
    assert told == [left]
    assert taken.next_at == (None if again is None else house.hands.at + again)


async def test_a_full_crowd_hides_no_moment_that_comes(house: Storehouse) -> None:
    await retries(house)
    await to_endpoint(house)
    taken = await look(house, [], places=lambda: 0)
    assert taken.next_at == house.hands.at + timedelta(hours=1)


# The feed.


async def feed(house: Storehouse, after: int | str | None, *wanted: str, job: str | None = None) -> Page:
    """A piece of the feed."""
    return await house.store.read(events.feed(after, wanted, [], job, 50))


async def failed(house: Storehouse) -> str:
    """A job that failed."""
    job = await house.submitted()
    await house.hear(word(job, house, told(Phase.FAILED)))
    return job.id


@pytest.mark.parametrize("narrowed", ["type", "job"])
async def test_a_reader_of_what_is_seldom_keeps_its_place(house: Storehouse, narrowed: str) -> None:
    first = await failed(house)
    how = {"job": first} if narrowed == "job" else {}
    wanted = ["job.succeeded"] if narrowed == "type" else []
    page = await feed(house, None, *wanted, **how)
    for _ in range(4):
        await failed(house)
        house.hands.pass_(hours=13)
        page = await feed(house, page.after, *wanted, **how)
        assert (page.lost, list(page.events), page.more) == (False, [], False)
        await house.services.retention.sweep()
    assert page.after == (await feed(house, None)).after


async def test_a_look_at_the_feed_is_bounded_and_passes_nothing_by(
    house: Storehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "SCAN", 3)
    wanted = []
    for number in range(11):
        job = await house.submitted()
        phase = Phase.SUCCEEDED if number in {4, 10} else Phase.FAILED
        [recorded] = await house.hear(word(job, house, told(phase)))
        wanted += [event.id for event in recorded.events if event.type == "job.succeeded"]
    found, places, page = [], [], Page(events=(), after=0, more=True)
    while page.more:
        page = await feed(house, page.after or None, "job.succeeded")
        found += [event.id for event in page.events]
        places.append(page.after)
    assert found == wanted
    assert places == [3, 6, 9, 11]


# Lists.


async def test_a_list_that_no_index_knows_looks_at_so_many_and_tells_where_to_go_on(
    house: Storehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "SCAN", 3)
    await house.endpoint("ep_1", "job.failed")
    for _ in range(7):
        await failed(house)
    oldest, *others = await house.column("select id from delivery order by id")
    await house.write("update delivery set state = 'delivered' where id = :id", id=oldest)
    for endpoint in (None, "ep_1"):
        wanted = deliveries.DeliveryFilter(endpoint=endpoint, state="delivered")
        places, found = [], []
        while True:
            listed = await house.store.read(deliveries.search(wanted))
            found += [one.id for one in listed.found]
            places.append(listed.place)
            if listed.place is None:
                break
            wanted = replace(wanted, before=listed.place)
        assert (found, places) == ([oldest], [others[3], others[0], None])


@pytest.mark.parametrize("state", ["exhausted", "canceled"])
async def test_seldom_ends_are_found_among_many(
    house: Storehouse, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(deliveries, "SCAN", 1)
    await house.endpoint("ep_1", "job.failed")
    for _ in range(3):
        await failed(house)
    oldest, *_ = await house.column("select id from delivery order by id")
    await house.write("update delivery set state = :state where id = :id", id=oldest, state=state)
    listed = await house.store.read(deliveries.search(deliveries.DeliveryFilter(state=state)))
    assert ([one.id for one in listed.found], listed.place) == ([oldest], None)


async def test_jobs_are_found_by_any_states(house: Storehouse) -> None:
    ended = await failed(house)
    queued, pending = await house.submitted(), await house.added()
    rows: list[tuple[tuple[str, ...], list[str]]] = [
        (("failed",), [ended]),
        (("failed", "expired"), [ended]),
        (("queued",), [queued.id]),
        (("pending", "queued"), [pending.id, queued.id]),
        (("pending", "failed"), [pending.id, ended]),
        (("succeeded",), []),
        (("succeeded", "failed"), [ended]),
    ]
    for states, expected in rows:
        found = await house.store.read(jobs.search(jobs.JobFilter(state=states)))
        assert [job.id for job in found] == expected, states


# A start.


async def test_a_start_asks_for_the_keys_of_what_is_open_only(tmp_path: Path) -> None:
    foreign = b"0badc0de" + b"x" * 40
    async with storehouse(tmp_path) as house:
        job = await house.submitted(callback_url="https://me.example/", callback_secret=foreign)
        await house.hear(word(job, house, told(Phase.FAILED)))
    async with storehouse(tmp_path) as house:
        house.hands.pass_(days=1)
        await house.submitted(callback_url="https://me.example/", callback_secret=foreign)
    with pytest.raises(Misconfigured, match="0badc0de"):
        async with storehouse(tmp_path):
            pass
