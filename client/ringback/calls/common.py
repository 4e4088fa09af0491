"""Short forms that the descriptions of calls share."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ringback.core import Call, content
from ringback.reading import Raw, Unreadable, read
from ringback.values import Page

Value = TypeVar("Value")
Kind = TypeVar("Kind", bound=Raw)
PAGE_SIZE = 100
"""Items that one call of a list asks for; the service gives at most 200."""


def reader(kind: type[Kind]) -> Callable[[Any], Kind]:
    """Return the function that reads a value of a kind."""
    return functools.partial(read, kind)


def get(
    path: str, reads: Callable[[Any], Value], query: Sequence[tuple[str, str]] = (), *, waits: float = 0.0
) -> Call[Value]:
    """Return a call that reads something. It may always be repeated."""
    return Call(method="GET", path=path, reads=reads, query=query, repeatable=True, waits=waits)


def send(
    method: str, path: str, reads: Callable[[Any], Value], body: Mapping[str, Any] | None = None
) -> Call[Value]:
    """Return a call that changes something."""
    return Call(method=method, path=path, reads=reads, body=None if body is None else content(body))


def listing(
    path: str, kind: Callable[[Any], Value], query: Sequence[tuple[str, str]] = ()
) -> Call[Page[Value]]:
    """Return a call that reads a page of a list."""
    return get(path, functools.partial(read_page, kind), query)


def read_page(kind: Callable[[Any], Value], given: Any) -> Page[Value]:
    """Return a page of values. Raises `Unreadable`."""
    if not isinstance(given, Mapping) or not isinstance(given.get("data"), list):
        raise Unreadable("a list must be an object with `data`")
    cursor = given.get("next_cursor")
    if not isinstance(cursor, str | None):
        raise Unreadable("next_cursor: must be a text")
    return Page(tuple(kind(one) for one in given["data"]), cursor)


def nothing(given: Any) -> None:
    """Read an answer without content."""
