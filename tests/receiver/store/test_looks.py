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
from tests.receiver.store_fixture import LEASE, StoreFixture, owed, store_fixture, told, word

ORIGINS = 40


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """A service at rest that keeps a day of history."""
    async with store_fixture(tmp_path, retention_days="1") as made:
        yield made


# Claims.


async def retries(fixture: StoreFixture, spread: timedelta = timedelta(seconds=1)) -> None:
    """A retry for each of many origins: one after the other from an hour on."""

    at, step = ms(fixture.clock.at + timedelta(hours=1)), int(spread.total_seconds() * 1000)
    await waiting(fixture, *((f"https://c{n}.example~", at + n * step) for n in range(ORIGINS)))


async def waiting(fixture: StoreFixture, *lanes: tuple[str, int]) -> None:
    """A delivery in each of these lanes that waits for its moment."""

    def fill() -> Transaction[None]:
        yield insert("due", [(f"dlv_{lane}", "deliver", lane, at, 0, 0, 1, "") for lane, at in lanes])

    await fixture.store.write(fill)


async def look(fixture: StoreFixture, asked: list[str], **others: Any) -> Claimed:
    """A claim of deliveries that notes the lanes it asks for."""
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


async def to_endpoint(fixture: StoreFixture) -> None:
    """A retry to an endpoint that is due later than those to the origins."""
    await waiting(fixture, ("ep_1~", ms(fixture.clock.at + timedelta(hours=1, minutes=30))))


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


# The feed.


async def feed(fixture: StoreFixture, after: int | str | None, *wanted: str, job: str | None = None) -> Page:
    """A piece of the feed."""
    return await fixture.store.read(events.feed(after, wanted, [], job, 50))


async def failed(fixture: StoreFixture) -> str:
    """A job that failed."""
    job = await fixture.submitted()
    await fixture.hear(word(job, fixture, told(Phase.FAILED)))
    return job.id


@pytest.mark.parametrize("narrowed", ["type", "job"])
async def test_a_reader_of_what_is_seldom_keeps_its_place(fixture: StoreFixture, narrowed: str) -> None:
    first = await failed(fixture)
    how = {"job": first} if narrowed == "job" else {}
    wanted = ["job.succeeded"] if narrowed == "type" else []
    page = await feed(fixture, None, *wanted, **how)
    for _ in range(4):
        await failed(fixture)
        fixture.clock.pass_(hours=13)
        page = await feed(fixture, page.after, *wanted, **how)
        assert (page.lost, list(page.events), page.more) == (False, [], False)
        await fixture.services.retention.sweep()
    assert page.after == (await feed(fixture, None)).after


async def test_a_look_at_the_feed_is_bounded_and_passes_nothing_by(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "SCAN", 3)
    wanted = []
    for number in range(11):
        job = await fixture.submitted()
        phase = Phase.SUCCEEDED if number in {4, 10} else Phase.FAILED
        [recorded] = await fixture.hear(word(job, fixture, told(phase)))
        wanted += [event.id for event in recorded.events if event.type == "job.succeeded"]
    found, places, page = [], [], Page(events=(), after=0, more=True)
    while page.more:
        page = await feed(fixture, page.after or None, "job.succeeded")
        found += [event.id for event in page.events]
        places.append(page.after)
    assert found == wanted
    assert places == [3, 6, 9, 11]


# Lists.


async def test_a_list_that_no_index_knows_looks_at_so_many_and_tells_where_to_go_on(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "SCAN", 3)
    await fixture.endpoint("ep_1", "job.failed")
    for _ in range(7):
        await failed(fixture)
    oldest, *others = await fixture.column("select id from delivery order by id")
    await fixture.write("update delivery set state = 'delivered' where id = :id", id=oldest)
    for endpoint in (None, "ep_1"):
        wanted = deliveries.DeliveryFilter(endpoint=endpoint, state="delivered")
        places, found = [], []
        while True:
            listed = await fixture.store.read(deliveries.search(wanted))
            found += [one.id for one in listed.found]
            places.append(listed.place)
            if listed.place is None:
                break
            wanted = replace(wanted, before=listed.place)
        assert (found, places) == ([oldest], [others[3], others[0], None])


@pytest.mark.parametrize("state", ["exhausted", "canceled"])
async def test_seldom_ends_are_found_among_many(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(deliveries, "SCAN", 1)
    await fixture.endpoint("ep_1", "job.failed")
    for _ in range(3):
        await failed(fixture)
    oldest, *_ = await fixture.column("select id from delivery order by id")
    await fixture.write("update delivery set state = :state where id = :id", id=oldest, state=state)
    listed = await fixture.store.read(deliveries.search(deliveries.DeliveryFilter(state=state)))
    assert ([one.id for one in listed.found], listed.place) == ([oldest], None)


async def test_jobs_are_found_by_any_states(fixture: StoreFixture) -> None:
    ended = await failed(fixture)
    queued, pending = await fixture.submitted(), await fixture.added()
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
        found = await fixture.store.read(jobs.search(jobs.JobFilter(state=states)))
        assert [job.id for job in found] == expected, states


# A start.


async def test_a_start_asks_for_the_keys_of_what_is_open_only(tmp_path: Path) -> None:
    foreign = b"0badc0de" + b"x" * 40
    async with store_fixture(tmp_path) as fixture:
        job = await fixture.submitted(callback_url="https://me.example/", callback_secret=foreign)
        await fixture.hear(word(job, fixture, told(Phase.FAILED)))
    async with store_fixture(tmp_path) as fixture:
        fixture.clock.pass_(days=1)
        await fixture.submitted(callback_url="https://me.example/", callback_secret=foreign)
    with pytest.raises(Misconfigured, match="0badc0de"):
        async with store_fixture(tmp_path):
            pass
