"""The API: the application that serves its routes, and the HTTP server."""

import functools
from importlib.metadata import version

from starlette.routing import Route as PathRoute
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from receiver.api import callbacks, sources
from receiver.api.openapi import description
from receiver.api.routes import ROUTES
from receiver.api.routing import Resource, Route, not_found
from receiver.api.server import SignalFree, new_server
from receiver.api.services import Services
from receiver.providers.accounts import CALLBACK_PREFIX
from receiver.work.heartbeat import Role

HEALTH = frozenset({"/healthz", "/readyz"})
"""The only paths that a worker-only process serves."""


def application(services: Services) -> ASGIApp:
    """Return the ASGI application of these services."""
    worker = services.role is Role.WORKER
    by_path: dict[str, list[Route]] = {}
    for one in ROUTES:
        if worker and one.path not in HEALTH:
            continue
        by_path.setdefault(one.path, []).append(one)
    # Built on the first request for it and then kept: it never changes while the process lives.
    document = functools.cache(lambda: description(ROUTES, version("ringback")))
    router = Router(
        [PathRoute(path, Resource(services, calls, document)) for path, calls in by_path.items()],
        redirect_slashes=False,
        default=not_found,
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # Callbacks bypass the router and its checks. Why: receiver/README.md#the-fast-path
        path = scope["path"] if scope["type"] == "http" and not worker else ""
        if path.startswith(CALLBACK_PREFIX):
            await callbacks.serve(services.callbacks, services.access_log, scope, receive, send)
        elif path.startswith(sources.PREFIX):
            await sources.serve(services.sources, services.access_log, scope, receive, send)
        else:
            await router(scope, receive, send)

    return app


def http_server(services: Services, host: str, port: int, grace: float) -> SignalFree:
    """Return a server of the application that answers small callbacks on the fast path.

    The server stops within `grace` seconds. A worker-only process takes no callbacks.
    """
    short = None
    if services.role is not Role.WORKER:
        handler = functools.partial(callbacks.answer, services.callbacks, services.access_log)
        short = CALLBACK_PREFIX.encode(), handler
    return new_server(application(services), host, port, grace, short=short)
