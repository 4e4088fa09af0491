"""Pieces of lists, rendered item by item: a large one lets other calls have their turns."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from starlette.responses import Response

from handlers import json
from receiver.api.guard import NOSNIFF, answer
from receiver.domain.errors import Invalid, invalid

Item = TypeVar("Item")
TURN_BYTES = 128 * 1024
"""How much is rendered before others have a turn: about 3 ms."""


async def rendered(items: Sequence[Item], tell: Callable[[Item], Any], **others: Any) -> Response:
    """Returns the answer `{"data": [...], ...}` with each item as `tell` says it."""
    parts, since = [], 0
    for item in items:
        part = json.write(tell(item))
        parts.append(part)
        since += len(part)
        if since >= TURN_BYTES:
            since = 0
            await asyncio.sleep(0)
    body = b'{"data":[%b],%b' % (b",".join(parts), json.write(others)[1:])
    return Response(body, 200, NOSNIFF, "application/json")


def foreign_cursor() -> Invalid:
    """Return the error for a cursor of another list."""
    return invalid("cursor", "is not a cursor of this list", place="query")


def page(items: list[dict[str, Any]], limit: int, place: str | None = None) -> Response:
    """A piece of a list that was asked for one item more than it shows; `place` is where to go on when there
    may be more all the same."""
    shown = items[:limit]
    return answer({"data": shown, "next_cursor": shown[-1]["id"] if len(items) > limit else place})
