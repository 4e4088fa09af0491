"""Moving the log into the file beside the writer, so that no commit waits for it.

SQLite moves it within the commit that made it long enough: 10 ms of copying every 4,000 pages, for whoever
asked for that commit and for all behind it. A second connection that moves a little, often, leaves the writer
the last few pages; those end the log, which starts again from its beginning as before.
"""

import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

LOSES_WRITES = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})
"""After these nobody knows what the disk holds: the process ends and starts again from the file."""
STEP = 1000
"""Changed rows after which what they wrote is moved: some 500 pages."""


class Checkpointer:
    """Moves the log of one file. What it cannot move now, the writer will: only `on_fatal` is told."""

    def __init__(self, path: Path, on_fatal: Callable[[str], None]) -> None:
        self._path = path
        self._on_fatal = on_fatal
        self._moved = 0
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="checkpoints", daemon=True)

    def open(self) -> None:
        """Stand by."""
        self._thread.start()

    def wrote(self, changes: int) -> None:
        """The writer has changed so many rows since it was opened."""
        if changes - self._moved >= STEP and self._asked.empty():
            self._moved = changes
            self._asked.put(True)

    def close(self) -> None:
        """Finish what was begun."""
        if self._thread.is_alive():
            self._asked.put(False)
            self._thread.join()

    def _serve(self) -> None:
        connection: sqlite3.Connection | None = None
        while self._asked.get():
            try:
                if connection is None:
                    connection = sqlite3.connect(self._path, isolation_level=None, timeout=0)
                    connection.execute("pragma synchronous = full")
                connection.execute("pragma wal_checkpoint(passive)").fetchall()
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", None) in LOSES_WRITES:
                    self._on_fatal(f"the disk does not keep what is written: {error}")
        if connection is not None:
            connection.close()
