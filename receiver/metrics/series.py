"""Counters and histograms as plain numbers, which the exposition reads when it is asked for.

Every job counts in sixteen of them. Those of the client library take a lock and compare bucket after bucket,
which took 4 % of the path of a job. Only the event loop counts here, so no lock is needed.
"""

import time
from bisect import bisect_left
from collections.abc import Sequence

from handlers.values import immutable
from receiver.metrics.table import Metric


@immutable
class Marked:
    """A value of a bucket with the trace that it belongs to, and its moment in seconds since 1970."""

    trace: str
    value: float
    at: float


class CounterSeries:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, by: int = 1) -> None:
        """Add to the number."""
        self.value += by


class HistogramSeries:
    """The counts of values by bucket, their sum, and the last traced value of each bucket."""

    __slots__ = ("_bounds", "counts", "marked", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.marked: dict[int, Marked] = {}
        self.total = 0.0

    def observe(self, value: float, trace: str | None = None) -> None:
        """Count a value in the first bucket with a bound that it does not exceed, or in the last one."""
        bucket = bisect_left(self._bounds, value)
        self.counts[bucket] += 1
        self.total += value
        if trace is not None:
            self.marked[bucket] = Marked(trace, value, time.time())


AnySeries = CounterSeries | HistogramSeries


class Family:
    """The series of one metric by their labels. A metric without labels has its series from the start."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.series: dict[tuple[str, ...], AnySeries] = {}
        if not metric.labels:
            self.labeled(())

    def labeled(self, labels: tuple[str, ...]) -> AnySeries:
        """Return the series with these labels, made where there is none."""
        if labels not in self.series:
            counted = self.metric.kind == "counter"
            self.series[labels] = CounterSeries() if counted else HistogramSeries(self.metric.buckets)
        return self.series[labels]
