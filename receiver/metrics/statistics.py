"""The statistics of a deployment: series over time out of the rollups, and the standing of now."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from handlers.values import immutable
from receiver.domain.clock import Clock
from receiver.domain.rendering import stamp
from receiver.domain.statistics import GRAINS, KEPT, SERIES, quantile
from receiver.metrics.gauges import StoreGauges
from receiver.store import Store, rollups
from receiver.store.rollups import Interval
from receiver.store.standing import DeploymentStanding

POINTS = 1_500
"""The most points of a series."""
CHOSEN = 150
"""The points that a step gives at most where none is asked for."""
STEPS = (*GRAINS, 21_600, 86_400)
"""The steps in seconds that are chosen by default."""
STANDING: Mapping[str, tuple[str, ...]] = {
    "jobs_open": ("account", "state"),
    "deliveries_owed": ("endpoint",),
    "delivery_oldest_due_seconds": ("endpoint",),
    "endpoint_state": ("endpoint", "state"),
    "replicas": (),
}
"""The statistics of now, with their labels: they have a value and no points."""


@immutable(kw_only=True)
class StatisticsQuery:
    """A question: a series, the labels to tell apart, and the time. All are checked.

    `since` and `until` lie on the borders of steps. `only` has the values of labels to which it is narrowed.
    """

    metric: str
    by: tuple[str, ...]
    since: datetime
    until: datetime
    step: int
    only: Mapping[str, str]


@immutable(kw_only=True)
class Statistics:
    """The reader of the statistics."""

    store: Store
    clock: Clock
    gauges: StoreGauges

    async def series(self, wanted: StatisticsQuery) -> list[dict[str, Any]]:
        """Return the series of a metric, those with the largest counts first."""
        if wanted.metric in STANDING:
            return _standing(wanted, await self.gauges.standing())
        since, until = int(wanted.since.timestamp()), int(wanted.until.timestamp())
        found = await self.store.read(
            rollups.read(wanted.metric, wanted.by, since, until, wanted.step, wanted.only)
        )
        groups: dict[tuple[str, ...], list[Interval]] = defaultdict(list)
        for one in found:
            groups[one.labels].append(one)
        made = [_series(wanted, labels, group) for labels, group in groups.items()]
        return sorted(made, key=lambda one: (-one["count"], list(one["labels"].values())))[
            : rollups.SERIES_AT_MOST
        ]


def step_of(since: datetime, until: datetime, now: datetime) -> int:
    """Return the step for a time: the shortest that gives few points out of intervals that are still kept."""
    span, age = (until - since).total_seconds(), (now - since).total_seconds()
    fits = [one for one in STEPS if span / one <= CHOSEN and age <= kept_for(one)]
    return fits[0] if fits else STEPS[-1]


def kept_for(step: int) -> int:
    """Return the seconds for which intervals are kept that add up to a step."""
    return KEPT[max(grain for grain in GRAINS if step % grain == 0)]


def aligned(since: datetime, until: datetime, step: int) -> tuple[datetime, datetime]:
    """Return the borders of the steps in which a time begins and ends: only whole steps are counted."""
    return _floor(since, step), _floor(until - MOMENT, step) + timedelta(seconds=step)


def _floor(moment: datetime, step: int) -> datetime:
    seconds = int(moment.timestamp())
    return datetime.fromtimestamp(seconds - seconds % step, UTC)


def _series(wanted: StatisticsQuery, labels: tuple[str, ...], group: Sequence[Interval]) -> dict[str, Any]:
    bounds = SERIES[wanted.metric].buckets
    points: dict[int, list[float]] = {}
    buckets: Counter[int] = Counter()
    for one in group:
        point = points.setdefault(one.at, [0, 0.0])
        point[0] += one.count
        point[1] += one.total
        buckets[one.bucket] += one.count
    told: dict[str, Any] = {
        "labels": dict(zip(wanted.by, labels, strict=True)),
        "count": sum(one.count for one in group),
        "points": [
            {"at": _stamped(at), "count": int(count)} | ({"sum": round(total, 6)} if bounds else {})
            for at, (count, total) in sorted(points.items())
        ],
    }
    if bounds:
        told |= {
            "sum": round(sum(one.total for one in group), 6),
            "p50": _rounded(quantile(bounds, buckets, 0.5)),
            "p95": _rounded(quantile(bounds, buckets, 0.95)),
            "buckets": [
                {"le": None if place >= len(bounds) else bounds[place], "count": count}
                for place, count in sorted(buckets.items())
            ],
        }
    return told


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _stamped(at: int) -> str:
    return stamp(datetime.fromtimestamp(at, UTC))


def _standing(wanted: StatisticsQuery, now: DeploymentStanding) -> list[dict[str, Any]]:
    values: dict[str, Mapping[tuple[str, ...], float]] = {
        "jobs_open": now.jobs,
        "deliveries_owed": {(name,): count for name, count in now.owed.items()},
        "delivery_oldest_due_seconds": {(name,): age for name, age in now.oldest_due.items()},
        "endpoint_state": dict.fromkeys(now.endpoints.items(), 1),
        "replicas": {(): now.replicas},
    }
    labels = STANDING[wanted.metric]
    places = [labels.index(name) for name in wanted.by]
    # The age of the oldest is no sum.
    joined: dict[tuple[str, ...], float] = {}
    for key, value in values[wanted.metric].items():
        if any(key[labels.index(name)] != text for name, text in wanted.only.items()):
            continue
        group = tuple(key[place] for place in places)
        before = joined.get(group)
        worst = wanted.metric.endswith("_seconds")
        joined[group] = value if before is None else max(before, value) if worst else before + value
    ordered = sorted(joined.items(), key=lambda one: (-one[1], one[0]))
    return [{"labels": dict(zip(wanted.by, key, strict=True)), "value": value} for key, value in ordered]


MOMENT = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
"""The time that is looked at where none is named."""
