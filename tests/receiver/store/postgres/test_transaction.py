"""One transaction on a connection to PostgreSQL: the order of its statements, its commit and its errors."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from receiver.domain.errors import StoreUnavailable
from receiver.store.postgres import transaction as pgdrive
from receiver.store.postgres.sql import then, together
from receiver.store.postgres.transaction import Drive, Uncertain, drop
from receiver.store.statements import Step, Transaction, Write, delete, insert, query, update
from tests.engines import ENGINES
from tests.receiver.worker_fixture import PATIENCE

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

LOST = "select pg_terminate_backend(pg_backend_pid())"
"""A COMMIT that ends its own connection."""
REFUSED = "do $$ begin raise exception 'no' using errcode = '55P03'; end $$"
"""A COMMIT that fails on a connection that stays open."""
WAITS = "select true from pg_locks where not granted and pid = $1"
"""A query whether a backend waits for a lock."""
NAMES = "select name from account order by name"


@pytest.fixture
async def connection(on_postgres: None, tmp_path: Path) -> AsyncIterator["Connection"]:
    """Yield a connection in an open transaction, behind no pooler."""
    made = await asyncpg.connect(direct(tmp_path))
    await made.execute("begin")
    yield made
    made.terminate()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the tables of the writes of each statement that is sent, in order, and the value behind them."""
    seen: list[list[str]] = []

    def gathered(writes: list[Write]) -> tuple[str, list[Any]]:
        seen.append([write.table for write in writes])
        return together(writes)

    def first(writes: list[Write], value: str) -> tuple[str, list[Any]]:
        seen.append([*(write.table for write in writes), value])
        return then(writes, value)

    monkeypatch.setattr(pgdrive, "together", gathered)
    monkeypatch.setattr(pgdrive, "then", first)
    return seen


def direct(folder: Path) -> str:
    """Return the URL of the test's database, for a connection without a pooler."""
    name = ENGINES.url(folder / "store.db").rsplit("/", 1)[1].partition("?")[0]
    return ENGINES.cluster.url(name)


async def committed(folder: Path) -> list[str]:
    """Return the names of the accounts that another connection sees."""
    other = await asyncpg.connect(direct(folder))
    try:
        return [row["name"] for row in await other.fetch(NAMES)]
    finally:
        await other.close()


def noted(name: str) -> Write:
    """Return the insertion of an account."""
    return insert("account", [(name, None, None, 0)])


async def test_the_result_is_returned_behind_the_commit(connection: "Connection", tmp_path: Path) -> None:
    def writing() -> Transaction[str]:
        yield noted("a")
        return "done"

    assert await Drive(writing(), "commit").run(connection) == "done"
    assert await committed(tmp_path) == ["a"]


async def test_writes_wait_for_the_next_query_and_go_together(
    connection: "Connection", sent: list[list[str]]
) -> None:
    def writing() -> Transaction[list[list[str]]]:
        yield noted("a")
        yield insert("hold", [("lane", 1)])
        yield delete("job", [])
        before = [*sent]
        found = yield query(NAMES)
        return [*before, [row["name"] for row in found]]

    assert await Drive(writing(), "commit").run(connection) == [["a"]]
    assert sent == [["account", "hold"]]


async def test_a_table_is_written_once_by_one_statement(
    connection: "Connection", sent: list[list[str]]
) -> None:
    def writing() -> Transaction[None]:
        yield noted("a")
        yield insert("hold", [("lane", 1)])
        yield update("account", ("reason",), [("full", "a")], key=("name",))
        [row] = yield query("select reason from account")
        assert row["reason"] == "full"

    await Drive(writing(), "commit").run(connection)
    assert sent == [["account", "hold"], ["account"]]


async def test_the_step_in_order_returns_the_generation(
    connection: "Connection",
) -> None:
    def reading() -> Transaction[str]:
        [row] = yield Step.IN_ORDER
        return str(row["value"])

    assert await Drive(reading(), "commit").run(connection) == "1"


async def test_the_waiting_writes_go_with_the_step_in_order(
    connection: "Connection", sent: list[list[str]], tmp_path: Path
) -> None:
    def writing() -> Transaction[str]:
        yield noted("b")
        yield insert("hold", [("lane", 1), ("other", 2)])
        [row] = yield Step.IN_ORDER
        yield update("account", ("reason",), [("full", "b")], key=("name",))
        return str(row["value"])

    await connection.execute("insert into account values ('a', null, null, 0)")
    assert await Drive(writing(), "commit").run(connection) == "1"
    assert sent == [["account", "hold", "in_order()"], ["account"]]
    assert await committed(tmp_path) == ["a", "b"]


async def test_a_write_that_waits_for_a_row_holds_no_order_lock(
    connection: "Connection", tmp_path: Path
) -> None:
    # The other transaction has the row and then takes the lock: with the lock held here, a circle of waits.
    def writing() -> Transaction[None]:
        yield insert("hold", [("lane", 1)])
        yield update("account", ("reason",), [("full", "a")], key=("name",))
        yield Step.IN_ORDER

    other = await asyncpg.connect(direct(tmp_path))
    try:
        await other.execute("insert into account values ('a', null, null, 0)")
        await other.execute("begin; update account set reason = 'mine' where name = 'a'")
        pid = connection.get_server_pid()
        running = asyncio.create_task(Drive(writing(), "commit").run(connection))
        async with asyncio.timeout(PATIENCE):
            while not await other.fetchval(WAITS, pid):  # noqa: ASYNC110  # it looks into a database
                await asyncio.sleep(0)
        await other.fetch("select in_order()")
        await other.execute("commit")
        await running
        assert await other.fetchval("select reason from account where name = 'a'") == "full"
    finally:
        await other.close()


async def test_the_step_commit_commits_the_waiting_writes_and_goes_on(
    connection: "Connection", tmp_path: Path
) -> None:
    ended: list[str] = []

    def writing() -> Transaction[str]:
        yield noted("a")
        found = yield Step.COMMIT
        ended.append("committed")
        return f"then {len(found)} rows"

    drive = Drive(writing(), "commit")
    assert await drive.run(connection) == "then 0 rows"
    assert (ended, drive.finish()) == (["committed"], "then 0 rows")
    assert not connection.is_in_transaction()
    assert await committed(tmp_path) == ["a"]


async def test_an_error_is_raised_where_its_statement_is(connection: "Connection", tmp_path: Path) -> None:
    def failing() -> Transaction[None]:
        yield noted("a")
        try:
            yield query("select 1 / :zero", zero=0)
        except asyncpg.DivisionByZeroError as error:
            raise ValueError("no") from error

    with pytest.raises(ValueError, match="no"):
        await Drive(failing(), "commit").run(connection)
    await connection.execute("rollback")
    assert await committed(tmp_path) == []


async def test_an_error_of_a_write_is_raised_where_it_is_sent(
    connection: "Connection",
) -> None:
    reached: list[str] = []

    def failing() -> Transaction[None]:
        yield insert("account", [("a", None, None, 0), ("a", None, None, 0)])
        reached.append("behind the write")
        yield Step.IN_ORDER
        reached.append("behind the step")

    with pytest.raises(asyncpg.UniqueViolationError):
        await Drive(failing(), "commit").run(connection)
    assert reached == ["behind the write"]


@pytest.mark.parametrize("commit", [LOST, REFUSED])
async def test_a_commit_without_an_answer_is_uncertain_and_closes_the_connection(
    connection: "Connection", commit: str
) -> None:
    def writing() -> Transaction[str]:
        yield noted("a")
        return "done"

    drive = Drive(writing(), commit)
    with pytest.raises(Uncertain):
        await drive.run(connection)
    assert connection.is_closed()
    assert drive.finish() == "done"
    gone = StoreUnavailable("gone")
    with pytest.raises(StoreUnavailable) as error:
        drive.fail(gone)
    assert error.value is gone


async def test_a_transaction_that_waits_for_its_commit_hears_how_it_ended(
    connection: "Connection", tmp_path: Path
) -> None:
    heard: list[str] = []

    def waiting() -> Transaction[str]:
        yield noted("a")
        try:
            yield Step.COMMIT
        except StoreUnavailable as error:
            heard.append(error.detail)
            raise
        return "stored"

    drive = Drive(waiting(), LOST)
    with pytest.raises(Uncertain):
        await drive.run(connection)
    assert drive.finish() == "stored"
    other = await asyncpg.connect(direct(tmp_path))
    await other.execute("begin")
    failed = Drive(waiting(), LOST)
    with pytest.raises(Uncertain):
        await failed.run(other)
    with pytest.raises(StoreUnavailable, match="gone"):
        failed.fail(StoreUnavailable("gone"))
    assert heard == ["gone"]


async def test_a_transaction_must_end_behind_its_commit(
    connection: "Connection",
) -> None:
    def going_on() -> Transaction[None]:
        yield Step.COMMIT
        yield query("select 1")

    drive = Drive(going_on(), LOST)
    with pytest.raises(Uncertain):
        await drive.run(connection)
    with pytest.raises(RuntimeError, match="goes on behind its commit"):
        drive.finish()


async def test_a_connection_is_dropped_once_and_the_pool_makes_another(
    on_postgres: None, tmp_path: Path
) -> None:
    async with asyncpg.create_pool(direct(tmp_path), min_size=1, max_size=1) as pool:
        taken = await pool.acquire()
        first = taken.get_server_pid()
        drop(taken)
        drop(taken)
        await pool.release(taken)
        assert await pool.fetchval("select pg_backend_pid()") != first
