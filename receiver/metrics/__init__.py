"""The metrics of one process: counters and histograms with a bounded number of series."""

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.registry import Collector

from receiver.domain.statistics import OTHER, Sample
from receiver.metrics.table import METRICS, SAMPLED

MOST = 10_000
"""The most series of one process; further ones count under `other`."""
HOSTS = 200
"""The most hosts that are told apart among outgoing requests."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The counters and histograms of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._parents: dict[str, Any] = {
            name: self._parent(name) for name, one in METRICS.items() if one.kind != "gauge"
        }
        # Children are looked up here: a look-up in the library converts the labels and takes a lock.
        self._children: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._hosts: set[str] = set()

    def add(self, samples: Iterable[Sample], trace: str | None = None) -> None:
        """Count samples of the statistics. `trace` is the id of the trace that they belong to."""
        exemplar = None if trace is None else {"trace_id": trace}
        for series, labels, value in samples:
            child = self._children.get((series, labels)) or self._sampled(series, labels)
            if value is None:
                child.inc()
            else:
                child.observe(value, exemplar)

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        """Add to a counter, by its full name without `_total`."""
        self._child(name, labels).inc(by)

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Add a value to a histogram."""
        self._child(name, labels).observe(value)

    def committed(self, seconds: float, rows: int) -> None:
        """Count a transaction of the group commit; with 0 rows it failed."""
        if not rows:
            self.count("ringback_store_refused")
            return
        self.observe("ringback_store_commit_seconds", seconds)
        self.observe("ringback_store_commit_rows", rows)

    def served(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request to this process. `route` is the path with names in place of values."""
        known = method if method in METHODS else "_OTHER"
        self.observe("http_server_request_duration_seconds", seconds, known, route, str(status))

    def called(self, method: str, host: str, status: int | None, error: str, seconds: float) -> None:
        """Count a request that this process made. `error` is the stage at which it failed, else empty."""
        if host not in self._hosts:
            if len(self._hosts) >= HOSTS:
                host = OTHER
            self._hosts.add(host)
        code = "" if status is None else str(status)
        self.observe("http_client_request_duration_seconds", seconds, method, host, code, error)

    def collect_with(self, collector: Collector) -> None:
        """Add a collector of gauges."""
        self.registry.register(collector)

    def _parent(self, name: str) -> Any:
        one = METRICS[name]
        if one.kind == "counter":
            return Counter(name, one.meaning, one.labels, registry=self.registry)
        return Histogram(name, one.meaning, one.labels, registry=self.registry, buckets=one.buckets)

    def _sampled(self, series: str, labels: tuple[str, ...]) -> Any:
        name = SAMPLED[series]
        child = self._child(name, labels[: len(METRICS[name].labels)])
        if len(self._children) < MOST:
            self._children[series, labels] = child
        return child

    def _child(self, name: str, labels: tuple[str, ...]) -> Any:
        child = self._children.get((name, labels))
        if child is None:
            if len(self._children) >= MOST:
                labels = (OTHER,) * len(labels)
            parent = self._parents[name]
            child = parent.labels(*labels) if labels else parent
            self._children[name, labels] = child
        return child
