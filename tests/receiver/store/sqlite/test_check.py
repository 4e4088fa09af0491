"""Checks of a SQLite file without serving it: sound or not, up to date or not, and its lost deliveries."""

import contextlib
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from receiver.domain.errors import Misconfigured
from receiver.store import Store
from receiver.store.lost_deliveries import LostDelivery, count
from receiver.store.migrations import migrations
from receiver.store.sqlite.check import FIXED, SOUND, engine, losses, quick_check, waiting
from tests.receiver.store_fixture import START, opened

PAGE = 4096
NO_DATABASE = b"no database" * 100


@contextlib.contextmanager
def opened_by_another(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection of another program, committed in the end."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        yield connection
        connection.commit()


async def made(path: Path) -> None:
    """Create a database with every migration."""
    async with opened(path):
        pass


def test_the_engine_tells_its_version_as_numbers() -> None:
    assert ".".join(map(str, engine())) == sqlite3.sqlite_version
    assert len(FIXED) == len(engine())


async def test_a_sound_file_is_sound_also_while_it_is_served(store: Store, path: Path) -> None:
    assert quick_check(path) == SOUND
    assert waiting(path) == []


def test_a_damaged_file_is_described(path: Path) -> None:
    with opened_by_another(path) as other:
        other.executescript(f"pragma page_size = {PAGE}; create table t (a); create index i on t (a);")
        other.executemany("insert into t values (?)", [(f"{number:0100}",) for number in range(500)])
    content = bytearray(path.read_bytes())
    content[2 * PAGE : 3 * PAGE] = bytes(PAGE)
    path.write_bytes(content)
    found = quick_check(path)
    assert found != SOUND
    assert "page" in found.lower()


@pytest.mark.parametrize("content", [None, NO_DATABASE])
def test_a_file_that_cannot_be_read_is_told(path: Path, content: bytes | None) -> None:
    if content is not None:
        path.write_bytes(content)
    reason = "file is not a database" if content else "unable to open database file"
    assert quick_check(path) == f"cannot be read: {reason}"
    assert path.exists() is (content is not None)


def test_every_migration_waits_for_a_file_that_does_not_exist(path: Path) -> None:
    assert waiting(path) == migrations("sqlite")
    assert not path.exists()


async def test_migrations_that_have_not_run_are_waiting(path: Path) -> None:
    await made(path)
    assert waiting(path) == []
    with opened_by_another(path) as other:
        other.execute("pragma user_version = 2")
    assert waiting(path) == migrations("sqlite")[2:]


async def test_a_newer_file_is_refused(path: Path) -> None:
    await made(path)
    with opened_by_another(path) as other:
        other.execute("pragma user_version = 99")
    with pytest.raises(Misconfigured) as error:
        waiting(path)
    newest = migrations("sqlite")[-1].version
    assert str(error.value) == (
        f"database_url: ringback.db has schema 99, this program knows {newest}; upgrade it"
    )


def test_a_file_of_another_program_is_refused(path: Path) -> None:
    with opened_by_another(path) as other:
        other.execute("create table theirs (a)")
    with pytest.raises(Misconfigured, match=r"ringback\.db holds tables that are not ours"):
        waiting(path)


def test_no_migration_waits_for_a_file_that_cannot_be_read(path: Path) -> None:
    path.write_bytes(NO_DATABASE)
    with pytest.raises(Misconfigured) as error:
        waiting(path)
    assert str(error.value) == f"database_url: {path} cannot be read: file is not a database"


async def test_lost_deliveries_are_listed_by_endpoint_and_reason(store: Store, path: Path) -> None:
    assert losses(path) == []
    for lost, reason in (({"ep_2": 1, "ep_1": 2}, "old"), ({"ep_1": 3}, "old"), ({"ep_1": 4}, "full")):
        await store.write(partial(count, lost, reason, START))
    assert losses(path) == [
        LostDelivery(target="ep_1", reason="full", count=4, last_at=1795255200000),
        LostDelivery(target="ep_1", reason="old", count=5, last_at=1795255200000),
        LostDelivery(target="ep_2", reason="old", count=1, last_at=1795255200000),
    ]


@pytest.mark.parametrize("content", [None, b"", NO_DATABASE])
def test_a_file_that_cannot_be_read_has_no_lost_deliveries(path: Path, content: bytes | None) -> None:
    if content is not None:
        path.write_bytes(content)
    assert losses(path) == []


async def test_a_name_with_signs_of_a_url_is_the_name_of_a_file(tmp_path: Path) -> None:
    odd = tmp_path / "50% of a?b#c.db"
    await made(odd)
    assert (quick_check(odd), waiting(odd)) == (SOUND, [])
