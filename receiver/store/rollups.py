"""Rollups: the counts and sums of the statistics, by interval.

A transaction adds the changes that it counts as one new row, for which no other transaction waits. `fold`
adds them to the intervals later; until then readers count both.
"""

import itertools
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from pydantic_core import to_json

from handlers.values import immutable
from receiver.domain.statistics import GRAINS, KEPT, LABELS, SERIES, Sample, summed
from receiver.store.statements import (
    InsertStatement,
    Rows,
    Transaction,
    add_to,
    insert,
    ms,
    one_or_none,
    query,
    skip_locked,
)

NAMES = tuple(f"label{number}" for number in range(1, LABELS + 1))
KEY = ("metric", "grain", "at", *NAMES, "bucket")
AT_ONCE = 500
"""The most changes that one transaction folds."""
LOOK = 50
"""The most changes that are read and summed at once: for about 1 ms nothing else runs."""
EVERYTHING: Mapping[str, str] = {}
"""No values of labels: all rows."""
SERIES_AT_MOST = 200
"""The most combinations of labels that a reading returns: those with the largest counts."""
# Each process begins at a random number and goes on from there: replicas need no common sequence, and rows
# that are written together lie together.
_numbers = itertools.count(random.getrandbits(62))  # no secret
Sums: TypeAlias = dict[tuple[Any, ...], list[float]]
"""Counts with the sums of their values, by key."""


@immutable(kw_only=True)
class Interval:
    """The count and the sum of one interval, one combination of labels and one bucket."""

    at: int
    labels: tuple[str, ...]
    bucket: int
    count: int
    total: float


def changes(samples: Iterable[Sample], now: datetime) -> InsertStatement:
    """Return the statement that adds samples. They count in the minute of `now`."""
    counts = [
        ((name, *_padded(labels), bucket), count, total)
        for (name, labels, bucket), (count, total) in summed(samples).items()
    ]
    minute = ms(now) // 60_000 * 60
    row = next(_numbers), minute, to_json(counts).decode()
    return insert("rollup_change", [row] if counts else [])


def _padded(labels: tuple[str, ...]) -> tuple[str, ...]:
    return labels + ("",) * (LABELS - len(labels))


def unfolded(after: int) -> Transaction[Rows]:
    """Return the next changes behind an id, at most `LOOK`."""
    found = yield query(
        "select id, at, counts from rollup_change where id > :after order by id limit :limit",
        after=after,
        limit=LOOK,
    )
    return found


class Unfolded:
    """Changes that were read, summed by minute outside of any transaction: no other write waits for that."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self._minutes = _sums()

    @property
    def last(self) -> int:
        """Return the id of the last change; -1 where there is none."""
        return self.ids[-1] if self.ids else -1

    def add(self, changes: Rows) -> None:
        """Add changes as `unfolded` returns them."""
        for row in changes:
            self.ids.append(row["id"])
            for place, count, total in json.loads(row["counts"]):
                _add(self._minutes, (row["at"], *place), count, total)

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the rows to add to the intervals, in the order of their keys."""
        # Few minutes and places, so the wider intervals are made of the sums.
        sums = _sums()
        for (at, name, *place), (count, total) in self._minutes.items():
            for grain in GRAINS:
                _add(sums, (name, grain, at - at % grain, *place), count, total)
        return [(*key, count, total) for key, (count, total) in sorted(sums.items())]


def fold(read: Unfolded) -> Transaction[int]:
    """Add changes to their intervals. Returns their number, 0 where another replica folds some of them."""
    found = yield skip_locked("select id from rollup_change where id in (:ids) order by id", ids=read.ids)
    if len(found) < len(read.ids):
        return 0
    # In the order of their keys, so that two replicas never wait for each other.
    yield add_to("rollup", KEY, ("count", "total"), read.rows())
    yield query("delete from rollup_change where id in (:ids)", ids=read.ids)
    return len(found)


def _sums() -> Sums:
    return defaultdict(lambda: [0, 0.0])


def _add(sums: Sums, key: tuple[Any, ...], count: float, total: float) -> None:
    known = sums[key]
    known[0] += count
    known[1] += total


def read(
    name: str, by: Sequence[str], since: int, until: int, step: int, only: Mapping[str, str] = EVERYTHING
) -> Transaction[Sequence[Interval]]:
    """Return the intervals of a series from `since` to before `until`, summed by labels and `step` seconds.

    With `only`, those with these values of labels. All are seconds since 1970, `since` and `until` on the
    borders of intervals of `step`. An interval with changes that are not folded yet is there several times.
    """
    grain = max(one for one in GRAINS if step % one == 0)
    places = [SERIES[name].labels.index(label) for label in by]
    columns = "".join(f"{NAMES[place]}, " for place in places)
    wanted = {SERIES[name].labels.index(label): value for label, value in only.items()}
    narrow = "".join(f"and {NAMES[place]} = :only{place} " for place in wanted)
    found = yield query(
        f"select at - (at % :step) as slot, {columns}bucket, sum(count) as count, sum(total) as total "
        "from rollup where metric = :metric and at >= :since and at < :until and grain = :grain "
        f"{narrow}group by slot, {columns}bucket",
        metric=name,
        since=since,
        until=until,
        step=step,
        grain=grain,
        **{f"only{place}": value for place, value in wanted.items()},
    )
    told = [
        Interval(
            at=int(row["slot"]),
            labels=tuple(row[NAMES[place]] for place in places),
            bucket=int(row["bucket"]),
            count=int(row["count"]),
            total=float(row["total"]),
        )
        for row in found
    ]
    fresh = yield query(
        "select at, counts from rollup_change where at >= :since and at < :until", since=since, until=until
    )
    return [*told, *_unfolded(fresh, name, places, step, wanted)]


def _unfolded(
    rows: Rows, name: str, places: Sequence[int], step: int, wanted: Mapping[int, str]
) -> Iterator[Interval]:
    """Yield the counts of one series in changes, by the labels at `places`, with the wanted values."""
    sums = _sums()
    for row in rows:
        for (metric, *labels, bucket), count, total in json.loads(row["counts"]):
            if metric == name and all(labels[place] == value for place, value in wanted.items()):
                slot = row["at"] - row["at"] % step
                _add(sums, (slot, tuple(labels[place] for place in places), bucket), count, total)
    for (slot, labels, bucket), (count, total) in sums.items():
        yield Interval(at=slot, labels=labels, bucket=bucket, count=int(count), total=total)


def forget(now: datetime, limit: int) -> Transaction[int]:
    """Remove intervals that are kept no longer, the oldest first. Returns the number of rows removed."""
    removed = 0
    for grain, kept in KEPT.items():
        found = yield query("select min(at) as at from rollup where grain = :grain", grain=grain)
        oldest = one_or_none(found)
        before = ms(now) // 1000 - kept
        if oldest is None or oldest["at"] is None or oldest["at"] >= before:
            continue
        found = yield query(
            "delete from rollup where grain = :grain and at >= :at and at < :until returning metric",
            grain=grain,
            at=oldest["at"],
            until=min(before, oldest["at"] + grain * limit),
        )
        removed += len(found)
    return removed
