"""Steps that the tests of the store share: a job brought to an end, rows written and read."""

from collections.abc import Sequence
from typing import Any

from handlers.contract import Phase
from receiver.domain.model import Claim, Job, Source
from receiver.domain.reports import FailureKind, Report
from receiver.store import erasure
from receiver.store.statements import Transaction, insert
from tests.receiver.store_fixture import StoreFixture, told, word

MANY = 250


async def due_of(fixture: StoreFixture, job: Job) -> tuple[object, ...]:
    """Return the due work of a job: work, lane, time, whether it is leased, fence and tries."""
    [row] = await fixture.query(
        "select work, lane, at, leased, fence, tries from due where id = :id", id=job.id
    )
    return tuple(row)


def lost(job: Job, fixture: StoreFixture, claim: Claim) -> Report:
    """Return the report of a submission that got no answer."""
    return word(job, fixture, source=Source.SUBMISSION, verdict=FailureKind.LOST, claim=claim)


async def ended(fixture: StoreFixture, **others: str) -> Job:
    """Return a job that ran and succeeded, with one event for each."""
    job = await fixture.submitted(metadata=others)
    await fixture.hear(word(job, fixture, told(Phase.RUNNING)), word(job, fixture, told(Phase.SUCCEEDED)))
    return job


async def failed(fixture: StoreFixture) -> str:
    """Return the id of a job that failed."""
    job = await fixture.submitted()
    await fixture.hear(word(job, fixture, told(Phase.FAILED)))
    return job.id


async def remove(fixture: StoreFixture, *ids: str) -> None:
    """Remove jobs as retention does."""

    def removing() -> Transaction[None]:
        yield from erasure.erase(ids, None)

    await fixture.store.write(removing)


async def owe(fixture: StoreFixture, target: str, count: int = MANY) -> None:
    """Add `count` pending deliveries to a target, of events that do not exist."""

    def fill() -> Transaction[None]:
        ids = [f"dlv_{number:032x}" for number in range(1, count + 1)]
        yield insert("delivery", [(i, f"evt_{i}", target, "", None, "pending", 1, 1, 0, None) for i in ids])
        yield insert("due", [(i, "deliver", target, 1, 0, 0, 0, "") for i in ids])

    await fixture.store.write(fill)


async def states(fixture: StoreFixture, target: str = "ep_1") -> dict[str, int]:
    """Return the number of deliveries of a target in each state."""
    sql = "select state, count(*) as many from delivery where target = :target group by state"
    return {row["state"]: row["many"] for row in await fixture.query(sql, target=target)}


async def owed(fixture: StoreFixture) -> int:
    """Return the number of deliveries with due work."""
    [count] = await fixture.column("select count(*) from due where work = 'deliver'")
    return int(count)


async def insert_rows(fixture: StoreFixture, table: str, rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows into a table, with their values in the order of `schema.TABLES`."""

    def inserting() -> Transaction[None]:
        yield insert(table, rows)

    await fixture.store.write(inserting)


def statements(transaction: Transaction[Any], *answers: list[Any]) -> list[Any]:
    """Return the statements of a transaction that receives these rows."""
    found, left = [], iter(answers)
    try:
        statement = next(transaction)
        while True:
            found.append(statement)
            statement = transaction.send(next(left, []))
    except StopIteration:
        return found
