"""One call of the API: what it takes, who may make it, what it answers; and how it is served."""

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
from receiver.api.guard import (
    BODY_LIMIT,
    Document,
    Handle,
    RequestContext,
    identify,
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
NO_LABELS: tuple[tuple[str, str], ...] = ()


class Reads(Protocol):
    """Makes a handler's argument of a body; raises `Malformed`, `Invalid` or `TooLarge`. Pure."""

    def __call__(self, raw: bytes, *, content_type: str | None) -> Any:
        """Return the argument for the handler."""


@immutable(kw_only=True)
class Route:
    """A method on a path. `scope` None needs no key, and then the query is ignored, as it may stand in a link
    that others made longer; `told` None answers no JSON."""

    method: str
    path: str
    handle: Handle
    summary: str
    scope: str | None
    told: type[BaseModel] | None
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

    def takes(
        self,
        body: type[BaseModel],
        *,
        limit: int = BODY_LIMIT,
        also: tuple[int, ...] = (),
        headers: tuple[str, ...] = (),
        reads: Reads | None = None,
    ) -> "Route":
        """Return the same call with a body, which `reads` or the model makes the handler's argument."""
        return replace(self, body=body, limit=limit, also=also, headers=headers, reads=reads)

    def asks(self, query: type[BaseModel]) -> "Route":
        """The same with query parameters."""
        return replace(self, query=query)

    def labelled(self) -> "Route":
        """The same with `metadata.<key>` among the query parameters."""
        return replace(self, with_labels=True)

    def fed(self) -> "Route":
        """The same with the feed's own kind of page."""
        return replace(self, feed=True)


class Resource:
    """A path: its calls by method, served with errors in one form and an id on every answer."""

    def __init__(self, services: Services, calls: Sequence[Route], document: Document) -> None:
        self._services = services
        self._document = document
        self._calls = {call.method: call for call in calls}
        self._allow = ", ".join(self._calls)

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
        self._services.access_log(scope, response.status_code, request_id)
        await response(scope, receive, send)

    async def _serve(self, request: Request) -> Response:
        call = self._calls.get(request.method)
        if call is None and request.method == "HEAD":
            call = self._calls.get("GET")
        if call is None:
            raise MethodNotAllowed(f"this path takes {self._allow}", headers=(("allow", self._allow),))
        caller = ANONYMOUS if call.scope is None else await identify(self._services, request, call.scope)
        query: BaseModel = QueryModel()
        labels = NO_LABELS
        if call.scope is not None:
            query, labels = read_query(request, call.query, labelled=call.with_labels)
        body = await self._body(call, request)
        return await call.handle(
            RequestContext(self._services, self._document, request, caller, body, query, labels)
        )

    async def _body(self, call: Route, request: Request) -> Any:
        """The body as the handler gets it. A large one is read on a thread, and not kept here."""
        raw = await read_body(request.scope, request.receive, call.limit)
        if call.body is None:
            return None
        content_type = request.headers.get("content-type")
        reads = call.reads or functools.partial(parse, model=call.body)
        return await OFFLOAD.read(len(raw), lambda: reads(raw, content_type=content_type))


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer for every other path."""
    request_id = new_request_id()
    response = problem(NotFound("there is no such path; /docs lists all of them"), request_id)
    response.headers["x-request-id"] = request_id
    await response(scope, receive, send)
