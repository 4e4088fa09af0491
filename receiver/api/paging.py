"""Pages of lists. A large page is rendered item by item, so that other calls get their turns in between."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from starlette.responses import Response

from handlers import json
from receiver.api.guard import NOSNIFF, answer
from receiver.domain.errors import Invalid, invalid

Item = TypeVar("Item")
TURN_BYTES = 128 * 1024
"""Bytes that are rendered before the event loop serves other calls: about 3 ms."""


async def rendered(items: Sequence[Item], tell: Callable[[Item], bytes], **others: Any) -> Response:
    """Return the response `{"data": [...], ...}`: the JSON that `tell` makes of each item, then `others`."""
    parts, since = [], 0
    for item in items:
        part = tell(item)
        parts.append(part)
        since += len(part)
        if since >= TURN_BYTES:
            since = 0
            await asyncio.sleep(0)
    # Spliced: the items are JSON already, and `others` continues the object without its own opening brace.
    body = b'{"data":[%b],%b' % (b",".join(parts), json.write(others)[1:])
    return Response(body, 200, NOSNIFF, "application/json")


def foreign_cursor() -> Invalid:
    """Return the error for a cursor of another list."""
    return invalid("cursor", "is not a cursor of this list", place="query")


def page(items: list[dict[str, Any]], limit: int, place: str | None = None) -> Response:
    """Return a page of `items`, which hold one item more than `limit` when there is another page.

    `place` is the cursor for a search that stopped at its own bound, so that more items may follow.
    """
    shown = items[:limit]
    return answer({"data": shown, "next_cursor": shown[-1]["id"] if len(items) > limit else place})
