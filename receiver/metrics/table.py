"""The metrics as data: names, types, labels, buckets and meanings."""

from collections.abc import Mapping, Sequence

from handlers.values import immutable
from receiver.domain.statistics import SERIES

HTTP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""The buckets of HTTP durations that the semantic conventions advise."""


@immutable(kw_only=True)
class Metric:
    """A metric. Counters have no `_total` in their name here: the exposition adds it."""

    kind: str
    labels: tuple[str, ...]
    meaning: str
    buckets: Sequence[float] = ()


def _counted(name: str, *labels: str) -> Metric:
    series = SERIES[name]
    kind = "histogram" if series.buckets else "counter"
    return Metric(kind=kind, labels=labels, meaning=series.meaning, buckets=series.buckets)


SAMPLED: Mapping[str, str] = {
    "jobs": "ringback_jobs",
    "job_duration_seconds": "ringback_job_duration_seconds",
    "submissions": "ringback_submissions",
    "callbacks": "ringback_callbacks",
    "callbacks_missed": "ringback_callbacks_missed",
    "polls": "ringback_polls",
    "events": "ringback_events",
    "deliveries": "ringback_deliveries",
    "delivery_attempts": "ringback_delivery_attempts",
    "delivery_attempt_seconds": "ringback_delivery_attempt_seconds",
    "event_to_delivered_seconds": "ringback_event_to_delivered_seconds",
}
"""The metric of each series that a process counts. Its labels are the first ones of the series."""
METRICS: Mapping[str, Metric] = {
    "ringback_jobs": _counted("jobs", "account", "operation", "outcome", "completed_by"),
    "ringback_job_duration_seconds": _counted("job_duration_seconds", "account", "operation", "outcome"),
    "ringback_jobs_open": Metric(
        kind="gauge", labels=("account", "state"), meaning="jobs that have not ended"
    ),
    "ringback_jobs_unconfirmed": Metric(
        kind="gauge", labels=("account", "state"), meaning="jobs whose submission's answer was lost"
    ),
    "ringback_submissions": _counted("submissions", "account", "result"),
    "ringback_callbacks": _counted("callbacks", "account", "verdict"),
    "ringback_callbacks_missed": _counted("callbacks_missed", "account"),
    "ringback_callback_ack_seconds": Metric(
        kind="histogram",
        labels=("account",),
        meaning="time from a callback's arrival to its durable answer",
        buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
    ),
    "ringback_polls": _counted("polls", "account", "result"),
    "ringback_account_blocked": Metric(
        kind="gauge",
        labels=("account",),
        meaning="1 while an account is blocked: its key or balance is refused",
    ),
    "ringback_events": _counted("events", "type"),
    "ringback_deliveries": _counted("deliveries", "endpoint", "outcome"),
    "ringback_delivery_attempts": _counted("delivery_attempts", "endpoint", "class"),
    "ringback_event_to_delivered_seconds": _counted("event_to_delivered_seconds"),
    "ringback_delivery_attempt_seconds": _counted("delivery_attempt_seconds"),
    "ringback_deliveries_owed": Metric(
        kind="gauge", labels=("endpoint",), meaning="deliveries that are still to be made"
    ),
    "ringback_delivery_oldest_due_seconds": Metric(
        kind="gauge",
        labels=("endpoint",),
        meaning="age of the oldest delivery that is past due, of endpoints that are not held; 0 without one",
    ),
    "ringback_endpoint_state": Metric(
        kind="gauge",
        labels=("endpoint",),
        meaning="0 active, 1 paused, 2 breaker open, 3 disabled",
    ),
    "ringback_assets_resolved": Metric(
        kind="counter", labels=("account", "result"), meaning="fresh links to files, asked of providers"
    ),
    "ringback_store_commit_seconds": Metric(
        kind="histogram",
        labels=(),
        meaning="time of a transaction of the group commit, the commit included",
        buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
    ),
    "ringback_store_commit_rows": Metric(
        kind="histogram",
        labels=(),
        meaning="writes that one transaction carried",
        buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
    ),
    "ringback_store_refused": Metric(
        kind="counter", labels=(), meaning="transactions that failed because the database was unavailable"
    ),
    "ringback_loop_lag_seconds": Metric(
        kind="histogram",
        labels=(),
        meaning="lateness of the event loop",
        buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
    ),
    "ringback_leases_lost": Metric(
        kind="counter", labels=(), meaning="outcomes that came after another replica had taken the work over"
    ),
    "ringback_retention_lost": Metric(
        kind="counter", labels=(), meaning="pending deliveries that retention removed"
    ),
    "ringback_replicas": Metric(kind="gauge", labels=(), meaning="replicas that serve the database"),
    "http_server_request_duration_seconds": Metric(
        kind="histogram",
        labels=(
            "http_request_method",
            "http_route",
            "http_response_status_code",
            "error_type",
            "url_scheme",
        ),
        meaning="duration of requests to this process",
        buckets=HTTP_SECONDS,
    ),
    "http_client_request_duration_seconds": Metric(
        kind="histogram",
        labels=(
            "http_request_method",
            "server_address",
            "server_port",
            "http_response_status_code",
            "error_type",
        ),
        meaning="duration of requests that this process makes",
        buckets=HTTP_SECONDS,
    ),
}
"""Every metric of a process, in the order of the documents."""
