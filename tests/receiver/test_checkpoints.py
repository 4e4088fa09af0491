"""Moving the log beside the writer, on real files."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.store.checkpoints import STEP, Checkpointer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database lies."""
    return tmp_path / "a.db"


@pytest.fixture
def writer(path: Path) -> Iterator[sqlite3.Connection]:
    """A writer that has three rows in its log and does not move them itself."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as made:
        made.execute("pragma journal_mode = wal")
        made.execute("pragma wal_autocheckpoint = 0")
        made.execute("create table t (n integer)")
        made.execute("insert into t values (1), (2), (3)")
        yield made


def in_the_file(path: Path) -> int | None:
    """The rows that the file holds without its log; None without the table."""
    alone = path.with_name("alone.db")
    alone.write_bytes(path.read_bytes())
    with contextlib.closing(sqlite3.connect(alone)) as copy:
        if not copy.execute("select 1 from sqlite_master").fetchone():
            return None
        found: int = copy.execute("select count(*) from t").fetchone()[0]
        return found


@pytest.mark.parametrize(("changes", "moved"), [((STEP - 1,), None), ((STEP,), 3), ((1, STEP + 1), 3)])
def test_the_log_is_moved_after_a_step(
    writer: sqlite3.Connection, path: Path, changes: tuple[int, ...], moved: int | None
) -> None:
    mover = Checkpointer(path, pytest.fail)
    mover.open()
    for count in changes:
        mover.wrote(count)
    mover.close()
    assert in_the_file(path) == moved


def test_what_cannot_be_moved_now_is_left_to_the_writer(tmp_path: Path) -> None:
    (tmp_path / "a.db").mkdir()
    mover = Checkpointer(tmp_path / "a.db", pytest.fail)
    mover.open()
    mover.wrote(STEP)
    mover.close()


def test_a_disk_that_does_not_keep_what_is_written_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_arguments: object, **_settings: object) -> sqlite3.Connection:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error

    monkeypatch.setattr(sqlite3, "connect", failing)
    told: list[str] = []
    mover = Checkpointer(path, told.append)
    mover.open()
    mover.wrote(STEP)
    mover.close()
    assert told == ["the disk does not keep what is written: disk I/O error"]
