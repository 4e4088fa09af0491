"""The move from SQLite to PostgreSQL: every row, once, also after an interruption, or an error."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from receiver.domain.errors import Misconfigured
from receiver.store import events, transfer
from receiver.store.partitions import DAY, parts
from receiver.store.postgres.driver import PostgresDriver
from receiver.store.postgres.url import target as read_url
from receiver.store.schema import TABLES
from receiver.store.sqlite.driver import SqliteDriver
from receiver.store.transfer import KEYS, PART_DAYS, PARTS, Moved, all_columns, move, unfinished
from tests.engines import ENGINES
from tests.receiver.store_fixture import asking, opened

pytestmark = pytest.mark.usefixtures("on_postgres")
ROWS = 3
"""Rows of each filled table."""
FILLED = ("job", "input_piece", "job_label", "event", "endpoint", "hold")


@dataclass
class Move:
    """A source with a few rows, an empty target, and the progress of the moves between them."""

    path: Path
    source: SqliteDriver
    target: PostgresDriver
    seen: list[tuple[str, int]] = field(default_factory=list)
    stops_at: tuple[str, int] | None = None

    async def run(self) -> list[Moved]:
        """Move, up to the step of `stops_at`."""
        self.seen.clear()
        return await move(self.source, self.target, self._progress)

    def _progress(self, table: str, count: int) -> None:
        self.seen.append((table, count))
        if (table, count) == self.stops_at:
            raise Interrupted

    async def held(self, sql: str) -> list[tuple[Any, ...]]:
        """Return rows of the target."""
        return [tuple(row) for row in await self.target.read(asking(sql))]


class Interrupted(Exception):
    """The end of a move in its middle."""


@pytest.fixture
async def moving(tmp_path: Path, path: Path) -> AsyncIterator[Move]:
    """Yield a move that has not begun."""
    async with opened(path):
        pass
    fill(path)
    source = SqliteDriver(path, on_fatal=print)
    target = PostgresDriver(read_url(ENGINES.url(tmp_path / "goal.db")))
    await source.open()
    await target.open()
    yield Move(path, source, target)
    await target.close()
    await source.close()


def fill(path: Path) -> None:
    """Insert `ROWS` rows into each table of `FILLED`, and a row of `meta`."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        for table in FILLED:
            columns = all_columns(table)
            marks = ", ".join("?" * len(columns))
            database.executemany(
                f"insert into {table} ({', '.join(columns)}) values ({marks})",
                [[value(name, columns[name], number) for name in columns] for number in range(1, ROWS + 1)],
            )
        database.execute("insert into meta values ('removed_until', '7'), ('probe', '1')")
        database.commit()


def value(name: str, kind: str, number: int) -> object:
    """Return a value for a column that differs by row; NUL stands in every text that is no key."""
    if kind == "text":
        return f"{name}-{number}" if name in {"id", "job", "lane", "provider_job_id"} else f"{name}\0{number}"
    if kind == "bytea":
        return b"\xff\0" + bytes([number])
    return 10 * number if kind == "bigint" else number / 8


def shown(name: str, kind: str, number: int) -> object:
    """Return the same value as PostgreSQL holds it."""
    made = value(name, kind, number)
    return made.replace("\0", "\ufffd") if isinstance(made, str) else made


def test_events_alone_are_moved_with_their_numbers() -> None:
    assert next(iter(all_columns("event"))) == "seq"
    assert all(all_columns(table) == TABLES[table] for table in KEYS if table != "event")
    assert TABLES.keys() - KEYS.keys() == {"tally", "replica", "session"}


async def test_every_row_arrives_as_it_was(moving: Move) -> None:
    moved = await moving.run()
    assert [one.table for one in moved] == list(KEYS)
    counts = {one.table: one.count for one in moved if one.count}
    assert counts == {**dict.fromkeys(FILLED, ROWS), "meta": 2}
    for table in FILLED:
        columns = all_columns(table)
        found = await moving.held(f"select {', '.join(columns)} from {table} order by {KEYS[table][-1]}")
        expected = [tuple(shown(name, columns[name], row) for name in columns) for row in range(1, ROWS + 1)]
        assert found == expected, table
    assert moving.seen == [
        *((table, ROWS) for table in KEYS if table in FILLED),
        ("meta", 2),
        *((f"{table}, compared", counts.get(table, 0)) for table in KEYS),
    ]


async def test_a_finished_move_leaves_the_targets_own_rows_and_goes_on_numbering(moving: Move) -> None:
    mark = await moving.source.read(events.mark())
    await moving.run()
    assert not await moving.target.read(unfinished())
    assert await moving.held("select key, value from meta order by key") == [
        ("feed", mark),
        ("generation", "1"),
        ("removed_until", "7"),
    ]
    assert await moving.target.write(_next_number()) == 10 * ROWS + 1


def _next_number() -> Any:
    [row] = yield from asking("select nextval(pg_get_serial_sequence('event', 'seq')) as number")
    return row["number"]


async def test_old_history_lies_in_few_partitions_from_the_oldest_row(
    moving: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_now", lambda: 1000 * DAY)
    await moving.run()
    found = await moving.target.read(parts())
    assert (found[0].low, len(found)) == (0, PARTS)
    assert found[-1].high >= 1000 * DAY
    assert {(part.high - part.low) // DAY for part in found} == {999 // PARTS + 1}


async def test_a_young_history_has_no_partition_of_less_than_a_week(
    moving: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_now", lambda: 10 * DAY)
    await moving.run()
    found = await moving.target.read(parts())
    assert [(part.low // DAY, part.high // DAY) for part in found] == [(0, PART_DAYS), (PART_DAYS, 14)]


async def test_an_interrupted_move_goes_on_behind_its_last_batch(
    moving: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "BATCH", 1)
    moving.stops_at = ("job_label", 2)
    with pytest.raises(Interrupted):
        await moving.run()
    assert await moving.target.read(unfinished())
    assert await moving.held("select count(*) from job_label") == [(2,)]
    moving.stops_at = None
    moved = await moving.run()
    assert moving.seen[:2] == [("job_label", 3), ("event", 1)]
    assert {one.table: one.count for one in moved if one.table in FILLED} == dict.fromkeys(FILLED, ROWS)
    assert not await moving.target.read(unfinished())


async def test_large_rows_are_moved_in_smaller_batches(moving: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(transfer.BATCHES, "input_piece", 2)
    await moving.run()
    assert moving.seen[:3] == [("job", 3), ("input_piece", 2), ("input_piece", 3)]


@pytest.mark.parametrize(
    ("table", "sql"),
    [
        (
            "endpoint",
            (
                "insert into endpoint (id, url, events, created_at, updated_at, state, description, include, "
                "max_in_flight, secrets, from_file) values ('e', '', '', 1, 1, '', '', '', 1, '', 0)"
            ),
        ),
        ("api_key", "insert into api_key values ('k', 'n', '', 'admin', 1, null)"),
    ],
)
async def test_a_target_with_data_of_its_own_is_refused(moving: Move, table: str, sql: str) -> None:
    await moving.target.write(asking(sql))
    with pytest.raises(Misconfigured) as error:
        await moving.run()
    assert str(error.value) == f"--to: its table {table} is not empty; a move needs a database of its own"
    assert moving.seen == []
    assert not await moving.target.read(unfinished())


@pytest.mark.parametrize(
    ("sql", "count"),
    [("update job_label set job = 'job-9'", 3), ("delete from job_label where job = 'job-1'", 2)],
)
async def test_a_target_that_differs_after_the_copy_is_refused(moving: Move, sql: str, count: int) -> None:
    moving.stops_at = ("job_label", ROWS)
    with pytest.raises(Interrupted):
        await moving.run()
    await moving.target.write(asking(sql))
    moving.stops_at = None
    with pytest.raises(Misconfigured) as error:
        await moving.run()
    assert str(error.value) == (
        f"--to: its table job_label has {count} rows that differ from the {ROWS} of the source: one of the "
        "two was changed after the move began; make the database of --to anew, and move again"
    )
    assert await moving.target.read(unfinished())
