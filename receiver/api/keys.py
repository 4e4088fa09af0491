"""API keys over HTTP."""

from typing import Any

from starlette.responses import Response

from receiver.api.guard import NO_STORE, RequestContext, answer
from receiver.api.paging import foreign_cursor, page
from receiver.api.requests import KeyRequest
from receiver.domain.errors import invalid
from receiver.domain.rendering import stamp, when
from receiver.security.ids import is_id
from receiver.store.api_keys import ApiKey
from receiver.store.statements import from_ms, moment


def key_json(key: ApiKey) -> dict[str, Any]:
    """Return an API key as JSON, without the key itself."""
    return {
        "object": "key",
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "created_at": stamp(moment(key.created_at)),
        "expires_at": when(from_ms(key.expires_at)),
    }


async def create(context: RequestContext) -> Response:
    """Create an API key. Only this response shows the key itself."""
    body: KeyRequest = context.body
    if body.expires_at is not None and body.expires_at <= context.services.clock.now():
        raise invalid("/expires_at", "lies in the past")
    scopes = tuple(dict.fromkeys(body.scopes))
    key, text = await context.services.api_keys.create(body.name, scopes, body.expires_at)
    headers = {"location": f"/v1/keys/{key.id}", **NO_STORE}
    return answer(key_json(key) | {"key": text}, 201, headers)


async def list_(context: RequestContext) -> Response:
    """List API keys, newest first."""
    cursor, limit = context.query.cursor, context.query.limit
    if cursor is not None and not is_id("key", cursor):
        raise foreign_cursor()
    found = await context.services.api_keys.all()
    # Ids sort by their time of creation. Why: receiver/README.md#hexadecimal-ids
    behind = [key for key in found if cursor is None or key.id < cursor]
    return page([key_json(key) for key in behind[: limit + 1]], limit)


async def delete(context: RequestContext) -> Response:
    """Revoke an API key."""
    await context.services.api_keys.delete(context.path["id"])
    return Response(status_code=204)
