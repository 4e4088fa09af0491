"""A look at a SQLite file from outside, for those who ask whether it is sound."""

import contextlib
import sqlite3
from pathlib import Path

SOUND = "ok"
FIXED = (3, 51, 3)
"""The first engine in which two connections that write and reset the log cannot damage the file."""


def engine() -> tuple[int, ...]:
    """The version of the engine."""
    return sqlite3.sqlite_version_info


def quick_check(path: Path) -> str:
    """What the engine says of the file: `SOUND`, or what is wrong."""
    try:
        reading = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        with contextlib.closing(reading) as connection:
            return str(connection.execute("pragma quick_check").fetchone()[0])
    except sqlite3.Error as error:
        return f"cannot be read: {error}"
