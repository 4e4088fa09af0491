"""The lock of a SQLite file: one process serves it, under any of its names, and it must stay in place."""

import fcntl
import os
from pathlib import Path

from receiver.domain.errors import Misconfigured, no_file


class FileLock:
    """A lock that lets one process at a time serve a database file. The system releases it after a crash.

    The file itself is locked too, because it may have several names. Its descriptor is closed only after
    those of SQLite: closing any descriptor of a file ends all POSIX locks that the process holds on it.
    """

    def __init__(self, database: Path) -> None:
        self._path = database.resolve()
        self._files = [self._open(self._path.with_name(self._path.name + ".lock"))]
        self._take()
        os.ftruncate(self._files[0], 0)
        os.write(self._files[0], str(os.getpid()).encode())
        self._expected: dict[Path, tuple[int, int]] = {}

    def hold(self) -> None:
        """Lock the database file itself, and create it if it does not exist."""
        self._files.append(self._open(self._path))
        self._take()

    def watch(self) -> None:
        """Record the identity of the database and its log. Both must exist."""
        names = (self._path, self._path.with_name(self._path.name + "-wal"))
        self._expected = {path: _identity(path) for path in names}

    def in_place(self) -> bool:
        """Return whether the database and its log are still the files that were opened."""
        try:
            return all(_identity(path) == there for path, there in self._expected.items())
        except OSError:
            return False

    def release(self) -> None:
        """Release the lock for the next process."""
        while self._files:
            os.close(self._files.pop())

    def _open(self, path: Path) -> int:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if os.geteuid() == 0 and self._path.exists():
                # A file that root creates here must be open to the service that owns the database.
                owner = self._path.stat()
                os.fchown(file, owner.st_uid, owner.st_gid)
            return file
        except OSError as error:
            raise Misconfigured("database_url", f"cannot open {path}: {no_file(error)}") from None

    def _take(self) -> None:
        try:
            fcntl.flock(self._files[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._files[0], 64).decode("ascii", "replace").strip()
            known = f"process {holder}" if len(self._files) == 1 and holder else "another process"
            self.release()
            raise Misconfigured(
                "database_url", f"{known} already serves {self._path.name}; stop it first"
            ) from None


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
