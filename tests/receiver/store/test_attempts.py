"""Attempts in a real store: stored as they were made, and once."""

from dataclasses import replace
from typing import Any

from handlers.contract import Phase
from receiver.delivery.sender import SETTLE
from receiver.store import deliveries
from receiver.store.attempts import Attempt, add_attempts
from receiver.store.schema import named
from receiver.store.statements import InsertStatement
from tests.receiver.store_fixture import START, StoreFixture, told, word
from tests.receiver.store_steps import statements


async def test_an_attempt_of_which_nobody_knows_whether_it_is_stored_is_stored_once(
    fixture: StoreFixture,
) -> None:
    await fixture.endpoint()
    job = await fixture.submitted(theirs="p1")
    [ended] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED, "p1")))
    [born] = ended.deliveries
    assert born.claim is not None
    settled = fixture.attempted(born.claim)
    first = await fixture.store.do(SETTLE, settled)
    second = await fixture.store.do(SETTLE, replace(settled, again=True))
    assert (first.mine, second.mine) == (True, False)
    assert await fixture.column("select id from attempt") == [settled.attempt.id]
    assert await fixture.column("select state from delivery") == ["delivered"]


def attempt(number: int, **others: Any) -> Attempt:
    """Return an attempt of the delivery `dlv_1`."""
    values: dict[str, Any] = {"status": 204, "latency_ms": 1.5} | others
    return Attempt(id=f"att_{number}", delivery_id="dlv_1", at=START, **values)


async def stored(fixture: StoreFixture) -> list[Attempt]:
    """Return every stored attempt, by id."""
    sql = f"select {named('attempt')} from attempt order by id"
    return [deliveries.read_attempt(row) for row in await fixture.query(sql)]


async def test_attempts_are_stored_as_they_were_made(fixture: StoreFixture) -> None:
    answered = attempt(1, status=500, latency_ms=0.25, answer=b"\x00no\xff")
    failed = attempt(2, status=None, latency_ms=30000.0, error="connect: refused")
    await fixture.store.write(lambda: add_attempts([(answered, False), (failed, False)]))
    assert await stored(fixture) == [answered, failed]


async def test_a_repeated_attempt_is_stored_where_it_is_missing(fixture: StoreFixture) -> None:
    there, missing, new = attempt(1), attempt(2), attempt(3)
    await fixture.store.write(lambda: add_attempts([(there, False)]))
    later = [(replace(there, status=500), True), (missing, True), (new, False)]
    await fixture.store.write(lambda: add_attempts(later))
    assert await stored(fixture) == [there, missing, new]


def test_the_body_of_an_answer_shows_in_no_log() -> None:
    shown = repr(attempt(1, answer=b"secret"))
    assert shown.startswith("Attempt(id='att_1', ")
    assert "answer" not in shown


def test_an_attempt_that_is_not_repeated_costs_no_read() -> None:
    [statement] = statements(add_attempts([(attempt(1), False), (attempt(2), False)]))
    assert isinstance(statement, InsertStatement)
    assert (statement.table, [row[0] for row in statement.values]) == ("attempt", ["att_1", "att_2"])
