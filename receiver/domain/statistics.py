"""The statistics: their series, labels and histogram buckets. Pure data."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from handlers.values import immutable

Sample: TypeAlias = tuple[str, tuple[str, ...], float | None]
"""One thing that happened: the name of its series, its labels, and its value where the series has buckets."""
CALLBACK_URL = "callback_url"
"""The label `endpoint` of deliveries to the callback URLs of jobs."""
OTHER = "other"
"""The label of values that users choose freely, so that their number is bounded."""
GRAINS = (60, 600, 3600)
"""The widths in seconds of the intervals that are kept."""
KEPT = {60: 2 * 86_400, 600: 14 * 86_400, 3600: 400 * 86_400}
"""Seconds for which the intervals of each width are kept."""
LABELS = 4
"""The most labels of a series."""


@immutable(kw_only=True)
class Series:
    """A series of counts, and of sums where it has `buckets`: upper bounds in seconds."""

    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()

    def bucket(self, value: float | None) -> int:
        """Return the number of the bucket of a value; -1 for a series without buckets."""
        return -1 if value is None else bisect_left(self.buckets, value)


SERIES: Mapping[str, Series] = {
    "jobs_submitted": Series(labels=("account", "operation"), meaning="jobs that were submitted to Ringback"),
    "jobs": Series(
        labels=("account", "operation", "outcome", "completed_by"),
        meaning="jobs that ended, by their final state and the way in which it became known",
    ),
    "job_duration_seconds": Series(
        labels=("account", "operation", "outcome"),
        meaning="time from the submission of a job to its end",
        buckets=(1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200),
    ),
    "submissions": Series(
        labels=("account", "result"),
        meaning="submissions to providers: accepted, retried, rejected or lost",
    ),
    "callbacks": Series(labels=("account", "verdict"), meaning="callbacks of providers, by verdict"),
    "callbacks_missed": Series(
        labels=("account",), meaning="jobs whose end a poll found because no callback came"
    ),
    "polls": Series(labels=("account", "result"), meaning="polls of providers, by result"),
    "events": Series(labels=("type",), meaning="events that were recorded"),
    "deliveries": Series(labels=("endpoint", "outcome"), meaning="deliveries that ended"),
    "delivery_attempts": Series(
        labels=("endpoint", "class"), meaning="attempts to deliver, by the class of the answer or `error`"
    ),
    "delivery_attempt_seconds": Series(
        labels=("endpoint",),
        meaning="time that an attempt took",
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30),
    ),
    "event_to_delivered_seconds": Series(
        labels=("endpoint",),
        meaning="time from an event to its delivery",
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120, 600, 3600, 21_600, 86_400),
    ),
}
"""The series by name. Each is counted in the transaction that makes the thing that it counts."""


def quantile(bounds: Sequence[float], counts: Mapping[int, int], share: float) -> float | None:
    """Return the value below which a `share` of the counts lies, between the bounds of its bucket.

    Values above the last bound count as that bound. Returns None without counts.
    """
    total = sum(counts.values())
    if total == 0:
        return None
    wanted, seen = share * total, 0
    for bucket in sorted(counts):
        if seen + counts[bucket] >= wanted:
            if bucket >= len(bounds):
                return float(bounds[-1])
            low = bounds[bucket - 1] if bucket else 0.0
            return low + (bounds[bucket] - low) * (wanted - seen) / counts[bucket]
        seen += counts[bucket]
    return float(bounds[-1])


def summed(samples: Iterable[Sample]) -> dict[tuple[str, tuple[str, ...], int], tuple[int, float]]:
    """Return the counts and the sums of samples, by series, labels and bucket."""
    found: dict[tuple[str, tuple[str, ...], int], tuple[int, float]] = {}
    for name, labels, value in samples:
        key = name, labels, SERIES[name].bucket(value)
        count, total = found.get(key, (0, 0.0))
        found[key] = count + 1, total + (value or 0.0)
    return found
