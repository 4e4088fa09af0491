"""The lock of a SQLite file: one process at a time, under every name of the file, and only in its place."""

import contextlib
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from receiver.domain.errors import Misconfigured
from receiver.store import Store, generation, probe
from receiver.store.sqlite.file_lock import FileLock
from tests.receiver.store.test_opening import NOBODY, refusal
from tests.receiver.store_fixture import lock_of, opened

HOLD = """
import pathlib, sys
from receiver.store.sqlite.file_lock import FileLock
lock = FileLock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held_elsewhere(path: Path) -> Iterator[int]:
    """Run another process that serves the file, as long as the context lasts. Yields its id."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder.pid
        holder.kill()


@pytest.fixture
def lock(path: Path) -> Iterator[FileLock]:
    """Yield a lock of the file, released in the end."""
    made = FileLock(path)
    yield made
    made.release()


def beside(path: Path) -> Path:
    """Return the log of a database."""
    return path.with_name(f"{path.name}-wal")


# One at a time.


def test_the_lock_file_names_its_process(path: Path) -> None:
    lock_of(path).write_text("12345678901234567890")
    lock = FileLock(path)
    assert lock_of(path).read_text() == str(os.getpid())
    lock.release()


def test_a_released_lock_is_free_for_the_next(path: Path) -> None:
    first = FileLock(path)
    with pytest.raises(Misconfigured) as error:
        FileLock(path)
    assert str(error.value) == (
        f"database_url: process {os.getpid()} already serves ringback.db; stop it first"
    )
    first.release()
    first.release()
    second = FileLock(path)
    second.hold()
    second.release()


def test_a_holder_that_left_no_number_is_another_process(path: Path) -> None:
    with lock_of(path).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(
            Misconfigured, match=r"another process already serves ringback\.db; stop it first"
        ):
            FileLock(path)
    FileLock(path).release()


def test_a_file_that_is_held_under_another_name_is_refused_and_let_go(path: Path, tmp_path: Path) -> None:
    path.touch()
    first = FileLock(path)
    first.hold()
    os.link(path, tmp_path / "other.db")
    second = FileLock(tmp_path / "other.db")
    with pytest.raises(Misconfigured, match=r"another process already serves other\.db; stop it first"):
        second.hold()
    FileLock(tmp_path / "other.db").release()
    first.release()


def test_a_held_file_is_created_for_its_owner_alone(lock: FileLock, path: Path) -> None:
    assert not path.exists()
    lock.hold()
    assert (path.stat().st_size, stat.S_IMODE(path.stat().st_mode) & 0o077) == (0, 0)


def test_a_lock_file_belongs_to_the_owner_of_the_database(path: Path) -> None:
    path.touch()
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    FileLock(path).release()
    owner, found = path.stat(), lock_of(path).stat()
    assert (found.st_uid, found.st_gid) == (owner.st_uid, owner.st_gid)


def test_a_lock_in_a_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    place = (tmp_path / "nowhere").resolve()
    with pytest.raises(Misconfigured) as error:
        FileLock(place / "ringback.db")
    assert str(error.value) == (
        f"database_url: cannot open {place}/ringback.db.lock: "
        "No such file or directory; make it, or name another"
    )


# In place.


def test_files_are_in_place_until_one_is_removed_or_replaced(lock: FileLock, path: Path) -> None:
    assert lock.in_place(), "nothing is watched yet"
    lock.hold()
    beside(path).touch()
    lock.watch()
    for file in (path, beside(path)):
        file.write_bytes(b"written")
        assert lock.in_place()
        aside = file.rename(file.with_name("aside"))
        assert not lock.in_place()
        file.touch()
        assert not lock.in_place()
        aside.replace(file)
        assert lock.in_place()


def test_a_log_that_does_not_exist_cannot_be_watched(lock: FileLock) -> None:
    lock.hold()
    with pytest.raises(FileNotFoundError):
        lock.watch()


# Through a store.


async def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "Is a directory" in await refusal(tmp_path)


async def test_a_lock_that_cannot_be_made_is_told(path: Path) -> None:
    os.mkdir(lock_of(path))  # noqa: PTH102  # a pathlib call would block no less, and is not allowed here
    assert "cannot open" in await refusal(path)


async def test_a_second_process_is_refused_and_told_of_the_first(path: Path) -> None:
    with held_elsewhere(path) as number:
        assert f"process {number} already serves ringback.db" in await refusal(path)
    async with opened(path) as store:
        assert await store.read(generation.generation()) == "1"


@pytest.mark.parametrize("link", [os.symlink, os.link])
async def test_a_second_name_of_the_file_is_the_same_file(
    path: Path, tmp_path: Path, link: Callable[[Path, Path], None]
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    async with opened(path) as store:
        link(path, folder / "other.db")
        assert "already serves" in await refusal(folder / "other.db")
        await store.write(probe.write)


async def test_a_second_store_in_one_process_is_refused(store: Store, path: Path) -> None:
    assert f"process {os.getpid()} already serves" in await refusal(path)
    await store.write(probe.write)
