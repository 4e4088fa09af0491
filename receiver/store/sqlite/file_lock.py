"""The file of a SQLite database: one process serves it, under whatever name, and it stays where it is."""

import fcntl
import os
from pathlib import Path

from receiver.domain.errors import Misconfigured, no_file


class FileLock:
    """One process per database file, held by the system, so that a crash frees it.

    The file itself is locked too, because it may have several names. Its descriptor is closed after those of
    SQLite only: closing any descriptor of a file ends all locks that a process has there.
    """

    def __init__(self, database: Path) -> None:
        self._path = database.resolve()
        self._files = [self._open(self._path.with_name(self._path.name + ".lock"))]
        self._take()
        os.ftruncate(self._files[0], 0)
        os.write(self._files[0], str(os.getpid()).encode())
        self._expected: dict[Path, tuple[int, int]] = {}

    def hold(self) -> None:
        """Lock the database itself, made when there is none."""
        self._files.append(self._open(self._path))
        self._take()

    def watch(self) -> None:
        """Remember which files are served, now that both are there."""
        names = (self._path, self._path.with_name(self._path.name + "-wal"))
        self._expected = {path: _identity(path) for path in names}

    def in_place(self) -> bool:
        """Whether the database and its log are still the files that were opened."""
        try:
            return all(_identity(path) == there for path, there in self._expected.items())
        except OSError:
            return False

    def release(self) -> None:
        """Let the next process in."""
        while self._files:
            os.close(self._files.pop())

    def _open(self, path: Path) -> int:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if os.geteuid() == 0 and self._path.exists():
                # what root makes beside a database must be open to the service that owns it
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
