"""Provider accounts over HTTP."""

from starlette.responses import Response

from receiver.api.guard import RequestContext, answer
from receiver.api.paging import foreign_cursor


async def list_(context: RequestContext) -> Response:
    """List the configured accounts with their operations, health and blocked state."""
    names, cursor, limit = context.services.providers.names, context.query.cursor, context.query.limit
    if cursor is not None and cursor not in names:
        raise foreign_cursor()
    behind = names[names.index(cursor) + 1 :] if cursor is not None else names
    listed = await context.services.providers.of(behind[:limit])
    return answer({"data": listed, "next_cursor": behind[limit - 1] if len(behind) > limit else None})
