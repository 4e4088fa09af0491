"""Tests of the key files: readable by their owner only, replaced atomically, the newest key first."""

import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.config.key_files import API_KEY_FILE, MASTERS_FILE, add_master, read_masters, write_private
from receiver.domain.errors import Misconfigured

COUNT = itertools.count(1)


@pytest.fixture
def no_umask() -> Iterator[None]:
    """Run with an umask of 0, so that a file gets exactly the mode that its maker names."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    """Return the mode bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def counting(size: int) -> bytes:
    """Return bytes that differ at each call."""
    return bytes([next(COUNT)]) * size


def test_no_file_means_no_keys(tmp_path: Path) -> None:
    assert read_masters(tmp_path) == []
    assert read_masters(tmp_path / "nowhere") == []


def test_a_new_key_stands_first(tmp_path: Path) -> None:
    made = [add_master(tmp_path, counting) for _ in range(3)]
    assert [len(keys) for keys in made] == [1, 2, 3]
    assert made[2][1:] == made[1]
    assert made[1][1:] == made[0]
    assert read_masters(tmp_path) == made[2]
    assert len(set(made[2])) == 3
    assert {len(key) for key in made[2]} == {64}


@pytest.mark.usefixtures("no_umask")
def test_only_the_owner_may_read(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    add_master(folder, counting)
    write_private(folder / API_KEY_FILE, "rb_x\n")
    assert mode(folder / MASTERS_FILE) == mode(folder / API_KEY_FILE) == 0o600
    assert mode(folder) == 0o700
    for before, after in ((0o644, 0o600), (0o640, 0o640), (0o400, 0o400)):
        (folder / MASTERS_FILE).chmod(before)
        add_master(folder, counting)
        assert mode(folder / MASTERS_FILE) == after


def test_a_file_that_is_rewritten_keeps_its_owner(tmp_path: Path) -> None:
    add_master(tmp_path, counting)
    # Only root can give a file away; any other user keeps its own.
    owner = (1234, 2345) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(tmp_path / MASTERS_FILE, *owner)
    add_master(tmp_path, counting)
    found = (tmp_path / MASTERS_FILE).stat()
    assert (found.st_uid, found.st_gid) == owner


def test_a_byte_order_mark_is_no_part_of_a_key(tmp_path: Path) -> None:
    (tmp_path / MASTERS_FILE).write_bytes(b"\xef\xbb\xbf" + b"m" * 32 + b"\r\n")
    assert read_masters(tmp_path) == ["m" * 32]


def test_a_file_is_replaced_and_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private(path, "before")
    with path.open() as held:
        write_private(path, "after")
        assert held.read() == "before"
    assert path.read_text() == "after"
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]


def test_what_a_crash_left_is_no_obstacle(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "key", tmp_path / "elsewhere"
    elsewhere.write_text("untouched")
    (tmp_path / "key.new").symlink_to(elsewhere)
    write_private(path, "whole")
    assert (path.read_text(), elsewhere.read_text()) == ("whole", "untouched")
    assert not path.is_symlink()


def test_what_cannot_be_written_leaves_what_was(tmp_path: Path) -> None:
    before = add_master(tmp_path, counting)
    (tmp_path / f"{MASTERS_FILE}.new").mkdir()
    with pytest.raises(Misconfigured, match="data_dir: cannot write"):
        add_master(tmp_path, counting)
    assert read_masters(tmp_path) == before


@pytest.mark.parametrize(
    "content", [b"short\n", b"a" * 31, b"a" * 32 + b"\nb", "é".encode() * 32, b"\xff\xfe"]
)
def test_a_file_that_holds_something_else_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MASTERS_FILE).write_bytes(content)
    with pytest.raises(Misconfigured, match="data_dir: ") as refused:
        read_masters(tmp_path)
    assert "\n" not in str(refused.value)
    assert "aaaa" not in str(refused.value)


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / MASTERS_FILE).mkdir()
    with pytest.raises(Misconfigured, match="data_dir: cannot write"):
        write_private(tmp_path / "file" / "key", "text")
    for folder in (tmp_path / "file", tmp_path):
        with pytest.raises(Misconfigured, match="data_dir: cannot read"):
            read_masters(folder)


def test_a_key_is_as_durable_as_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, fsync = [], os.fsync

    def noted(opened: int) -> None:
        synced.append(stat.S_IFMT(os.fstat(opened).st_mode))
        fsync(opened)

    monkeypatch.setattr(os, "fsync", noted)
    write_private(tmp_path / "key", "text")
    assert synced == [stat.S_IFREG, stat.S_IFDIR]
