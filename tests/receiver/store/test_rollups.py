"""The rollups in a real store: changes count at once, and add up in their intervals."""

from datetime import UTC, datetime, timedelta
from functools import partial

from receiver.domain.statistics import KEPT, Sample
from receiver.store import rollups
from receiver.store.migrations import migrations
from receiver.store.rollups import Interval
from receiver.store.statements import Transaction, query
from tests.engines import ENGINES
from tests.receiver.store_fixture import StoreFixture

NOON = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
AT = int(NOON.timestamp())
FAILED: Sample = ("jobs", ("aiml", "video", "failed", "poll"), None)
DONE: Sample = ("jobs", ("aiml", "video", "succeeded", "callback"), None)
OTHER: Sample = ("jobs", ("gately", "image", "succeeded", "poll"), None)


def counting(samples: list[Sample], at: datetime) -> Transaction[None]:
    """Add samples."""
    yield rollups.changes(samples, at)


async def count(fixture: StoreFixture, *samples: Sample, minute: int = 0) -> None:
    """Add samples in the minute after noon."""
    at = NOON + timedelta(minutes=minute, seconds=7)
    await fixture.store.write(partial(counting, list(samples), at))


async def fold(fixture: StoreFixture) -> int:
    """Fold the first changes. Returns their number."""
    unfolded = rollups.Unfolded()
    unfolded.add(await fixture.store.read(rollups.unfolded(unfolded.last)))
    return await fixture.store.write(partial(rollups.fold, unfolded))


async def read(
    fixture: StoreFixture, *by: str, step: int = 60, minutes: int = 60
) -> list[tuple[int, tuple[str, ...], int]]:
    """Return the minute, the labels and the count of each interval of the hour after noon."""
    until = AT + minutes * 60
    found = await fixture.store.read(rollups.read("jobs", by, AT, until, step))
    sums: dict[tuple[int, tuple[str, ...]], int] = {}
    for one in found:
        key = (one.at - AT) // 60, one.labels
        sums[key] = sums.get(key, 0) + one.count
    return sorted((minute, labels, number) for (minute, labels), number in sums.items())


async def test_changes_count_before_and_after_they_are_folded(fixture: StoreFixture) -> None:
    await count(fixture, FAILED, DONE, DONE, OTHER)
    await count(fixture, DONE, minute=3)
    await count(fixture, OTHER, minute=12)
    told = [(0, ("aiml",), 3), (0, ("gately",), 1), (3, ("aiml",), 1), (12, ("gately",), 1)]
    assert await read(fixture, "account") == told
    assert await fold(fixture) == 3
    assert await fold(fixture) == 0
    assert await read(fixture, "account") == told
    # A change and an interval of the same minute are one.
    await count(fixture, DONE)
    assert (await read(fixture, "account"))[0] == (0, ("aiml",), 4)
    await fold(fixture)
    assert (await read(fixture, "account"))[0] == (0, ("aiml",), 4)


async def test_every_step_and_label_gives_the_same_sums(fixture: StoreFixture) -> None:
    for minute in (0, 1, 11, 59):
        await count(fixture, DONE, FAILED, minute=minute)
    await fold(fixture)
    await count(fixture, OTHER, minute=61)
    assert await read(fixture, step=600) == [(0, (), 4), (10, (), 2), (50, (), 2)]
    assert await read(fixture, step=3600, minutes=120) == [(0, (), 8), (60, (), 1)]
    assert await read(fixture, step=7200, minutes=120) == [(0, (), 9)]
    assert await read(fixture, "outcome", "completed_by", step=3600, minutes=120) == [
        (0, ("failed", "poll"), 4),
        (0, ("succeeded", "callback"), 4),
        (60, ("succeeded", "poll"), 1),
    ]


async def test_a_reading_may_be_narrowed_to_values_of_labels(fixture: StoreFixture) -> None:
    await count(fixture, FAILED, DONE, DONE, OTHER)
    for _ in range(2):
        for account, number in (("aiml", 3), ("gately", 1), ("none", 0)):
            found = await fixture.store.read(
                rollups.read("jobs", ["account"], AT, AT + 60, 60, {"account": account})
            )
            assert sum(one.count for one in found) == number
            assert {one.labels for one in found} <= {(account,)}
        await fold(fixture)


async def test_values_are_kept_by_bucket_with_their_sum(fixture: StoreFixture) -> None:
    took = [("delivery_attempt_seconds", ("ep_1",), seconds) for seconds in (0.004, 0.002, 0.2)]
    await count(fixture, *took)
    for _ in range(2):
        found = await fixture.store.read(
            rollups.read("delivery_attempt_seconds", ["endpoint"], AT, AT + 60, 60)
        )
        assert sorted((one.bucket, one.count, round(one.total, 6)) for one in found) == [
            (0, 2, 0.006),
            (5, 1, 0.2),
        ]
        assert {one.labels for one in found} == {("ep_1",)}
        assert isinstance(found[0], Interval)
        await fold(fixture)


async def test_a_fold_takes_a_bounded_number_of_changes(fixture: StoreFixture) -> None:
    for number in range(rollups.LOOK + 1):
        await count(fixture, ("events", (f"source.s{number}",), None))
    assert [await fold(fixture) for _ in range(3)] == [rollups.LOOK, 1, 0]


async def test_changes_that_are_gone_are_not_folded_again(fixture: StoreFixture) -> None:
    await count(fixture, DONE)
    await count(fixture, DONE)
    # Another replica has read the same changes, and one more.
    both = [rollups.Unfolded(), rollups.Unfolded()]
    for one in both:
        one.add(await fixture.store.read(rollups.unfolded(one.last)))
        await count(fixture, DONE)
    assert [await fixture.store.write(partial(rollups.fold, one)) for one in both] == [2, 0]
    assert await read(fixture) == [(0, (), 4)]
    assert await fold(fixture) == 2
    assert await read(fixture) == [(0, (), 4)]


async def test_an_upgrade_keeps_the_changes_of_the_table_before(fixture: StoreFixture) -> None:
    sql = {one.version: one.sql for one in migrations("sqlite" if ENGINES.sqlite else "postgresql")}
    await count(fixture, DONE)
    await fold(fixture)
    before = "create table rollup_change" + sql[11].rpartition("create table rollup_change")[2]
    row = f"'jobs', {AT}, 'aiml', 'video', 'succeeded', 'callback', -1, 2, 0.5"
    rows = f"insert into rollup_change values (1, {row}), (2, {row.replace(str(AT), str(AT + 660))})"

    def upgrade() -> Transaction[None]:
        for one in ("drop table rollup_change", before.strip("; \n"), rows, *sql[14].split(";")):
            if one.strip():
                yield query(one)

    await fixture.store.write(upgrade)
    assert await read(fixture) == [(0, (), 3), (11, (), 2)]
    assert await read(fixture, step=600) == [(0, (), 3), (10, (), 2)]
    found = await fixture.store.read(rollups.read("jobs", ["account"], AT, AT + 3600, 3600))
    assert [(one.labels, one.count, one.total) for one in found] == [(("aiml",), 5, 1.0)]
    await count(fixture, DONE)
    assert (await fold(fixture), await read(fixture, step=600)) == (1, [(0, (), 4), (10, (), 2)])


async def test_intervals_of_each_width_are_kept_for_their_time(fixture: StoreFixture) -> None:
    await count(fixture, DONE)
    await fold(fixture)
    left = []
    for seconds in sorted(KEPT.values()):
        for late in (0, 1):
            now = NOON + timedelta(seconds=seconds + late)
            while await fixture.store.write(partial(rollups.forget, now, 10)):
                pass
            left.append(await fixture.column("select grain from rollup order by grain"))
    assert left == [[60, 600, 3600], [600, 3600], [600, 3600], [3600], [3600], []]


async def test_old_intervals_are_removed_however_many_there_are(fixture: StoreFixture) -> None:
    for minute in range(30):
        many: list[Sample] = [("events", (f"source.s{number}",), None) for number in range(20)]
        await count(fixture, *many, minute=minute)
    while await fold(fixture):
        pass
    now = NOON + timedelta(seconds=KEPT[60], minutes=20)
    removed = [await fixture.store.write(partial(rollups.forget, now, 5)) for _ in range(6)]
    # Five minutes at a time, each with twenty rows.
    assert removed == [100, 100, 100, 100, 0, 0]
    assert await fixture.column("select count(*) from rollup where grain = 60") == [200]
