"""The API: the application that serves its routes, and the HTTP server."""

import functools
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

from starlette.routing import Route as PathRoute
from starlette.routing import Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver.api import callbacks, sources
from receiver.api.fast_path import RawHandler, RawResponse
from receiver.api.operation_routes import PAGE_FILES
from receiver.api.routes import ROUTES
from receiver.api.routing import Resource, Route, not_found
from receiver.api.server import SignalFree, new_server
from receiver.api.services import Services
from receiver.metrics import Metrics
from receiver.providers.accounts import CALLBACK_PREFIX, CALLBACK_ROUTE
from receiver.work.heartbeat import Role

HEALTH = frozenset({"/healthz", "/readyz", "/metrics"})
"""The only paths that a worker-only process serves."""
SOURCE_ROUTE = f"{sources.PREFIX}{{name}}"
"""The route of sources, as metrics name it."""
STREAM = b"text/event-stream"
NO_ROUTE = ""
"""The route of a path that is not served, as metrics name it."""


def _document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    from receiver.api.openapi import description  # noqa: PLC0415  # examples and schemas that a start can spare

    return description(ROUTES, version("ringback"))


def application(services: Services) -> ASGIApp:
    """Return the ASGI application of these services."""
    worker = services.role is Role.WORKER
    by_path: dict[str, list[Route]] = {}
    for one in (*ROUTES, PAGE_FILES):
        if worker and one.path not in HEALTH:
            continue
        by_path.setdefault(one.path, []).append(one)
    # Built on the first request for it and then kept: it never changes while the process lives.
    document = functools.cache(_document)
    router = Router(
        [PathRoute(path, Resource(services, calls, document)) for path, calls in by_path.items()],
        redirect_slashes=False,
        default=not_found,
    )

    async def serve(scope: Scope, receive: Receive, send: Send) -> str:
        """Serve a request. Returns its route."""
        # Callbacks bypass the router and its checks. Why: receiver/README.md#the-fast-path
        path = scope["path"] if scope["type"] == "http" and not worker else ""
        if path.startswith(CALLBACK_PREFIX):
            await callbacks.serve(services.callbacks, services.access_log, scope, receive, send)
            return CALLBACK_ROUTE
        if path.startswith(sources.PREFIX):
            await sources.serve(services.sources, services.access_log, scope, receive, send)
            return SOURCE_ROUTE
        await router(scope, receive, send)
        resource = scope.get("endpoint")
        return resource.path if isinstance(resource, Resource) else NO_ROUTE

    return measured(serve, services.metrics)


def measured(serve: Callable[[Scope, Receive, Send], Awaitable[str]], metrics: Metrics) -> ASGIApp:
    """Return an application that measures its requests.

    A stream is not measured: it lasts as long as its reader wants.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        began, status, streams = time.perf_counter(), 500, False

        async def sending(message: Message) -> None:
            nonlocal status, streams
            if message["type"] == "http.response.start":
                status = message["status"]
                streams = any(value.startswith(STREAM) for _, value in message["headers"])
            await send(message)

        route = NO_ROUTE
        try:
            route = await serve(scope, receive, sending)
        finally:
            if scope["type"] == "http" and not streams:
                metrics.served(scope["method"], route, status, time.perf_counter() - began)

    return app


def http_server(services: Services, host: str, port: int, grace: float) -> SignalFree:
    """Return a server of the application that answers small callbacks on the fast path.

    The server stops within `grace` seconds. A worker-only process takes no callbacks.
    """
    short = None
    if services.role is not Role.WORKER:
        short = CALLBACK_PREFIX.encode(), _fast_path(services)
    return new_server(application(services), host, port, grace, short=short)


def _fast_path(services: Services) -> RawHandler:
    async def handler(scope: Scope, body: bytes) -> RawResponse:
        began = time.perf_counter()
        answered = await callbacks.answer(services.callbacks, services.access_log, scope, body)
        services.metrics.served("POST", CALLBACK_ROUTE, answered[0], time.perf_counter() - began)
        return answered

    return handler
