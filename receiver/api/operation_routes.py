"""The routes for operators and readers: health, statistics, metrics and documents."""

from collections.abc import Sequence

from receiver.api import dashboard, health, metrics, sessions, site, statistics
from receiver.api import responses as s
from receiver.api.routing import Route, route
from receiver.dashboard import PREFIX

PAGE_FILES = route(
    "GET", f"{PREFIX}/{{path:path}}", dashboard.file, "Show a file of the dashboard.", None, None
)
"""The route of the files of the dashboard, which are no part of the API."""
OPERATION_ROUTES: Sequence[Route] = (
    route(
        "GET",
        "/v1/stats",
        statistics.show,
        "Show a statistic over time, or as it stands now.",
        "metrics:read",
        statistics.StatsResponse,
    ).asks(statistics.StatsQuery),
    route(
        "GET",
        "/metrics",
        metrics.show,
        "Show the metrics of this process for Prometheus. With `metrics_public` it needs no API key.",
        "metrics:read",
        None,
    ).opened_by("metrics_public"),
    route("GET", "/healthz", health.healthz, "Report that the process is alive.", None, s.Wellness),
    route(
        "GET",
        "/readyz",
        health.readyz,
        "Report whether the service can store data and is not stopping.",
        None,
        s.Wellness,
    ),
    route("GET", "/", dashboard.front, "Show the dashboard.", None, None),
    route(
        "POST",
        "/session",
        sessions.create,
        "Create a session of a browser out of an API key.",
        None,
        sessions.SessionResponse,
        201,
    ).takes(sessions.SessionRequest),
    route(
        "GET",
        "/session",
        sessions.show,
        "Show the session of the browser, with 204 where there is none.",
        None,
        sessions.SessionResponse,
    ).may_answer(204),
    route("DELETE", "/session", sessions.delete, "Delete the session of the browser.", None, None, 204),
    route(
        "GET",
        "/openapi.json",
        site.openapi,
        "Show the OpenAPI document, generated from the models that validate requests.",
        None,
        None,
    ),
    route("GET", "/docs", site.docs, "Show the API reference: calls, events and errors.", None, None),
    route(
        "GET",
        "/docs/events",
        site.events,
        "Explain how to receive events: types, signatures, retries, sample code.",
        None,
        None,
    ),
    route("GET", "/problems", site.problem_list, "List the error codes.", None, None),
    route("GET", "/problems/{code}", site.problems, "Explain an error code.", None, None),
)
"""The routes of `GET /healthz` to `/problems`, as `routes.ROUTES` lists them."""
