"""Partitions of history: their ranges, the days without one, and the removal of those that are old."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.contract import Phase
from receiver.domain.model import Event, Job, Source, Work
from receiver.domain.reports import Action
from receiver.store import jobs, partitions, timeline
from receiver.store.partitions import DAY, Part, busy, drop, gaps, make, owed, parts
from receiver.store.statements import Transaction, ms
from tests.engines import ENGINES
from tests.receiver.store_fixture import StoreFixture, store_fixture, told, word

on_postgres = pytest.mark.usefixtures("on_postgres")
SPRING = datetime(2026, 4, 1, tzinfo=UTC)
"""A day long before the partitions that a start of the service creates."""
OLD = Part(ms(SPRING), ms(SPRING + timedelta(days=2)))
LATER = ms(SPRING + timedelta(days=30))


@pytest.fixture
async def fixture(on_postgres: None, tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """Yield the service with nothing at work."""
    async with store_fixture(tmp_path) as made:
        yield made


@pytest.fixture
async def spring(fixture: StoreFixture) -> StoreFixture:
    """Return the service at the first moment of `OLD`, which exists."""
    await fixture.store.alone(make([OLD]))
    fixture.clock.at = SPRING
    return fixture


def parts_of(fixture: StoreFixture) -> list[str]:
    """Return the names of the partitions of `event`, except the default one."""
    name = fixture.services.core.settings.database_url.rsplit("/", 1)[1].partition("?")[0]
    found = ENGINES.cluster.sql(
        name, "select relname from pg_class where relname ~ '^event_[0-9]+$' and relkind = 'r' order by 1"
    )
    return found.split()


async def ended(fixture: StoreFixture, job: Job | None = None) -> Job:
    """Return a job that succeeds now and whose event is delivered."""
    job = job or await fixture.submitted()
    [recorded] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
    for born in recorded.deliveries:
        await fixture.settle_born(born)
    return job


# The ranges of partitions.


def test_the_ids_of_a_partition_begin_with_its_bounds_in_hexadecimal() -> None:
    assert Part(DAY, 3 * DAY).ids("evt") == {"low": "evt_000005265c00", "high": "evt_00000f731400"}


@pytest.mark.parametrize(("days", "overdue"), [(4, False), (5, False), (6, True), (7, True)])
def test_a_partition_is_overdue_once_it_ended_before_its_own_length(days: int, overdue: bool) -> None:
    assert Part(2 * DAY, 4 * DAY).overdue(days * DAY) is overdue


@pytest.mark.parametrize(
    ("found", "since", "until", "missing"),
    [
        ([], 0, 0, []),
        ([], 0, 1, [(0, 2)]),
        ([], DAY + 7, 4 * DAY, [(1, 3), (3, 5)]),
        ([(0, 2)], 0, 2 * DAY, []),
        ([(0, 2)], DAY, 2 * DAY + 1, [(2, 4)]),
        ([(3, 5)], 0, 5 * DAY, [(0, 2), (2, 3)]),
        ([(0, 1), (2, 4), (6, 8)], 0, 7 * DAY, [(1, 2), (4, 6)]),
    ],
)
def test_missing_partitions_lie_between_the_existing_ones(
    found: list[tuple[int, int]], since: int, until: int, missing: list[tuple[int, int]]
) -> None:
    existing = [Part(low * DAY, high * DAY) for low, high in found]
    assert list(gaps(existing, since, until, 2)) == [Part(low * DAY, high * DAY) for low, high in missing]


@given(
    st.sets(st.integers(0, 19), max_size=8),
    st.integers(0, 20 * DAY),
    st.integers(0, 20 * DAY),
    st.integers(1, 7),
)
def test_old_and_new_partitions_cover_a_time_once(
    days: set[int], since: int, length: int, width: int
) -> None:
    found = [Part(day * DAY, (day + 1) * DAY) for day in sorted(days)]
    missing = list(gaps(found, since, since + length, width))
    assert list(gaps([*found, *missing], since, since + length, width)) == []
    ordered = sorted([*found, *missing], key=lambda part: part.low)
    assert all(one.high <= other.low for one, other in itertools.pairwise(ordered))
    assert all(0 < part.high - part.low <= width * DAY for part in missing)


# Partitions of a database.


async def test_partitions_are_listed_from_the_oldest(spring: StoreFixture) -> None:
    found = await spring.store.read(parts())
    assert found[0] == OLD
    assert [part.low for part in found] == sorted(part.low for part in found)


async def test_a_partition_that_another_replica_created_is_kept(spring: StoreFixture) -> None:
    before = await spring.store.read(parts())
    job = await spring.added()
    await spring.store.alone(make([OLD, Part(OLD.low + DAY, OLD.high + DAY)]))
    assert await spring.store.read(parts()) == before
    assert [kind for kind, *_ in await spring.evidence(job)] == [
        row["kind"] for row in await spring.query("select kind from evidence_20260401")
    ]


async def test_a_partition_is_kept_for_a_job_that_is_open_or_ended_too_late(spring: StoreFixture) -> None:
    assert not await spring.store.read(busy(OLD, LATER))
    job = await spring.submitted()
    assert await spring.store.read(busy(OLD, LATER))
    spring.clock.pass_(days=9)
    await ended(spring, job)
    at = ms(spring.clock.at)
    assert [await spring.store.read(busy(OLD, before)) for before in (at, at + 1)] == [True, False]


async def test_every_job_of_a_partition_is_looked_at_in_pages(
    spring: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "PAGE", 2)
    oldest = await spring.submitted()
    for _ in range(4):
        spring.clock.pass_(minutes=1)
        await ended(spring)
    assert await spring.store.read(busy(OLD, LATER))
    await ended(spring, oldest)
    assert not await spring.store.read(busy(OLD, LATER))


async def test_a_delivery_that_is_due_keeps_its_own_partition_and_that_of_its_event(
    spring: StoreFixture,
) -> None:
    await spring.endpoint()
    job = await spring.submitted()
    await spring.hear(word(job, spring, told(Phase.SUCCEEDED)))
    [claimed] = await spring.claim(Work.DELIVER)
    assert await spring.store.read(owed(OLD))
    assert await spring.store.read(busy(OLD, LATER))
    moved = Part(OLD.low - 2 * DAY, OLD.low)
    await spring.store.alone(make([moved]))
    await spring.write("update delivery set event = :event", event=f"evt_{moved.low:012x}")
    assert await spring.store.read(owed(moved))
    assert not await spring.store.alone(drop(OLD))
    await spring.settle(claimed.claim)
    assert not await spring.store.read(owed(moved))
    assert not await spring.store.read(busy(OLD, LATER))


async def test_a_dropped_partition_leaves_the_marks_of_the_feed(spring: StoreFixture) -> None:
    await ended(spring)
    spring.clock.at = datetime.fromtimestamp(OLD.high / 1000, UTC)
    await spring.store.alone(make([Part(OLD.high, OLD.high + 2 * DAY)]))
    kept = await ended(spring)
    first, last = await spring.column("select seq from event order by seq")
    assert await spring.store.alone(drop(OLD))
    assert OLD not in await spring.store.read(parts())
    assert await spring.column("select job from event") == [kept.id]
    marks = await spring.query("select key, value from meta where key like '%_until' order by key")
    assert [tuple(row) for row in marks] == [("issued_until", str(last)), ("removed_until", str(first))]


# Partitions and retention.


@on_postgres
async def test_history_is_dropped_in_parts_once_all_of_a_part_is_old(tmp_path: Path) -> None:
    async with store_fixture(tmp_path, retention_days="8") as fixture:
        sweep = fixture.services.retention.sweep
        await fixture.endpoint()
        old = await ended(fixture)
        assert parts_of(fixture) == ["event_20261121", "event_20261123"]
        fixture.clock.pass_(days=1, hours=1)
        still_open = await fixture.submitted()
        fixture.clock.pass_(days=1)
        young = await ended(fixture)
        await sweep()
        assert parts_of(fixture) == ["event_20261121", "event_20261123", "event_20261125"]
        fixture.clock.pass_(days=8)
        assert await sweep() == 0, "not all of the first part is old: a job that began in it is open"
        fixture.clock.pass_(days=2)
        assert await sweep() == 2, "it waited long enough: its old jobs went one by one"
        assert await fixture.store.read(jobs.get(old.id)) is None
        assert "event_20261121" in parts_of(fixture)
        assert "event_20261123" not in parts_of(fixture)
        assert await fixture.column("select job from event") == []
        await ended(fixture, still_open)
        assert await fixture.column("select job from event") == [still_open.id]
        fixture.clock.pass_(days=16)
        assert await sweep() == 1
        assert parts_of(fixture)[0] > "event_20261125"
        assert await fixture.store.read(jobs.get(young.id)) is None
        assert await fixture.column("select count(*) from event") == [0]
        fresh = await ended(fixture)
        assert await fixture.column("select job from event") == [fresh.id]


@on_postgres
async def test_history_from_before_the_parts_is_kept_and_removed_by_rows(fixture: StoreFixture) -> None:
    fixture.clock.at -= timedelta(days=400)
    old = await ended(fixture)
    assert await fixture.column("select count(*) from event_rest") == [1]
    fixture.clock.at += timedelta(days=400)
    assert await fixture.services.retention.sweep() == 1
    assert await fixture.store.read(jobs.get(old.id)) is None
    assert await fixture.column("select count(*) from event") == [0]


@on_postgres
async def test_an_event_of_what_lives_longer_than_history_is_kept(tmp_path: Path) -> None:
    async with store_fixture(tmp_path, retention_days="8") as fixture:
        endpoint = await fixture.endpoint("ep_1", "endpoint.*")
        fixture.clock.pass_(days=9)
        event = fixture.services.core.recorder.event(
            "endpoint.disabled", endpoint.id, "kind", {"id": endpoint.id}, fixture.clock.at
        )

        def telling() -> Transaction[list[Event]]:
            yield from ()
            return [event]

        await fixture.services.core.recorder.write(telling)
        fixture.clock.pass_(days=1)
        await fixture.services.retention.sweep()
        assert await fixture.column("select id from event") == [event.id]


@on_postgres
async def test_parts_come_and_go_under_load(tmp_path: Path) -> None:
    async with store_fixture(tmp_path, retention_days="8") as fixture:
        await fixture.endpoint("ep_1", "job.canceled")
        going = True

        async def living() -> None:
            while going:
                job = await fixture.added()
                await fixture.hear(word(job, fixture, source=Source.NOTE, verdict=Action.CANCEL))
                assert await fixture.store.read(timeline.timeline(job.id, None, 10))

        lives = [asyncio.create_task(living()) for _ in range(4)]
        for _ in range(12):
            fixture.clock.pass_(days=2)
            await fixture.services.retention.sweep()
        going = False
        await asyncio.gather(*lives)
        assert parts_of(fixture)[0] > "event_20261123"
