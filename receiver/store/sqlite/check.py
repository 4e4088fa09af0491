"""Checks of a SQLite file, made without serving it."""

import contextlib
import sqlite3
from pathlib import Path

from receiver.domain.errors import Misconfigured
from receiver.store.lost_deliveries import LostDelivery
from receiver.store.lost_deliveries import list_all as taken
from receiver.store.migrations import Migration, migrations
from receiver.store.reencryption import kids
from receiver.store.sqlite.driver import drive, pending_of

SOUND = "ok"
"""The answer of SQLite for a file without faults."""
FIXED = (3, 51, 3)
"""The first version of SQLite in which two connections that write and reset the log cannot damage a file."""


def engine() -> tuple[int, ...]:
    """Return the version of SQLite."""
    return sqlite3.sqlite_version_info


def quick_check(path: Path) -> str:
    """Return the result of SQLite's quick check of a file: `SOUND`, or a description of the fault."""
    try:
        with _reading(path) as connection:
            return str(connection.execute("pragma quick_check").fetchone()[0])
    except sqlite3.Error as error:
        return f"cannot be read: {error}"


def waiting(path: Path) -> list[Migration]:
    """Return the migrations that have not run on a file: all of them, if there is no file.

    The file may be served meanwhile. Raises `Misconfigured` when it cannot be read.
    """
    if not path.exists():
        return migrations("sqlite")
    try:
        with _reading(path) as connection:
            return pending_of(connection, path.name)
    except sqlite3.Error as error:
        raise Misconfigured("database_url", f"{path} cannot be read: {error}") from None


def needed_keys(path: Path) -> set[str]:
    """Return the ids of the master keys that stored secrets need; none where the file cannot be read."""
    try:
        with _reading(path) as connection:
            return drive(connection, kids())
    except sqlite3.Error:
        return set()


def losses(path: Path) -> list[LostDelivery]:
    """Return the lost deliveries, by endpoint and reason. Returns none if the file cannot be read."""
    try:
        with _reading(path) as connection:
            return drive(connection, taken())
    except sqlite3.Error:
        return []


def _reading(path: Path) -> "contextlib.closing[sqlite3.Connection]":
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    return contextlib.closing(connection)
