"""Opening a database: migrations that run, and refusals that give the reason in one line."""

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.domain.errors import Misconfigured, NotReady, StoreUnavailable
from receiver.store import Store, database_path, generation, probe
from receiver.store.migrations import Migration, migrations
from receiver.store.sqlite import driver
from receiver.store.sqlite.driver import APPLICATION_ID, SqliteDriver
from tests.receiver.store_fixture import asking, lock_of, opened, write_locked

NOBODY = 65534


async def refusal(path: Path) -> str:
    """Return the reason for which a file is refused: one line that names the setting."""
    with pytest.raises(Misconfigured, match=r"\Adatabase_url: ") as error:
        async with opened(path):
            pass
    assert "\n" not in str(error.value)
    return str(error.value)


def foreign(path: Path, *statements: str) -> bytes:
    """Create the database of another program. Returns its bytes."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(";".join(["create table theirs (a)", *statements]))
    return path.read_bytes()


def content(path: Path, written: bytes | None = None) -> bytes:
    """Return the content of a file, after writing `written` to it, if given."""
    if written is not None:
        path.write_bytes(written)
    return path.read_bytes()


def make_read_only(path: Path) -> None:
    """Make a database read-only for every user but root."""
    path.chmod(0o444)
    lock_of(path).chmod(0o666)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Run without the rights of root, for whom no file is read-only, as long as the context lasts."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def shared() -> Iterator[Path]:
    """Yield the path of a database in a folder that every user may write to."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name) / "ringback.db"


def test_migrations_are_numbered_without_a_gap() -> None:
    found = migrations("sqlite")
    assert [migration.version for migration in found] == list(range(1, len(found) + 1))
    assert all(migration.name and migration.sql for migration in found)


async def test_a_file_that_was_made_here_opens_again(path: Path) -> None:
    async with opened(path) as store:
        assert await store.driver.pending() == []
        await store.write(generation.bump)
        before = await store.read(generation.generation())
    async with opened(path, migrate=False) as store:
        assert await store.read(generation.generation()) == before


async def test_migrations_run_only_when_they_may(path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"migrate_on_start: .* run `ringback migrate`"):
        async with opened(path, migrate=False):
            pass
    async with opened(path):
        pass


async def test_a_newer_schema_is_refused(path: Path) -> None:
    async with opened(path) as store:
        await store.write(lambda: asking("pragma user_version = 99"))
    assert "has schema 99" in await refusal(path)


@pytest.mark.parametrize("statement", ["pragma application_id = 7", "pragma application_id = 0"])
async def test_a_foreign_file_is_refused(path: Path, statement: str) -> None:
    before = foreign(path, statement)
    assert "ringback.db" in await refusal(path)
    assert content(path)[100:] == before[100:]


async def test_a_foreign_file_stays_as_it_was(path: Path) -> None:
    before = foreign(path)
    await refusal(path)
    assert content(path) == before


async def test_a_foreign_file_with_a_schema_number_is_refused(path: Path) -> None:
    foreign(path, "pragma user_version = 1")
    await refusal(path)


@pytest.mark.parametrize("text", [b"no database" * 100, b"SQLite format 3\x00" + b"\xff" * 4096])
async def test_what_is_no_database_is_refused(path: Path, text: bytes) -> None:
    content(path, text)
    await refusal(path)
    assert content(path) == text


async def test_an_empty_file_is_as_good_as_none(path: Path) -> None:
    content(path, b"")
    async with opened(path) as store:
        assert await store.read(generation.generation()) == "1"


@pytest.mark.parametrize("version", [0, 99])
async def test_a_refused_file_is_let_go(path: Path, version: int) -> None:
    foreign(path, f"pragma application_id = {APPLICATION_ID}", f"pragma user_version = {version}")
    refusing = Store(SqliteDriver(path, on_fatal=print))
    try:
        with pytest.raises(Misconfigured):
            await refusing.open(migrate=True)
        assert "already serves" not in await refusal(path)
    finally:
        await refusing.close()


async def test_what_may_pass_is_told_apart_from_what_must_be_mended(impatient: None, path: Path) -> None:
    foreign(path, "drop table theirs", "pragma journal_mode = wal")
    with write_locked(path), pytest.raises(NotReady, match="database is locked"):
        async with opened(path):
            pass
    assert (NotReady("a", "b").exit_code, Misconfigured("a", "b").exit_code) == (1, 2)


@pytest.mark.parametrize("url", ["x.db?mode=ro", "x.db#a", ".", "/", ":memory:", "a\0b"])
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match="must be sqlite:///path"):
        database_path(f"sqlite:///{url}")


async def test_a_file_that_cannot_be_written_is_no_crash(shared: Path) -> None:
    async def using() -> None:
        async with opened(shared) as store:
            assert await store.read(generation.generation()) == "1"
            await store.write(probe.write)

    await using()
    make_read_only(shared)
    with as_nobody(), pytest.raises((Misconfigured, StoreUnavailable)) as error:
        await using()
    assert "\n" not in str(error.value)


async def test_a_migration_that_cannot_run_is_one_line(impatient: None, path: Path) -> None:
    foreign(path, "drop table theirs", "pragma journal_mode = wal")
    with write_locked(path):
        await refusal(path)


async def test_a_migration_is_whole_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(path):
        pass
    broken = Migration(
        len(migrations("sqlite")) + 1,
        "broken",
        "create table half (a) strict; insert into nowhere values (1);",
    )
    with monkeypatch.context() as patched:
        patched.setattr(driver, "migrations", lambda _engine: [*migrations("sqlite"), broken])
        with pytest.raises((Misconfigured, sqlite3.Error)):
            async with opened(path):
                pass
    async with opened(path) as store:
        assert await store.read(asking("select 1 from sqlite_master where name = 'half'")) == []
