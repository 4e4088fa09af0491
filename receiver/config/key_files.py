"""Keys that are generated once and kept in `data_dir`, readable by their owner only."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from receiver.domain.errors import Misconfigured, no_file
from receiver.security.tokens import SHORTEST_MASTER

MASTERS_FILE = "ringback-secret-keys"
API_KEY_FILE = "ringback-api-key"


def read_masters(folder: Path) -> list[str]:
    """Return the master keys in `folder`, newest first; none when there is no file.

    Raises `Misconfigured` when the file cannot be read or a key in it is too short or not ASCII.
    """
    path = folder / MASTERS_FILE
    try:
        lines = path.read_text("utf-8-sig").split()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        reason = no_file(error) if isinstance(error, OSError) else "it is not text"
        raise Misconfigured("data_dir", f"cannot read {path}: {reason}") from None
    if not all(line.isascii() for line in lines):
        raise Misconfigured("data_dir", f"{path} holds a key that is not plain ASCII")
    if any(len(line) < SHORTEST_MASTER for line in lines):
        raise Misconfigured("data_dir", f"{path} holds a key of fewer than {SHORTEST_MASTER} characters")
    return lines


def add_master(folder: Path, entropy: Callable[[int], bytes]) -> list[str]:
    """Add a new master key in front of those in `folder`. Returns all of them."""
    master_keys = [entropy(32).hex(), *read_masters(folder)]
    write_private(folder / MASTERS_FILE, "\n".join(master_keys) + "\n")
    return master_keys


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, atomically: a power cut leaves the old file or the new one.

    An existing file keeps its owner and its mode, unless all users had access: a service that runs under
    another user must be able to read a file that an operator rewrote as root. Raises `Misconfigured` when the
    file cannot be written.
    """
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        # O_EXCL and the mode make the file private before it has content, and follow no symbolic link.
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "w", encoding="ascii") as stream:
            stream.write(text)
            stream.flush()
            _keep_owner(stream.fileno(), path)
            os.fsync(stream.fileno())
        # The content is on disk before its name is, and the name before this returns.
        fresh.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise Misconfigured("data_dir", f"cannot write {path}: {no_file(error)}") from None


def _keep_owner(file: int, path: Path) -> None:
    try:
        before = path.stat()
    except FileNotFoundError:
        return
    now = os.fstat(file)
    if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
        os.fchown(file, before.st_uid, before.st_gid)
    mode = stat.S_IMODE(before.st_mode)
    os.fchmod(file, 0o600 if mode & 0o007 else mode)


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
