"""A look at a SQLite file from outside, for those who ask whether it is sound."""

import contextlib
import sqlite3
from pathlib import Path

from receiver.domain.errors import Misconfigured
from receiver.store.lost_deliveries import LostDelivery
from receiver.store.lost_deliveries import list_all as taken
from receiver.store.migrations import Migration, migrations
from receiver.store.sqlite.driver import drive, pending_of

SOUND = "ok"
FIXED = (3, 51, 3)
"""The first engine in which two connections that write and reset the log cannot damage the file."""


def engine() -> tuple[int, ...]:
    """The version of the engine."""
    return sqlite3.sqlite_version_info


def quick_check(path: Path) -> str:
    """What the engine says of the file: `SOUND`, or what is wrong."""
    try:
        with _reading(path) as connection:
            return str(connection.execute("pragma quick_check").fetchone()[0])
    except sqlite3.Error as error:
        return f"cannot be read: {error}"


def waiting(path: Path) -> list[Migration]:
    """Return the migrations that a file waits for, all where there is none; it may be served meanwhile."""
    if not path.exists():
        return migrations("sqlite")
    try:
        with _reading(path) as connection:
            return pending_of(connection, path.name)
    except sqlite3.Error as error:
        raise Misconfigured("database_url", f"{path} cannot be read: {error}") from None


def losses(path: Path) -> list[LostDelivery]:
    """What endpoints were owed and lost; nothing where the file does not tell."""
    try:
        with _reading(path) as connection:
            return drive(connection, taken())
    except sqlite3.Error:
        return []


def _reading(path: Path) -> "contextlib.closing[sqlite3.Connection]":
    return contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True))
