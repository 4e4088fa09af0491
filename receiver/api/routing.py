"""Routes: their method, scope and models, and how a request to one is served."""

import functools
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from handlers.values import immutable
from receiver.api.api_keys import Caller
from receiver.api.callers import identify
from receiver.api.guard import (
    BODY_LIMIT,
    Document,
    Handle,
    RequestContext,
    new_request_id,
    parse,
    problem,
    read_body,
    read_query,
)
from receiver.api.requests import QueryModel
from receiver.api.services import Services
from receiver.bodies.offload import OFFLOAD
from receiver.domain.errors import Internal, MethodNotAllowed, NotFound, ReceiverError

LOGGER = logging.getLogger("ringback.api")
ANONYMOUS = Caller("", frozenset())
ANY_ORIGIN = {"access-control-allow-origin": "*", "access-control-expose-headers": "x-request-id"}
"""Headers that let pages of any origin read a response. With `*` browsers send no cookie."""
PREFLIGHT = {
    "access-control-allow-methods": "GET",
    "access-control-allow-headers": "authorization, last-event-id",
    "access-control-max-age": "600",
}
"""The answer to a browser that asks whether a page may send these headers."""
NO_LABELS: tuple[tuple[str, str], ...] = ()


class Reads(Protocol):
    """A pure function from a body to a handler's argument. Raises `Malformed`, `Invalid` or `TooLarge`."""

    def __call__(self, raw: bytes, *, content_type: str | None) -> Any:
        """Return the argument for the handler."""


@immutable(kw_only=True)
class Route:
    """A method on a path.

    A route with `scope` None needs no API key and ignores the query, because other programs may add
    parameters to its links. A route with `response` None responds without JSON. A route `by_token` takes the
    token of the job in its path as well as an API key. With the setting `opener` it needs no API key.
    """

    method: str
    path: str
    handle: Handle
    summary: str
    scope: str | None
    response: type[BaseModel] | None
    status: int
    body: type[BaseModel] | None = None
    query: type[BaseModel] = QueryModel
    limit: int = BODY_LIMIT
    also: tuple[int, ...] = ()
    headers: tuple[str, ...] = ()
    reads: Reads | None = None
    paged: bool = False
    with_labels: bool = False
    feed: bool = False
    optional: bool = False
    by_token: bool = False
    opener: str = ""

    def takes(
        self,
        body: type[BaseModel],
        *,
        limit: int = BODY_LIMIT,
        also: tuple[int, ...] = (),
        headers: tuple[str, ...] = (),
        reads: Reads | None = None,
        optional: bool = False,
    ) -> "Route":
        """Return the same route with a body, which `reads`, or else the model, converts for the handler.

        An `optional` one may be left out, and is then an empty object.
        """
        return replace(
            self, body=body, limit=limit, also=also, headers=headers, reads=reads, optional=optional
        )

    def may_answer(self, *statuses: int) -> "Route":
        """Return the same route with other statuses that it answers, too."""
        return replace(self, also=statuses)

    def asks(self, query: type[BaseModel]) -> "Route":
        """Return the same route with query parameters."""
        return replace(self, query=query)

    def sends(self, *headers: str) -> "Route":
        """Return the same route with request headers that it reads."""
        return replace(self, headers=headers)

    def for_browsers(self) -> "Route":
        """Return the same route, readable with a job token and from pages of any origin."""
        return replace(self, by_token=True)

    def opened_by(self, setting: str) -> "Route":
        """Return the same route, which needs no API key where a setting is on."""
        return replace(self, opener=setting)

    def labelled(self) -> "Route":
        """Return the same route with `metadata.<key>` among the query parameters."""
        return replace(self, with_labels=True)

    def fed(self) -> "Route":
        """Return the same route with the feed's own kind of page."""
        return replace(self, feed=True)


def route(
    method: str,
    path: str,
    handle: Handle,
    summary: str,
    scope: str | None,
    response: type[BaseModel] | None,
    status: int = 200,
) -> Route:
    """Return a route that responds with one object. `response` None stands for a response without JSON."""
    return Route(
        method=method,
        path=path,
        handle=handle,
        summary=summary,
        scope=scope,
        response=response,
        status=status,
    )


def listing(
    path: str, handle: Handle, summary: str, scope: str, item: type[BaseModel], query: type[BaseModel]
) -> Route:
    """Return a GET route that responds with a page of `item` objects."""
    return replace(route("GET", path, handle, summary, scope, item), query=query, paged=True)


class Resource:
    """A path with its routes by method. All errors have one form, and every response has a request id."""

    def __init__(self, services: Services, calls: Sequence[Route], document: Document) -> None:
        self._services = services
        self._document = document
        self._calls = {call.method: call for call in calls}
        self.path = calls[0].path
        self._allow = ", ".join(self._calls)
        self._for_browsers = any(call.by_token for call in calls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request, request_id = Request(scope, receive), new_request_id()
        try:
            response = await self._serve(request)
        except ReceiverError as error:
            response = problem(error, request_id)
        except Exception:
            LOGGER.exception("%s %s failed", scope["method"], scope["path"], extra={"request_id": request_id})
            response = problem(Internal(), request_id)
        response.headers["x-request-id"] = request_id
        if self._for_browsers:
            response.headers.update(ANY_ORIGIN)
        self._services.access_log(scope, response.status_code, request_id)
        await response(scope, receive, send)

    async def _serve(self, request: Request) -> Response:
        call = self._calls.get(request.method)
        if call is None and request.method == "OPTIONS" and self._for_browsers:
            return Response(status_code=204, headers=PREFLIGHT)
        if call is None and request.method == "HEAD":
            # HEAD works wherever GET does (RFC 9110, 9.3.2); uvicorn leaves out the body.
            call = self._calls.get("GET")
        if call is None:
            raise MethodNotAllowed(f"this path takes {self._allow}", headers=(("allow", self._allow),))
        # The key is checked before the body is read: without one, up to 32 MiB would be read for nothing.
        caller = await _identified(self._services, request, call)
        query: BaseModel = QueryModel()
        labels = NO_LABELS
        if call.scope is not None:
            query, labels = read_query(request, call.query, labelled=call.with_labels)
        body = await self._body(call, request)
        return await call.handle(
            RequestContext(
                services=self._services,
                document=self._document,
                request=request,
                caller=caller,
                body=body,
                query=query,
                labels=labels,
            )
        )

    async def _body(self, call: Route, request: Request) -> Any:
        """Return the body, converted for the handler. A large one is converted on a thread and not kept."""
        raw = await read_body(request.scope, request.receive, call.limit)
        if call.body is None:
            return None
        if not raw and call.optional:
            return call.body()
        content_type = request.headers.get("content-type")
        reads = call.reads or functools.partial(parse, model=call.body)
        return await OFFLOAD.read(len(raw), lambda: reads(raw, content_type=content_type))


async def _identified(services: Services, request: Request, call: Route) -> Caller:
    if call.scope is None or (call.opener and getattr(services.settings, call.opener)):
        return ANONYMOUS
    return await identify(services, request, call.scope, by_token=call.by_token)


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond to every path without a route."""
    request_id = new_request_id()
    response = problem(NotFound("there is no such path; /docs lists all of them"), request_id)
    response.headers["x-request-id"] = request_id
    await response(scope, receive, send)
