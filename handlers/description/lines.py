"""The lines of a TOML text: where a key stands, for errors that name it."""

import re
from collections.abc import Sequence

_TABLE = re.compile(r"\s*\[(\[)?\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"""\s*([A-Za-z0-9_."'-]+)\s*=""")
_QUOTES = "\"'"


def line_of(text: str, place: Sequence[str | int]) -> int:
    """Return the number of the line where a value stands, or that of the nearest table around it; from 1."""
    wanted = [str(step) for step in place]
    lines = _lines(text)
    for length in range(len(wanted), 0, -1):
        found = lines.get(tuple(wanted[:length]))
        if found is not None:
            return found
    return 1


def _lines(text: str) -> dict[tuple[str, ...], int]:
    found: dict[tuple[str, ...], int] = {}
    counts: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    array: tuple[str, ...] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        head = _TABLE.match(line)
        if head is not None:
            table = _names(head[2])
            if head[1]:
                index = counts[table] = counts.get(table, -1) + 1
                table = (*table, str(index))
            _note(found, table, number)
            array = None
        elif array is not None and line.lstrip().startswith("{"):
            index = counts[array] = counts.get(array, -1) + 1
            _note(found, (*array, str(index)), number)
        elif (key := _KEY.match(line)) is not None:
            place = (*table, *_names(key[1]))
            _note(found, place, number)
            # The items of a list of tables stand on lines of their own.
            array = place if line.rstrip().endswith("[") else None
    return found


def _note(found: dict[tuple[str, ...], int], place: tuple[str, ...], number: int) -> None:
    """Note the line of a place, and of those tables around it that begin with it."""
    for length in range(1, len(place) + 1):
        found.setdefault(place[:length], number)


def _names(dotted: str) -> tuple[str, ...]:
    return tuple(name.strip().strip(_QUOTES) for name in dotted.split("."))
