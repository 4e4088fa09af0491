"""The API: its whole map on one screen, each call with its scope, its models and its answers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel
from starlette import routing
from starlette.types import ASGIApp, Receive, Scope, Send

from receiver.api import callbacks, endpoints, events, health, jobs, site
from receiver.api import requests as a
from receiver.api import responses as s
from receiver.api import webhooks as w
from receiver.api.guard import JOB_LIMIT, Handle
from receiver.api.routing import Resource, Route, not_found
from receiver.work.heartbeat import Role

if TYPE_CHECKING:
    from receiver.app import Services


def route(
    method: str, path: str, handle: Handle, scope: str | None, told: type[BaseModel] | None, status: int = 200
) -> Route:
    """A call whose answer is one thing."""
    return Route(method, path, handle, scope, told, status)


def listing(path: str, handle: Handle, scope: str, item: type[BaseModel], query: type[BaseModel]) -> Route:
    """A call that answers a piece of a list."""
    return Route("GET", path, handle, scope, item, 200, query=query, paged=True)


ROUTES: Sequence[Route] = (
    route("POST", "/v1/jobs", jobs.create, "jobs:write", s.NewJobResponse, 202).takes(
        a.JobRequest,
        limit=JOB_LIMIT,
        also=(200,),
        headers=("Idempotency-Key", "Prefer"),
        reads=jobs.read_wish,
    ),
    listing("/v1/jobs", jobs.listed, "jobs:read", s.JobResponse, a.JobQuery).labelled(),
    route("GET", "/v1/jobs/{id}", jobs.show, "jobs:read", s.WholeJob).asks(a.WaitQuery),
    route("DELETE", "/v1/jobs/{id}", jobs.erase, "jobs:write", None, 204),
    route("POST", "/v1/jobs/{id}/cancel", jobs.cancel, "jobs:write", s.JobResponse),
    route("POST", "/v1/jobs/{id}/resolve", jobs.resolve, "jobs:write", s.JobResponse).takes(a.Resolution),
    listing("/v1/jobs/{id}/timeline", jobs.story, "jobs:read", s.EntryResponse, a.PageQuery),
    listing("/v1/events", events.feed, "events:read", w.EventResponse, a.FeedQuery).fed(),
    route("GET", "/v1/events/{id}", events.show, "events:read", w.EventWithReasons),
    route("POST", "/v1/endpoints", endpoints.create, "endpoints:write", s.NewEndpoint, 201).takes(
        a.EndpointRequest
    ),
    listing("/v1/endpoints", endpoints.listed, "endpoints:read", s.EndpointResponse, a.PageQuery),
    route("GET", "/v1/endpoints/{id}", endpoints.show, "endpoints:read", s.EndpointResponse),
    route("PATCH", "/v1/endpoints/{id}", endpoints.change, "endpoints:write", s.EndpointResponse).takes(
        a.EndpointPatch
    ),
    route("DELETE", "/v1/endpoints/{id}", endpoints.remove, "endpoints:write", None, 204),
    route("GET", "/v1/endpoints/{id}/secret", endpoints.secret, "endpoints:write", s.EndpointSecret),
    route("POST", "/v1/endpoints/{id}/test", endpoints.test, "endpoints:write", s.AttemptResponse),
    route("POST", "/v1/endpoints/{id}/resume", endpoints.resume, "endpoints:write", s.EndpointResponse),
    listing(
        "/v1/deliveries", endpoints.deliveries_listed, "endpoints:read", s.DeliveryResponse, a.DeliveryQuery
    ),
    route("GET", "/v1/deliveries/{id}", endpoints.delivery_shown, "endpoints:read", s.DeliveryWithAttempts),
    route(
        "POST",
        "/v1/deliveries/{id}/retry",
        endpoints.delivery_retried,
        "endpoints:write",
        s.DeliveryResponse,
        202,
    ),
    route(
        "POST",
        "/v1/deliveries/{id}/cancel",
        endpoints.delivery_canceled,
        "endpoints:write",
        s.DeliveryResponse,
    ),
    route("POST", "/v1/keys", endpoints.key_created, "admin", s.NewKey, 201).takes(a.KeyRequest),
    listing("/v1/keys", endpoints.keys_listed, "admin", s.Key, a.PageQuery),
    route("DELETE", "/v1/keys/{id}", endpoints.key_removed, "admin", None, 204),
    listing("/v1/providers", endpoints.providers_listed, "jobs:read", s.ProviderResponse, a.PageQuery),
    route("GET", "/assets/{token}", jobs.asset, None, None, 307),
    route("HEAD", "/assets/{token}", jobs.asset, None, None, 307),
    route("GET", "/healthz", health.healthz, None, s.Wellness),
    route("GET", "/readyz", health.readyz, None, s.Wellness),
    route("GET", "/", site.front, None, None, 307),
    route("GET", "/openapi.json", site.openapi, None, None),
    route("GET", "/docs", site.docs, None, None),
    route("GET", "/problems", site.problem_list, None, None),
    route("GET", "/problems/{code}", site.problems, None, None),
)


HEALTH = frozenset({"/healthz", "/readyz"})
"""What a process answers that only works."""


def application(services: "Services") -> ASGIApp:
    """The ASGI application of these services."""
    worker = services.replica.role is Role.WORKER
    by_path: dict[str, list[Route]] = {}
    for one in ROUTES:
        if worker and one.path not in HEALTH:
            continue
        by_path.setdefault(one.path, []).append(one)
    router = routing.Router(
        [routing.Route(path, Resource(services, calls)) for path, calls in by_path.items()],
        redirect_slashes=False,
        default=not_found,
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not worker and scope["path"].startswith(callbacks.PREFIX):
            await callbacks.serve(services.callbacks, services.log_call, scope, receive, send)
        else:
            await router(scope, receive, send)

    return app
