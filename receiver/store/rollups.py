"""Rollups: the counts and sums of the statistics, by interval.

A transaction adds the changes that it counts as new rows, for which no other transaction waits. `fold` adds
them to the intervals later; until then readers count both.
"""

import random
from collections.abc import Iterable, Sequence
from datetime import datetime

from handlers.values import immutable
from receiver.domain.statistics import GRAINS, KEPT, LABELS, SERIES, Sample, summed
from receiver.store.statements import (
    InsertStatement,
    Transaction,
    insert,
    ms,
    one_or_none,
    query,
    skip_locked,
)

NAMES = tuple(f"label{number}" for number in range(1, LABELS + 1))
KEY = (*NAMES, "bucket")
AT_ONCE = 100
"""The most changes that one transaction folds: other writes wait for it 1 ms, and for 1,000 changes 7 ms."""
SERIES_AT_MOST = 200
"""The most combinations of labels that a reading returns: those with the largest counts."""


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
    minute = ms(now) // 60_000 * 60
    return insert(
        "rollup_change",
        [
            (random.getrandbits(62), name, minute, *_padded(labels), bucket, count, total)  # no secret
            for (name, labels, bucket), (count, total) in summed(samples).items()
        ],
    )


def _padded(labels: tuple[str, ...]) -> tuple[str, ...]:
    return labels + ("",) * (LABELS - len(labels))


def fold() -> Transaction[int]:
    """Add changes to their intervals. Returns the number of changes that were there, at most `AT_ONCE`."""
    # Another replica folds other changes. Both write intervals in one order, so neither waits in a circle.
    found = yield skip_locked("select id from rollup_change order by id limit :limit", limit=AT_ONCE)
    ids = [row["id"] for row in found]
    if not ids:
        return 0
    key = ", ".join(KEY)
    for grain in GRAINS:
        yield query(
            f"insert into rollup select metric, {grain}, at - (at % {grain}) as slot, {key}, sum(count), "
            f"sum(total) from rollup_change where id in (:ids) group by metric, slot, {key} "
            f"order by metric, slot, {key} on conflict (metric, grain, at, {key}) "
            "do update set count = rollup.count + excluded.count, total = rollup.total + excluded.total",
            ids=ids,
        )
    yield query("delete from rollup_change where id in (:ids)", ids=ids)
    return len(ids)


def read(name: str, by: Sequence[str], since: int, until: int, step: int) -> Transaction[Sequence[Interval]]:
    """Return the intervals of a series from `since` to before `until`, summed by labels and `step` seconds.

    All are seconds since 1970, `since` and `until` on the borders of intervals of `step`.
    """
    grain = max(one for one in GRAINS if step % one == 0)
    places = [NAMES[SERIES[name].labels.index(label)] for label in by]
    columns = "".join(f"{place}, " for place in places)
    told = {"metric": name, "since": since, "until": until, "step": step}
    shape = (
        f"select at - (at % :step) as slot, {columns}bucket, sum(count) as count, sum(total) as total from "
    )
    where = " where metric = :metric and at >= :since and at < :until"
    group = f" group by slot, {columns}bucket"
    found = yield query(f"{shape}rollup{where} and grain = :grain{group}", **told, grain=grain)
    fresh = yield query(f"{shape}rollup_change{where}{group}", **told)
    return [
        Interval(
            at=int(row["slot"]),
            labels=tuple(row[place] for place in places),
            bucket=int(row["bucket"]),
            count=int(row["count"]),
            total=float(row["total"]),
        )
        for row in (*found, *fresh)
    ]


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
