"""The statistics of a service, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ringback.reading import Raw


@dataclass(frozen=True, kw_only=True)
class StatisticPoint(Raw):
    """The count of one step, and the sum of its values in seconds where the statistic has them."""

    at: datetime
    count: int
    sum: float | None = None


@dataclass(frozen=True, kw_only=True)
class StatisticBucket(Raw):
    """The number of values up to a bound in seconds and above the one before; None: above all bounds."""

    le: float | None
    count: int


@dataclass(frozen=True, kw_only=True)
class StatisticSeries(Raw):
    """The statistic for one combination of labels: over time a count and points, of now a value."""

    labels: Mapping[str, str]
    value: float | None = None
    count: int | None = None
    sum: float | None = None
    p50: float | None = None
    p95: float | None = None
    buckets: tuple[StatisticBucket, ...] | None = None
    points: tuple[StatisticPoint, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Statistic(Raw):
    """A statistic: those of its series with the largest counts, at most 200."""

    metric: str
    meaning: str
    by: tuple[str, ...]
    since: datetime
    until: datetime
    step: int
    data: tuple[StatisticSeries, ...]
