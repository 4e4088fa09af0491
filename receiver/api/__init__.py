"""The API: every route with its summary, scope, models and status, and the application that serves them."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version

from pydantic import BaseModel
from starlette.routing import Route as PathRoute
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from receiver.api import assets, callbacks, deliveries, endpoints, events, health, jobs, keys, providers, site
from receiver.api import requests as a
from receiver.api import responses as s
from receiver.api import webhooks as w
from receiver.api.guard import JOB_LIMIT, Handle
from receiver.api.openapi import description
from receiver.api.routing import Resource, Route, not_found
from receiver.api.server import SignalFree, new_server
from receiver.api.services import Services
from receiver.providers.accounts import CALLBACK_PREFIX
from receiver.work.heartbeat import Role


def route(
    method: str,
    path: str,
    handle: Handle,
    summary: str,
    scope: str | None,
    told: type[BaseModel] | None,
    status: int = 200,
) -> Route:
    """Return a route whose response is one object."""
    return Route(
        method=method, path=path, handle=handle, summary=summary, scope=scope, told=told, status=status
    )


def listing(
    path: str, handle: Handle, summary: str, scope: str, item: type[BaseModel], query: type[BaseModel]
) -> Route:
    """Return a route whose response is a page of a list."""
    return replace(route("GET", path, handle, summary, scope, item), query=query, paged=True)


ROUTES: Sequence[Route] = (
    route("POST", "/v1/jobs", jobs.create, "Submit a job.", "jobs:write", s.NewJobResponse, 202).takes(
        a.JobRequest,
        limit=JOB_LIMIT,
        also=(200,),
        headers=("Idempotency-Key", "Prefer"),
        reads=jobs.read_wish,
    ),
    listing(
        "/v1/jobs", jobs.list_, "List jobs, newest first.", "jobs:read", s.JobResponse, a.JobQuery
    ).labelled(),
    route(
        "GET",
        "/v1/jobs/{id}",
        jobs.show,
        "Show a job with its input; with `wait`, once it is final.",
        "jobs:read",
        s.WholeJob,
    ).asks(a.WaitQuery),
    route(
        "DELETE",
        "/v1/jobs/{id}",
        jobs.delete,
        "Erase a final job with its events and attempts.",
        "jobs:write",
        None,
        204,
    ),
    route("POST", "/v1/jobs/{id}/cancel", jobs.cancel, "Cancel a job.", "jobs:write", s.JobResponse),
    route(
        "POST",
        "/v1/jobs/{id}/resolve",
        jobs.resolve,
        "Resolve an unconfirmed job: exactly one of the three fields.",
        "jobs:write",
        s.JobResponse,
    ).takes(a.Resolution),
    listing(
        "/v1/jobs/{id}/timeline",
        jobs.timeline_,
        "Show a job's timeline, oldest first.",
        "jobs:read",
        s.EntryResponse,
        a.PageQuery,
    ),
    listing(
        "/v1/events",
        events.feed,
        "List events, oldest first; with `wait`, once there is one.",
        "events:read",
        w.EventResponse,
        a.FeedQuery,
    ).fed(),
    route(
        "GET",
        "/v1/events/{id}",
        events.show,
        "Show an event and, for every endpoint, why it went there or did not.",
        "events:read",
        w.EventWithReasons,
    ),
    route(
        "POST",
        "/v1/endpoints",
        endpoints.create,
        "Create an endpoint; its secret is in this answer and at `/secret` only.",
        "endpoints:write",
        s.NewEndpoint,
        201,
    ).takes(a.EndpointRequest),
    listing(
        "/v1/endpoints",
        endpoints.list_,
        "List endpoints, newest first.",
        "endpoints:read",
        s.EndpointResponse,
        a.PageQuery,
    ),
    route(
        "GET", "/v1/endpoints/{id}", endpoints.show, "Show an endpoint.", "endpoints:read", s.EndpointResponse
    ),
    route(
        "PATCH",
        "/v1/endpoints/{id}",
        endpoints.update,
        "Change an endpoint (RFC 7396): null takes a field back to its default.",
        "endpoints:write",
        s.EndpointResponse,
    ).takes(a.EndpointPatch),
    route(
        "DELETE",
        "/v1/endpoints/{id}",
        endpoints.delete,
        "Delete an endpoint and cancel its pending deliveries.",
        "endpoints:write",
        None,
        204,
    ),
    route(
        "GET",
        "/v1/endpoints/{id}/secret",
        endpoints.secret,
        "Show the secret that signs for an endpoint.",
        "endpoints:write",
        s.EndpointSecret,
    ),
    route(
        "POST",
        "/v1/endpoints/{id}/test",
        endpoints.test,
        "Send `endpoint.test` to an endpoint now, and show the attempt.",
        "endpoints:write",
        s.AttemptResponse,
    ),
    route(
        "POST",
        "/v1/endpoints/{id}/resume",
        endpoints.resume,
        "Resume a paused or disabled endpoint; the deliveries that it collected go out.",
        "endpoints:write",
        s.EndpointResponse,
    ),
    listing(
        "/v1/deliveries",
        deliveries.list_,
        "List deliveries, newest first.",
        "endpoints:read",
        s.DeliveryResponse,
        a.DeliveryQuery,
    ),
    route(
        "GET",
        "/v1/deliveries/{id}",
        deliveries.show,
        "Show a delivery with its attempts.",
        "endpoints:read",
        s.DeliveryWithAttempts,
    ),
    route(
        "POST",
        "/v1/deliveries/{id}/retry",
        deliveries.retry,
        "Retry a delivery now, whatever its state.",
        "endpoints:write",
        s.DeliveryResponse,
        202,
    ),
    route(
        "POST",
        "/v1/deliveries/{id}/cancel",
        deliveries.cancel,
        "Cancel a pending delivery.",
        "endpoints:write",
        s.DeliveryResponse,
    ),
    route(
        "POST",
        "/v1/keys",
        keys.create,
        "Create an API key; it is shown in this answer only.",
        "admin",
        s.NewKey,
        201,
    ).takes(a.KeyRequest),
    listing("/v1/keys", keys.list_, "List API keys, newest first.", "admin", s.Key, a.PageQuery),
    route("DELETE", "/v1/keys/{id}", keys.delete, "Revoke an API key.", "admin", None, 204),
    listing(
        "/v1/providers",
        providers.list_,
        "List the configured accounts: operations, health, blocked or not.",
        "jobs:read",
        s.ProviderResponse,
        a.PageQuery,
    ),
    route(
        "GET",
        "/assets/{token}",
        assets.follow,
        "Redirect to an asset: the stable link, without an API key.",
        None,
        None,
        307,
    ),
    route(
        "HEAD",
        "/assets/{token}",
        assets.follow,
        "Redirect to an asset: the stable link, without an API key.",
        None,
        None,
        307,
    ),
    route("GET", "/healthz", health.healthz, "Tell that the process lives.", None, s.Wellness),
    route(
        "GET",
        "/readyz",
        health.readyz,
        "Tell whether the service can store and is not stopping.",
        None,
        s.Wellness,
    ),
    route("GET", "/", site.front, "Lead to the API reference.", None, None, 307),
    route(
        "GET",
        "/openapi.json",
        site.openapi,
        "Show the OpenAPI document, made from the models that check requests.",
        None,
        None,
    ),
    route("GET", "/docs", site.docs, "Show the API reference: calls, events, errors.", None, None),
    route("GET", "/problems", site.problem_list, "List the codes of errors.", None, None),
    route("GET", "/problems/{code}", site.problems, "Explain an error by its code.", None, None),
)
"""Every route but `POST /callbacks/{account}/{token}`, the hot path: `application` hands it to
`callbacks.serve` as plain ASGI, and `http_server` answers small callbacks below ASGI.
"""

HEALTH = frozenset({"/healthz", "/readyz"})
"""Paths that a worker-only process serves."""


def application(services: Services) -> ASGIApp:
    """Return the ASGI application of these services."""
    worker = services.role is Role.WORKER
    by_path: dict[str, list[Route]] = {}
    for one in ROUTES:
        if worker and one.path not in HEALTH:
            continue
        by_path.setdefault(one.path, []).append(one)
    document = functools.cache(lambda: description(ROUTES, version("ringback")))
    router = Router(
        [PathRoute(path, Resource(services, calls, document)) for path, calls in by_path.items()],
        redirect_slashes=False,
        default=not_found,
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not worker and scope["path"].startswith(CALLBACK_PREFIX):
            await callbacks.serve(services.callbacks, services.access_log, scope, receive, send)
        else:
            await router(scope, receive, send)

    return app


def http_server(services: Services, host: str, port: int, grace: float) -> SignalFree:
    """Return a server of the application that takes small callbacks on the fast path.

    It stops within `grace` seconds.
    """
    short = None
    if services.role is not Role.WORKER:
        handler = functools.partial(callbacks.answer, services.callbacks, services.access_log)
        short = CALLBACK_PREFIX.encode(), handler
    return new_server(application(services), host, port, grace, short=short)
