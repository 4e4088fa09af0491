"""Templates: JSON in which `{/pointer}` stands for a value of the event. No logic, no loops. Pure."""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from handlers import json
from receiver.domain.errors import did_you_mean
from receiver.domain.event_fields import HOLDING, families, fields_of
from receiver.domain.filter_operators import FieldKind

LONGEST = 16 * 1024
"""The most bytes of a template."""
MOST = 100
"""The most placeholders of a template."""
ROOM = 2 * 1024 * 1024
"""The most bytes of all values that a filled template holds: one event may be named a hundred times."""
PLACE = re.compile(r"\{(/[^{}]*)\}")
NEAR = re.compile(r"\{\s*(?:/|(?:id|type|timestamp|data)\b)[^{}]*\}?")
"""A text that was meant as a placeholder: without the slash, with blanks, or not closed."""
EVENT = ("id", "type", "timestamp", "data")


class BadTemplate(ValueError):
    """An error for a template that cannot be used."""


def check(text: str, patterns: tuple[str, ...]) -> None:
    """Raise `BadTemplate` for a template that is no JSON, too large, or names values that no event has.

    `patterns` are the event types of its endpoint.
    """
    if len(text.encode()) > LONGEST:
        raise BadTemplate(f"must have at most {LONGEST} bytes")
    try:
        value = json.read(text.encode())
    except json.BadJson as error:
        raise BadTemplate(f"must be JSON: {error}") from None
    if (key := next(filter(PLACE.search, _names(value)), None)) is not None:
        raise BadTemplate(f"a name stays as it is: write the placeholder of {key!r} as its value")
    if (near := next(filter(None, map(_near, _texts(value))), None)) is not None:
        raise BadTemplate(f"{near!r} is no placeholder and would be sent as it is: write it as {{/data/id}}")
    places = [place for one in _texts(value) for place in PLACE.findall(one)]
    if len(places) > MOST:
        raise BadTemplate(f"must have at most {MOST} placeholders")
    fields = fields_of(families(patterns))
    for place in places:
        if (fault := _fault(_keys(place), fields)) is not None:
            raise BadTemplate(f"{{{place}}} {fault}")


def filled(text: str, event: Mapping[str, Any]) -> Any:
    """Return the value of a template for an event. A missing value is an empty text.

    A text that is one placeholder becomes the value itself, so that numbers and lists stay what they are.
    Values of more than `ROOM` bytes together are left out, from the first that does not fit.
    """
    return json.with_texts(_parsed(text), _Values(event).fill)


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> Any:
    return json.read(text.encode())


class _Values:
    """The values of one event that a template takes, and the bytes that are left for further ones."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        self._event = event
        self._left = ROOM
        self._found: dict[str, tuple[Any, str, int]] = {}

    def fill(self, text: str) -> Any:
        """Return a text of the template with the values for its placeholders."""
        whole = PLACE.fullmatch(text)
        if whole is not None:
            return self._take(whole[1])[0]
        return PLACE.sub(lambda match: self._take(match[1])[1], text)

    def _take(self, pointer: str) -> tuple[Any, str]:
        """Return the value at a pointer, itself and as a text; empty texts where none is there or fits."""
        if pointer not in self._found:
            value = _value(pointer, self._event)
            text = "" if value is None else value if isinstance(value, str) else json.write(value).decode()
            self._found[pointer] = ("" if value is None else value, text, len(text.encode()))
        value, text, size = self._found[pointer]
        if size > self._left:
            self._left = 0
            return "", ""
        self._left -= size
        return value, text


def _keys(pointer: str) -> list[str]:
    """Return the keys of a JSON pointer (RFC 6901)."""
    return [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:]]


def _value(pointer: str, event: Mapping[str, Any]) -> Any:
    at: Any = event
    for key in _keys(pointer):
        if isinstance(at, list):
            # At most as many digits as a list has: `int` is slow on long ones.
            at = at[int(key)] if re.fullmatch(r"[0-9]{1,6}", key, re.ASCII) and int(key) < len(at) else None
        else:
            at = at.get(key) if isinstance(at, dict) else None
    return at


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _names(value: Any) -> Iterator[str]:
    """Yield the names of all objects in a template."""
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _names(inner)


def _near(text: str) -> str | None:
    """Return the first part of a text that is nearly a placeholder, None where there is none."""
    found = NEAR.search(PLACE.sub("", text))
    return None if found is None else found[0][:100]


def _fault(keys: list[str], fields: Mapping[str, FieldKind]) -> str | None:
    """Return the fault of a place in an event, None where an event may have a value there."""
    if keys[0] not in EVENT:
        return f"is no value of an event; it has {', '.join(EVENT)}{did_you_mean(keys[0], EVENT)}"
    if keys[0] != "data":
        return None if len(keys) == 1 else "leads into a text"
    known: FieldKind | None = FieldKind.OBJECT
    for length in range(2, len(keys) + 1):
        if known is FieldKind.LIST or known in HOLDING:
            return None
        path = ".".join(keys[1:length])
        known = fields.get(path)
        # A job's result is there for endpoints that include it, and has any form.
        if path == "result" and "assets" in fields:
            return None
        if known is None:
            return f"is no value of the events of this endpoint{did_you_mean(path, fields)}"
    return None
