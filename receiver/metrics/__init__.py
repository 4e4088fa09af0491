"""The metrics of one process: counters and histograms with a bounded number of series."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from receiver.domain.statistics import OTHER, Sample
from receiver.metrics.series import Family
from receiver.metrics.table import METRICS, SAMPLED

GaugeValues: TypeAlias = Iterable[tuple[str, Mapping[tuple[str, ...], float]]]
"""Gauges by name, each with its values by labels."""

MOST = 10_000
"""The most series of one process; further ones count under `other`."""
HOSTS = 200
"""The most hosts that are told apart among outgoing requests."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The counters and histograms of one process."""

    def __init__(self) -> None:
        self.families = {name: Family(one) for name, one in METRICS.items() if one.kind != "gauge"}
        self.gauges: Callable[[], GaugeValues] = tuple
        # The names of series and of metrics in one table: a sample finds its place with one look.
        self._places: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._peers: set[tuple[str, int]] = set()

    def add(self, samples: Iterable[Sample], trace: str | None = None) -> None:
        """Count samples of the statistics. `trace` is the id of the trace that they belong to."""
        for series, labels, value in samples:
            place = self._places.get((series, labels)) or self._sampled(series, labels)
            if value is None:
                place.add()
            else:
                place.observe(value, trace)

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        """Add to a counter, by its full name without `_total`."""
        self._place(name, labels).add(by)

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Add a value to a histogram."""
        self._place(name, labels).observe(value)

    def committed(self, seconds: float, rows: int) -> None:
        """Count a transaction of the group commit; with 0 rows it failed."""
        if not rows:
            self.count("ringback_store_refused")
            return
        self.observe("ringback_store_commit_seconds", seconds)
        self.observe("ringback_store_commit_rows", rows)

    def served(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request to this process. `route` is the path with names in place of values."""
        known, code = method if method in METHODS else "_OTHER", str(status)
        # The conventions call a server's own fault an error, and every refusal that a client gets.
        error = code if status >= 500 else ""
        self.observe("http_server_request_duration_seconds", seconds, known, route, code, error, "http")

    def called(
        self, method: str, peer: tuple[str, int], status: int | None, error: str, seconds: float
    ) -> None:
        """Count a request that this process made. `error` is the stage at which it failed, else empty."""
        if peer not in self._peers:
            if len(self._peers) >= HOSTS:
                peer = (OTHER, 0)
            self._peers.add(peer)
        host, port = peer
        code = "" if status is None else str(status)
        error = error or (code if status is not None and status >= 400 else "")
        self.observe("http_client_request_duration_seconds", seconds, method, host, str(port), code, error)

    def _sampled(self, series: str, labels: tuple[str, ...]) -> Any:
        name = SAMPLED[series]
        place = self._place(name, labels[: len(METRICS[name].labels)])
        if len(self._places) < MOST:
            self._places[series, labels] = place
        return place

    def _place(self, name: str, labels: tuple[str, ...]) -> Any:
        place = self._places.get((name, labels))
        if place is None:
            if len(self._places) >= MOST:
                labels = (OTHER,) * len(labels)
            place = self._places[name, labels] = self.families[name].labeled(labels)
        return place
