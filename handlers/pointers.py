"""JSON pointers into a provider's message, compiled once: RFC 6901, with two more steps.

`*` stands for every item of a list, or for the one value that stands in its place, and `json:` steps into the
JSON inside a text, once in a pointer. A pointer that leads nowhere finds nothing.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from handlers import json

Found = TypeVar("Found")
Every = Callable[[Any], Sequence[Any]]
"""A function that returns every value at a pointer, in order."""

EACH, INSIDE = "*", "json:"
STEPS = 12
"""The most steps of a pointer."""
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_NOTHING: tuple[Any, ...] = ()


class BadPointer(ValueError):
    """An error for a text that is no pointer."""


class Ambiguous(ValueError):
    """An error for a field that is read and was given twice with different values."""


def steps(pointer: str) -> list[str]:
    """Return the steps of a pointer. Raises `BadPointer` with the fix."""
    if pointer and not pointer.startswith("/"):
        raise BadPointer(f"{pointer!r} is no JSON pointer: begin it with /")
    if not _POINTER.fullmatch(pointer):
        raise BadPointer(f"{pointer!r} is no JSON pointer: ~ is written ~0, / inside a name ~1")
    found = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    if len(found) > STEPS:
        raise BadPointer(f"{pointer!r} has more than {STEPS} steps")
    if found.count(INSIDE) > 1:
        raise BadPointer(f"{pointer!r} steps into a text twice: `json:` may stand once")
    return found


def every(pointer: str) -> Every:
    """Return the function that finds every value at `pointer`. Raises `BadPointer`."""
    path = steps(pointer)
    return _walking(path) if any(map(_special, path)) else _plain(path)


def first(
    pointers: Sequence[str], read: Callable[[Any], Found], *, blank: bool = False
) -> Callable[[Any], Found | None]:
    """Return the function that finds the first value at `pointers` which `read` accepts.

    A value is accepted that `read` does not make None; "" only with `blank`.
    """
    finds = [every(pointer) for pointer in pointers]

    def found(body: Any) -> Found | None:
        for find in finds:
            for value in find(body):
                told = read(value)
                if told is not None and (blank or told != ""):
                    return told
        return None

    return found


def _of(node: Any, name: str) -> Any:
    """Return a field of an object, None without it. Raises `Ambiguous`."""
    if isinstance(node, json.Repeated) and name in node.names:
        raise Ambiguous(name)
    return node.get(name) if isinstance(node, dict) else None


def _field(name: str) -> Every:
    def find(body: Any) -> Sequence[Any]:
        value = body.get(name) if type(body) is dict else _of(body, name)
        return _NOTHING if value is None else (value,)

    return find


def _fields(path: Sequence[str]) -> Every:
    def find(body: Any) -> Sequence[Any]:
        value = body
        for name in path:
            value = value.get(name) if type(value) is dict else _of(value, name)
            if value is None:
                return _NOTHING
        return (value,)

    return find


def _walking(path: Sequence[str]) -> Every:
    """Return the function for a path with other steps than fields; the fields before them come first."""
    count = next(place for place, step in enumerate(path) if _special(step))
    lead, rest = _plain(path[:count]), path[count:]
    items, inner = rest[0] == EACH, rest[1:]
    after = _plain(inner) if items and not any(map(_special, inner)) else None

    def find(body: Any) -> Sequence[Any]:
        start = lead(body)
        if not start:
            return _NOTHING
        if after is None:
            return _walked(start, rest)
        listed = start[0] if isinstance(start[0], list) else start
        return [found for item in listed for found in after(item)] if inner else listed

    return find


def _walked(found: Sequence[Any], path: Sequence[str]) -> Sequence[Any]:
    for step in path:
        found = [inner for value in found for inner in _inner(value, step)]
    return found


def _special(step: str) -> bool:
    return step in {EACH, INSIDE} or step.isdigit()


def _plain(path: Sequence[str]) -> Every:
    """Return the function for a path of fields."""
    if not path:
        return lambda body: (body,)
    return _field(path[0]) if len(path) == 1 else _fields(path)


def _inner(value: Any, step: str) -> Iterator[Any]:
    if step == INSIDE:
        yield from _inside(value)
    elif step == EACH:
        yield from value if isinstance(value, list) else (value,)
    elif isinstance(value, list):
        if step.isdigit() and len(step) < 6 and int(step) < len(value):
            yield value[int(step)]
    elif (one := _of(value, step)) is not None:
        yield one


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        try:
            yield json.forgive(value.encode())
        except (json.BadJson, UnicodeEncodeError):
            return
    elif isinstance(value, dict | list):
        yield value  # a gateway may have read the text already


def put(body: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Put `value` into `body`, making the objects on the way. Objects on the way are copied, not changed."""
    *outer, last = path
    for name in outer:
        inner = body.get(name)
        body[name] = dict(inner) if isinstance(inner, Mapping) else {}
        body = body[name]
    body[last] = value
