"""Transfers: responses that may last long, and end when their client makes no progress or leaves.

The server puts a `Transfer` into the scope of each request, and a response that lasts long begins it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope

EXTENSION = "ringback.transfer"
"""The ASGI extension under which a scope has its transfer."""


class NotWhole(Exception):
    """The error for a response that must not look whole, where no server can cut its connection."""


@dataclass(slots=True)
class Transfer:
    """The connection of one request: whether its response lasts long, and how to cut it.

    It is not `offered` where a server does not know it.
    """

    cut: Callable[[], None]
    under_way: bool = False
    offered: bool = True


def offer_transfer(scope: Any, cut: Callable[[], None]) -> None:
    """Put a transfer into the scope of a request; `cut` ends its connection at once."""
    scope["extensions"] = {EXTENSION: Transfer(cut)}


def transfer_of(scope: Scope) -> Transfer:
    """Return the transfer of a request. Without one of the server, cutting it raises `NotWhole`."""
    found: Transfer | None = (scope.get("extensions") or {}).get(EXTENSION)
    return Transfer(_refuse, offered=False) if found is None else found


async def left(receive: Receive) -> None:
    """Return once the client of a request has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _refuse() -> None:
    raise NotWhole
