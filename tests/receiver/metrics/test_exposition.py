"""The exposition: counters, histograms and gauges in both formats, as the client library tells its own."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from receiver.domain.statistics import SERIES
from receiver.metrics import HOSTS, Metrics
from receiver.metrics.exposition import exposition, registry
from receiver.metrics.series import HistogramSeries
from receiver.metrics.table import METRICS

TRACE = "0af7651916cd43dd8448eb211c80319c"
VALUES = (0.0, 1.0, 1.001, 30.0, 31.0, 7200.0, 1e9)
"""Values on a bound, beside it, and beyond the last."""


def parsed(text: str) -> Iterable[Metric]:
    """Return the metrics of a text in the format of OpenMetrics."""
    found: Iterable[Metric] = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]  # theirs
    return found


def lines(text: bytes, name: str) -> list[str]:
    """Return the lines about one metric, without the moments of its making."""
    return [one for one in text.decode().splitlines() if name in one and "_created" not in one]


def test_counters_and_histograms_are_told_as_the_library_tells_its_own() -> None:
    metrics, theirs = Metrics(), CollectorRegistry()
    ends, took = METRICS["ringback_submissions"], METRICS["ringback_job_duration_seconds"]
    counter = Counter("ringback_submissions", ends.meaning, ends.labels, registry=theirs)
    histogram = Histogram(
        "ringback_job_duration_seconds", took.meaning, took.labels, registry=theirs, buckets=took.buckets
    )
    for operation in ("video", 'odd "2"\n'):
        for value in VALUES:
            metrics.add(
                [
                    ("submissions", ("aiml", operation), None),
                    ("job_duration_seconds", ("aiml", operation, "failed"), value),
                ]
            )
            counter.labels("aiml", operation).inc()
            histogram.labels("aiml", operation, "failed").observe(value)
    ours = registry(metrics)
    for encode in (generate_latest, open_metrics):
        for name in ("ringback_submissions", "ringback_job_duration_seconds"):
            assert lines(encode(ours), name) == lines(encode(theirs), name)
    assert ours.get_sample_value("ringback_submissions_total", {"account": "aiml", "result": "video"}) == 7


def test_a_traced_value_is_the_exemplar_of_its_bucket() -> None:
    metrics = Metrics()
    metrics.add([("delivery_attempt_seconds", ("ep_1",), 0.02)], TRACE)
    metrics.add([("delivery_attempt_seconds", ("ep_1",), 0.021)])
    text, content_type = exposition(metrics, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    [told] = [one for one in parsed(text.decode()) if one.name == "ringback_delivery_attempt_seconds"]
    marked = [(one.labels["le"], one.value, one.exemplar) for one in told.samples if one.exemplar]
    [(bound, count, exemplar)] = marked
    assert (bound, count, exemplar.labels, exemplar.value) == ("0.025", 2, {"trace_id": TRACE}, 0.02)


def test_a_metric_without_labels_is_told_from_the_start_and_one_with_labels_by_its_name() -> None:
    told = registry(Metrics())
    assert told.get_sample_value("ringback_store_refused_total") == 0
    assert told.get_sample_value("ringback_store_commit_seconds_count") == 0
    names = {family.name for family in told.collect()}
    assert names == {name for name, one in METRICS.items() if one.kind != "gauge"}


def test_gauges_are_told_with_their_labels() -> None:
    metrics = Metrics()
    metrics.gauges = lambda: [("ringback_replicas", {(): 2}), ("ringback_deliveries_owed", {("ep_1",): 7})]
    told = registry(metrics)
    assert told.get_sample_value("ringback_replicas") == 2
    assert told.get_sample_value("ringback_deliveries_owed", {"endpoint": "ep_1"}) == 7


def test_a_histogram_counts_a_value_where_its_statistics_do() -> None:
    statistics = SERIES["delivery_attempt_seconds"]
    for value in (*statistics.buckets, *(bound * 1.001 for bound in statistics.buckets)):
        series = HistogramSeries(statistics.buckets)
        series.observe(value)
        assert series.counts.index(1) == statistics.bucket(value)


def test_requests_are_counted_by_the_names_and_errors_of_the_conventions() -> None:
    metrics = Metrics()
    for status in (200, 404, 503):
        metrics.served("POST", "/v1/jobs", status, 0.1)
        metrics.called("POST", ("a.example", 443), status, "", 0.1)
    metrics.called("POST", ("a.example", 443), None, "connect", 0.1)
    metrics.served("BREW", "/v1/jobs", 405, 0.1)
    ours = registry(metrics)

    def counted(name: str, **labels: str) -> float | None:
        return ours.get_sample_value(f"http_{name}_request_duration_seconds_count", labels)

    served = {"http_request_method": "POST", "http_route": "/v1/jobs", "url_scheme": "http"}
    called = {"http_request_method": "POST", "server_address": "a.example", "server_port": "443"}
    for side, labels, errors in (
        ("server", served, {"200": "", "404": "", "503": "503"}),
        ("client", called, {"200": "", "404": "404", "503": "503", "": "connect"}),
    ):
        for code, error in errors.items():
            assert counted(side, **labels, http_response_status_code=code, error_type=error) == 1
    other = {**served, "http_request_method": "_OTHER"}
    assert counted("server", **other, http_response_status_code="405", error_type="") == 1


def test_hosts_beyond_the_bound_are_one() -> None:
    metrics = Metrics()
    for number in range(HOSTS + 5):
        metrics.called("POST", (f"h{number}.example", 443), 200, "", 0.1)
    labels = {"http_request_method": "POST", "http_response_status_code": "200", "error_type": ""}
    name = "http_client_request_duration_seconds_count"
    other = {**labels, "server_address": "other", "server_port": "0"}
    assert registry(metrics).get_sample_value(name, other) == 5
