"""The metrics of a process in the formats of Prometheus and OpenMetrics, by the client library.

The library takes long to load, so only the call for metrics imports this module.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Exposed
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import INF, floatToGoString

from receiver.metrics import Metrics
from receiver.metrics.series import CounterSeries, Family, HistogramSeries
from receiver.metrics.table import METRICS

Bucket = tuple[str, float] | tuple[str, float, Exemplar]


def exposition(metrics: Metrics, accept: str) -> tuple[bytes, str]:
    """Return the metrics in the format that an `Accept` header prefers, and its content type."""
    encode, content_type = choose_encoder(accept)
    return encode(registry(metrics)), content_type


def registry(metrics: Metrics) -> CollectorRegistry:
    """Return a registry of the library with all metrics."""
    made = CollectorRegistry()
    made.register(_Collected(metrics))
    return made


class _Collected(Collector):
    """A collector that reads the counters, histograms and gauges when it is asked."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Exposed]:
        """Yield every metric with its series."""
        for name, family in self._metrics.families.items():
            yield _counters(name, family) if family.metric.kind == "counter" else _histograms(name, family)
        for name, values in self._metrics.gauges():
            yield _gauges(name, values)


def _counters(name: str, family: Family) -> Exposed:
    told = CounterMetricFamily(name, family.metric.meaning, labels=family.metric.labels)
    for labels, series in family.series.items():
        if isinstance(series, CounterSeries):
            told.add_metric(labels, series.value)
    return told


def _histograms(name: str, family: Family) -> Exposed:
    told = HistogramMetricFamily(name, family.metric.meaning, labels=family.metric.labels)
    bounds = [_written(bound) for bound in (*family.metric.buckets, INF)]
    for labels, series in family.series.items():
        if isinstance(series, HistogramSeries):
            told.add_metric(labels, list(_buckets(bounds, series)), series.total)
    return told


def _written(bound: float) -> str:
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]  # the library's own, for equal names


def _buckets(bounds: Iterable[str], series: HistogramSeries) -> Iterator[Bucket]:
    """Yield each bucket with the count of all values up to its bound."""
    for place, (bound, count) in enumerate(zip(bounds, accumulate(series.counts), strict=True)):
        marked = series.marked.get(place)
        if marked is None:
            yield bound, count
        else:
            yield bound, count, Exemplar({"trace_id": marked.trace}, marked.value, marked.at)


def _gauges(name: str, values: Mapping[tuple[str, ...], float]) -> Exposed:
    told = GaugeMetricFamily(name, METRICS[name].meaning, labels=METRICS[name].labels)
    for labels, value in values.items():
        told.add_metric(labels, value)
    return told
