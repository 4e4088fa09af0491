"""The SQLite driver on real files: its settings, its transactions, and its answers to a failing disk."""

import asyncio
import contextlib
import functools
import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from receiver.domain.errors import StoreUnavailable
from receiver.store import Store, generation, probe
from receiver.store.migrations import migrations
from receiver.store.sqlite.driver import APPLICATION_ID, LOG_BYTES, STEP, SqliteDriver
from receiver.store.statements import Transaction, insert, query
from tests.receiver.store_fixture import asking, lock_of, opened, write_locked

PATIENCE = 100.0
OWN = ["feed", "generation"]
"""The rows of `meta` in a new database."""


def mode(path: Path) -> int:
    """Return the permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


async def value(store: Store, sql: str) -> object:
    """Return the first value that the writer reads."""
    return (await store.write(lambda: asking(sql)))[0][0]


@pytest.mark.parametrize(
    ("pragma", "expected"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("trusted_schema", 0),
        ("cell_size_check", 1),
        ("mmap_size", 0),
        ("cache_size", -16000),
        ("temp_store", 2),
        ("auto_vacuum", 2),
        ("application_id", APPLICATION_ID),
        ("user_version", migrations("sqlite")[-1].version),
        ("query_only", 0),
    ],
)
async def test_the_writers_pragmas(store: Store, pragma: str, expected: object) -> None:
    assert await value(store, f"pragma {pragma}") == expected


async def test_a_reader_cannot_write_and_never_checkpoints(store: Store) -> None:
    for pragma, expected in (("query_only", 1), ("wal_autocheckpoint", 0)):
        assert [row[0] for row in await store.read(asking(f"pragma {pragma}"))] == [expected]
    with pytest.raises(StoreUnavailable):
        await store.read(asking("delete from meta"))

    def inserting() -> Transaction[None]:
        yield insert("meta", [("a", "b")])

    with pytest.raises(TypeError):
        await store.read(inserting())
    assert [row["key"] for row in await store.read(asking("select key from meta order by key"))] == OWN


async def test_the_file_is_the_owners(store: Store, path: Path) -> None:
    files = [path, path.with_name("ringback.db-wal"), lock_of(path)]
    assert [mode(file) for file in files] == [0o600] * 3


async def test_a_full_disk_is_told_and_forgives(store: Store) -> None:
    pages = await value(store, "pragma page_count")
    assert isinstance(pages, int)

    def filling(name: str) -> Transaction[None]:
        yield insert("meta", [(name, "x" * 20_000)])

    async def fill(limit: int) -> list[str]:
        await store.write(lambda: asking(f"pragma max_page_count = {limit}"))
        stored: list[str] = []
        with contextlib.suppress(StoreUnavailable):
            while True:
                name = f"{limit}-{len(stored)}"
                await store.write(functools.partial(filling, name))
                stored.append(name)
        return stored

    acked = await fill(pages + 20)
    assert acked
    with pytest.raises(StoreUnavailable):
        await store.write(lambda: filling("again"))
    found = await store.read(asking("select key from meta where key not in ('generation', 'feed')"))
    assert {row["key"] for row in found} == set(acked)
    acked += await fill(pages + 60)
    found = await store.read(asking("select key from meta where key not in ('generation', 'feed')"))
    assert {row["key"] for row in found} == set(acked)
    assert await value(store, "pragma integrity_check") == "ok"


async def test_another_programs_lock_is_waited_for_and_no_crash(impatient: None, path: Path) -> None:
    async with opened(path) as store:
        with write_locked(path):
            with pytest.raises(StoreUnavailable):
                await store.write(generation.bump)
            assert await store.read(generation.generation()) == "1"
        await store.write(generation.bump)
        assert await store.read(generation.generation()) != "1"


async def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    def failing() -> Transaction[None]:
        yield insert("meta", [("a", "b")])
        yield query("insert into meta values ('a', 'c')")

    with pytest.raises(sqlite3.IntegrityError):
        await store.write(failing)

    def raising() -> Transaction[None]:
        yield insert("meta", [("a", "b")])
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await store.write(raising)
    assert [row["key"] for row in await store.read(asking("select key from meta order by key"))] == OWN


async def test_a_reading_transaction_sees_one_state(store: Store, path: Path) -> None:
    def reading() -> Transaction[list[int]]:
        counts = [(yield query("select count(*) from meta"))[0][0]]
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("insert into meta values ('late', '')")
        return [*counts, (yield query("select count(*) from meta"))[0][0]]

    assert await store.read(reading()) == [len(OWN)] * 2


async def test_a_closed_store_takes_nothing(path: Path) -> None:
    async with opened(path) as store:
        pass
    with pytest.raises(StoreUnavailable):
        await store.write(probe.write)
    with pytest.raises(StoreUnavailable):
        await store.read(asking("select 1"))


async def test_a_store_closes_once_the_transactions_that_read_have_ended(path: Path) -> None:
    begun = asyncio.Event()

    def reading() -> Transaction[str]:
        yield query("select 1")
        begun.set()
        found = yield query("select value from meta where key = 'generation'")
        return str(found[0]["value"])

    threads = set(threading.enumerate())
    async with opened(path) as store:
        read = asyncio.create_task(store.read(reading()))
        await begun.wait()
    assert read.done()
    assert await read == "1"
    assert set(threading.enumerate()) <= threads


@pytest.mark.parametrize("gone", ["ringback.db", "ringback.db-wal"])
async def test_a_file_that_is_removed_while_it_is_served_takes_nothing_more(path: Path, gone: str) -> None:
    told: list[str] = []
    store = Store(SqliteDriver(path, on_fatal=told.append))
    await store.open(migrate=True)
    await store.write(probe.write)
    path.with_name(gone).rename(path.with_name("taken"))
    with pytest.raises(StoreUnavailable):
        await store.write(probe.write)
    path.with_name("taken").rename(path.with_name(gone))
    await store.write(probe.write)
    path.with_name(gone).write_bytes(path.with_name(gone).read_bytes())
    await store.write(probe.write)
    path.with_name(gone).replace(path.with_name("taken"))
    path.with_name(gone).write_bytes(b"another")
    with pytest.raises(StoreUnavailable):
        await store.write(probe.write)
    assert len(told) == 2
    path.with_name("taken").replace(path.with_name(gone))
    await store.close()


async def test_trouble_is_logged_once_and_so_is_its_end(
    impatient: None, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(path) as store:
        with write_locked(path):
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    await store.write(probe.write)
        for _ in range(3):
            await store.write(probe.write)
    said = [record.getMessage() for record in caplog.records if record.name == "ringback.store"]
    assert len(said) == 2
    assert "database is locked" in said[0]
    assert said[1] == "can store again"


async def test_the_log_stays_as_short_as_it_is_made_under_writes_without_end(
    store: Store, path: Path
) -> None:
    def fill(turn: int) -> Transaction[None]:
        yield insert("meta", [(f"key{turn}-{number}", "a" * 900) for number in range(STEP)])

    for turn in range(80):
        await store.write(functools.partial(fill, turn))
    assert (await value(store, "select count(*) from meta where key like 'key%'")) == 80 * STEP
    assert await asyncio.to_thread(os.path.getsize, f"{path}-wal") <= LOG_BYTES
    assert await asyncio.to_thread(os.path.getsize, path) > LOG_BYTES


async def test_the_log_is_moved_after_a_step_of_changes(store: Store, path: Path) -> None:
    os.utime(path, ns=(0, 0))

    def untouched() -> bool:
        return path.stat().st_mtime_ns == 0

    def fill() -> Transaction[None]:
        yield insert("meta", [(f"key{number}", "a") for number in range(STEP)])

    await store.write(fill)
    async with asyncio.timeout(PATIENCE):
        while untouched():  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0)


async def test_after_a_finished_log_the_next_move_waits_for_a_whole_step(store: Store) -> None:
    driver = store.driver
    assert isinstance(driver, SqliteDriver)

    def filling() -> Transaction[None]:
        yield insert("meta", [(f"key{number}", "a") for number in range(STEP)])

    await store.write(filling)
    assert driver._moving is not None
    await driver._moving
    await store.write(probe.write)
    changed, started = driver._changed, driver._moving
    assert driver._moved < changed, "as a commit during the move leaves it"
    await driver._on_writer(driver._finish_log)
    assert driver._moved == changed
    await store.write(probe.write)
    assert driver._moving is started, "no move begins beside the commit that starts the log over"
