"""A job on one time axis, as lines of text. Pure."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from receiver.cli.terminal import plain

NAME = 16
"""The width of the names of the rows."""
LEAST_IDLE = 2.0
"""Seconds without anything that are never shortened."""
ROWS = {
    "submission": "submission",
    "callback": "callbacks",
    "poll": "polls",
    "note": "notes",
    "event": "events",
}
"""The row of each kind of entry; deliveries and attempts have the row of their target."""
BARS = {
    "pending": "·",
    "submitting": "-",
    "unconfirmed": "?",
    "queued": "=",
    "running": "#",
    "succeeded": "✓",
    "failed": "✗",
    "canceled": "c",
    "expired": "x",
}
"""The characters of a job's states."""
BAD = frozenset({"refused", "error", "unparsed", "contradiction", "mismatch"})
"""The outcomes of entries that are marked as failures."""


class Axis:
    """A time axis: moments in seconds to columns. Long times without anything are shortened."""

    def __init__(self, moments: Sequence[float], width: int) -> None:
        self._moments = sorted(set(moments))
        gaps = [later - earlier for earlier, later in pairwise(self._moments)]
        ordinary = sorted(gaps)[int(len(gaps) * 0.75)] if gaps else 0.0
        most = max(ordinary, LEAST_IDLE)
        total = sum(min(gap, most) for gap in gaps) or 1.0
        self._places, place = [0.0], 0.0
        for gap in gaps:
            place += min(gap, most) / total * (width - 1)
            self._places.append(place)
        self.idle = [
            (round(self._places[number]), round(self._places[number + 1]), gap)
            for number, gap in enumerate(gaps)
            if gap > most
        ]

    def column(self, moment: float) -> int:
        """Return the column of a moment."""
        number = max(bisect_right(self._moments, moment) - 1, 0)
        if number >= len(self._moments) - 1:
            return round(self._places[-1])
        share = (moment - self._moments[number]) / (self._moments[number + 1] - self._moments[number])
        return round(
            self._places[number] + max(share, 0.0) * (self._places[number + 1] - self._places[number])
        )


def seconds(moment: str) -> float:
    """Return a moment of the API in seconds since 1970."""
    return datetime.fromisoformat(moment).timestamp()


def drawn(job: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], width: int, now: float) -> list[str]:
    """Return the lines of a job's waterfall, at most `width` wide."""
    room = max(width - NAME - 1, 20)
    began = seconds(job["created_at"])
    ended = seconds(job["completed_at"]) if job["completed_at"] else max(now, began)
    axis = Axis([began, ended, *(seconds(one["at"]) for one in entries)], room)
    rows: dict[str, list[str]] = {"state": _states(job, entries, axis, began, ended, room)}
    targets: dict[str, str] = {}
    for one in entries:
        name, mark = _marked(one, targets)
        if name:
            rows.setdefault(name, [" "] * room)[axis.column(seconds(one["at"]))] = mark
    lines = [f"{plain(name)[:NAME]:<{NAME}} {''.join(row).rstrip()}" for name, row in rows.items()]
    return [*lines, _axis_line(axis, room, ended - began)]


def _states(
    job: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    axis: Axis,
    began: float,
    ended: float,
    room: int,
) -> list[str]:
    row, state, since = [" "] * room, "pending", began
    moves = [(seconds(one["at"]), str(one["to"])) for one in entries if one["kind"] == "update"]
    for at, after in [*moves, (ended, str(job["state"]))]:
        first, last = axis.column(since), axis.column(at)
        row[first : last + 1] = [BARS.get(state, "=")] * (last + 1 - first)
        state, since = after, at
    row[axis.column(since)] = BARS.get(state, "=")
    return row


def _marked(entry: Mapping[str, Any], targets: dict[str, str]) -> tuple[str, str]:
    """Return the row of an entry and its mark; an empty row for entries that have none."""
    kind = entry["kind"]
    if kind == "delivery":
        targets[entry["delivery"]] = entry["endpoint"] or "callback URL"
        return targets[entry["delivery"]], "o"
    if kind == "attempt":
        good = entry.get("status") is not None and 200 <= entry["status"] < 300
        return targets.get(entry["delivery"], "deliveries"), "✓" if good else "✗"
    return ROWS.get(kind, ""), "✗" if entry.get("outcome") in BAD else "●"


def _axis_line(axis: Axis, room: int, took: float) -> str:
    line = ["─"] * room
    for first, last, gap in axis.idle:
        text = f"⋯{span(gap)}⋯"
        start = first + max((last - first - len(text)) // 2, 0)
        if start + len(text) <= room:
            line[start : start + len(text)] = text
    return f"{span(took):<{NAME}} {''.join(line)}"


def span(value: float) -> str:
    """Return a number of seconds as people say it."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    if value < 3600:
        return f"{value // 60:.0f} min {value % 60:.0f} s"
    return f"{value // 3600:.0f} h {value % 3600 // 60:.0f} min"
