"""Changes of due work: combined for each job of a transaction, and written to the rows that exist."""

from collections.abc import Sequence
from datetime import timedelta

from receiver.domain.model import ScheduledWork, Work
from receiver.store.due_changes import DueChange, DueChanges, Hasten, Keep, Replace
from receiver.store.rows import due_row
from receiver.store.statements import Transaction, insert, ms
from tests.receiver.store_fixture import START, StoreFixture

FENCE, NEW = 7, ms(START)
WAITS, LEASED, NOTHING = (10, 0, FENCE), (10, 1, FENCE), None
"""Stored due work: seconds from the start, whether it is leased, and the fence."""


def at(seconds: float, work: Work = Work.POLL, lane: str = "aiml", tries: int = 0) -> ScheduledWork:
    """Return due work so many seconds from the start."""
    return ScheduledWork(work, lane, START + timedelta(seconds=seconds), tries)


def stored(job_id: str, row: tuple[int, int, int]) -> tuple[object, ...]:
    """Return a poll that is due, as a row of `due`."""
    seconds, leased, fence = row
    owner = "rpc_1" if leased else None
    when = START + timedelta(seconds=seconds)
    return due_row(id=job_id, work=Work.POLL, lane="aiml", at=when, fence=fence, owner=owner)


SINGLE: dict[str, tuple[tuple[int, int, int] | None, DueChange, tuple[int, int, int] | None]] = {
    "kept": (WAITS, Keep(), WAITS),
    "kept where nothing is": (NOTHING, Keep(), None),
    "new": (NOTHING, Replace(at(5)), (5, 0, NEW)),
    "new for a hint": (NOTHING, Hasten(at(5)), (5, 0, NEW)),
    "replaced by later work": (WAITS, Replace(at(20)), (20, 0, FENCE + 1)),
    "replaced under a lease": (LEASED, Replace(at(20)), (20, 0, FENCE + 1)),
    "hastened": (WAITS, Hasten(at(5)), (5, 0, FENCE + 1)),
    "not delayed by a hint": (WAITS, Hasten(at(20)), WAITS),
    "not touched at the same time": (WAITS, Hasten(at(10)), WAITS),
    "not hastened under a lease": (LEASED, Hasten(at(5)), LEASED),
    "removed": (WAITS, Replace(None), None),
    "removed under a lease": (LEASED, Replace(None), None),
    "nothing to remove": (NOTHING, Replace(None), None),
}
COMBINED: dict[str, tuple[Sequence[DueChange], tuple[int, int, int] | None]] = {
    "the last replacement": ([Replace(at(5)), Replace(at(20))], (20, 0, FENCE + 1)),
    "a removal": ([Replace(at(5)), Replace(None)], None),
    "a replacement after a removal": ([Replace(None), Replace(at(5))], (5, 0, FENCE + 1)),
    "a hint after a removal": ([Replace(None), Hasten(at(5))], (5, 0, FENCE + 1)),
    "a sooner hint after a replacement": ([Replace(at(20)), Hasten(at(5))], (5, 0, FENCE + 1)),
    "a later hint after a replacement": ([Replace(at(5)), Hasten(at(20))], (5, 0, FENCE + 1)),
    "a replacement after a hint": ([Hasten(at(5)), Replace(at(20))], (20, 0, FENCE + 1)),
    "a replacement that is kept": ([Replace(at(20)), Keep()], (20, 0, FENCE + 1)),
    "two hints": ([Hasten(at(5)), Hasten(at(3))], LEASED),
}
"""Changes of one job, and its due work after them; it was leased before."""


async def written(
    fixture: StoreFixture, there: dict[str, tuple[int, int, int]], changes: Sequence[tuple[str, DueChange]]
) -> dict[str, tuple[int, int, int]]:
    """Write changes by job in one transaction. Returns the due work of every job after them."""
    due = DueChanges()
    for job_id, change in changes:
        due.add(job_id, change)

    def writing() -> Transaction[None]:
        yield insert("due", [stored(job_id, row) for job_id, row in there.items()])
        yield from due.write(START)

    await fixture.store.write(writing)
    rows = await fixture.query("select id, at, leased, fence from due")
    return {row["id"]: ((row["at"] - ms(START)) // 1000, row["leased"], row["fence"]) for row in rows}


async def test_a_change_is_written_by_its_kind_and_by_the_row_that_is_there(fixture: StoreFixture) -> None:
    there = {name: row for name, (row, _, _) in SINGLE.items() if row is not None}
    changes = [(name, change) for name, (_, change, _) in SINGLE.items()]
    after = await written(fixture, there, changes)
    assert {name: after.get(name) for name in SINGLE} == {name: end for name, (_, _, end) in SINGLE.items()}


async def test_changes_of_one_job_are_combined(fixture: StoreFixture) -> None:
    changes = [(name, change) for name, (many, _) in COMBINED.items() for change in many]
    after = await written(fixture, dict.fromkeys(COMBINED, LEASED), changes)
    assert {name: after.get(name) for name in COMBINED} == {name: end for name, (_, end) in COMBINED.items()}


async def test_of_two_hints_the_sooner_counts(fixture: StoreFixture) -> None:
    changes = [("a", Hasten(at(5))), ("b", Hasten(at(3))), ("a", Hasten(at(3))), ("b", Hasten(at(5)))]
    after = await written(fixture, {"a": WAITS}, changes)
    assert after == {"a": (3, 0, FENCE + 1), "b": (3, 0, NEW)}


async def test_new_work_brings_its_kind_its_lane_and_its_tries(fixture: StoreFixture) -> None:
    due = at(5, Work.SUBMIT, "minimax", tries=3)
    await written(fixture, {"there": LEASED}, [("there", Replace(due)), ("new", Replace(due))])
    rows = await fixture.query("select work, lane, tries from due order by id")
    assert [(row["work"], row["lane"], row["tries"]) for row in rows] == [("submit", "minimax", 3)] * 2
