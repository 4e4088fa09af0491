"""Sources over HTTP: the list of them, and their messages as plain ASGI."""

from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from handlers.contract import HttpAnswer
from receiver.api.access_log import AccessLog
from receiver.api.callbacks import headers_of, respond, send_raw
from receiver.api.guard import CALLBACK_LIMIT, RequestContext, read_body
from receiver.api.paging import foreign_cursor, page
from receiver.config.sources import SourceSettings
from receiver.domain.errors import MethodNotAllowed, NotFound, UnknownCallback
from receiver.domain.event_types import of_source
from receiver.sources.receiver import SourceReceiver

PREFIX = "/sources/"
"""The path of a source, before its name."""


async def serve(sources: SourceReceiver, log: AccessLog, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one message of a source, or a probe of its URL."""
    await send_raw(await respond(log, scope, _taken(sources, scope, receive)), send)


async def _taken(sources: SourceReceiver, scope: Scope, receive: Receive) -> HttpAnswer:
    name, query = scope["path"].removeprefix(PREFIX).removesuffix("/"), scope["query_string"]
    if scope["method"] in {"GET", "HEAD"}:
        try:
            return sources.probe(name, query)
        except UnknownCallback:
            raise NotFound("there is no such source; `ringback sources list` shows them") from None
    if scope["method"] != "POST":
        raise MethodNotAllowed(headers=(("allow", "GET, HEAD, POST"),))
    body = await read_body(scope, receive, CALLBACK_LIMIT)
    return await sources.take(name, query, headers_of(scope), body)


async def list_(context: RequestContext) -> Response:
    """List the sources of the settings."""
    settings, cursor, limit = context.services.settings, context.query.cursor, context.query.limit
    names = settings.source_names
    if cursor is not None and cursor not in names:
        raise foreign_cursor()
    begin = 0 if cursor is None else names.index(cursor) + 1
    shown = [source_json(one, settings.link_base) for one in settings.sources[begin:]]
    return page(shown[: limit + 1], limit)


def source_json(source: SourceSettings, base: str) -> dict[str, Any]:
    """Return a source as JSON, without its secrets. `base` is the URL of this deployment."""
    challenge = source.challenge
    return {
        "object": "source",
        "id": source.name,
        "url": f"{base}{PREFIX}{source.name}",
        "event": of_source(source.name),
        "scheme": source.proof.scheme,
        "handler": source.handler,
        "tolerance": source.tolerance,
        "challenge": challenge and next(iter(challenge.model_fields_set)).removesuffix("_field"),
    }
