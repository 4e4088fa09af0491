"""JSON bodies that are mostly a few long texts (files in base64): read without ever making those texts.

The long texts are checked piece by piece where they lie and replaced by marks; what is left is small and is
read by the strict reader. What is written again gets the texts back, byte for byte as they came.
"""

import codecs
import hashlib
import json as plain
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Any

from handlers import json
from handlers.json import BadJson
from handlers.values import immutable
from receiver.bodies.parts import Parts
from receiver.domain.errors import TooLarge

MIB = 1024 * 1024
LONG = 32 * 1024
"""Bytes of a text's spelling from which it may count as long."""
HEAD = 5000
"""Characters of a long text that are kept for checks and for showing; one with fewer is not long."""
REST = 4 * MIB
"""Bytes that a request may have beside its long texts."""
PIECE = 64 * 1024
TURN = 500
"""Bytes, and strings, that are looked at in one go."""
_IN_LONG = re.compile(
    rb"(?:[^\\\x00-\x1f]++|\\[\"\\/bfnrt]|\\u(?:[0-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2})"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+"
)
_OF_A_NAME = re.compile(rb"[ \t\n\r]*+:")
_BLANKS = re.compile(rb"[ \t\n\r]{2,}+")
_NOT_JSON = "the body is not valid JSON"


@immutable
class LongText:
    """A long text: its spelling with its quotes, how it begins, how long it is, and a hash of it all."""

    spelled: memoryview = field(repr=False)
    head: str = field(repr=False)
    length: int
    hashed: str


@immutable
class LargeJson:
    """A body as read: `value` with marks in place of the long `texts`."""

    value: Any = field(repr=False)
    texts: Mapping[str, LongText] = field(repr=False)
    mark: str = ""

    def with_texts(self, value: Any, chosen: Callable[[LongText], str]) -> Any:
        """Return `value` with each text replaced by `chosen`; parts without a text are shared."""
        if not self.texts:
            return value

        def replaced(one: str) -> str:
            text = self.texts.get(one)
            return one if text is None else chosen(text)

        return with_strings(value, replaced)

    def restored(self, written: bytes) -> Parts | None:
        """JSON that was `written` of a part of ours, with its texts; None when a mark was changed in it."""
        if not self.texts:
            return Parts((written,))
        view, opening, place = memoryview(written), b'"' + self.mark.encode(), 0
        if written.count(opening[1:]) != written.count(opening):
            return None
        found: list[bytes | memoryview] = []
        while (opened := written.find(opening, place)) >= 0:
            closed = written.find(b'"', opened + 1)
            text = self.texts.get(written[opened + 1 : closed].decode("utf-8", "replace"))
            if text is None:
                return None
            found += (view[place:opened], text.spelled)
            place = closed + 1
        return Parts((*found, view[place:]))


def with_strings(value: Any, replaced: Callable[[str], str]) -> Any:
    """Return a value of JSON with its strings as `replaced` has them. A part where none changes is shared."""
    if isinstance(value, str):
        return replaced(value)
    if isinstance(value, dict):
        places: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, list):
        places = enumerate(value)
    else:
        return value
    changed = value
    for place, inner in places:
        new = with_strings(inner, replaced)
        if new is not inner:
            if changed is value:
                changed = value.copy()
            changed[place] = new
    return changed


def unpack(data: bytes, *, stored: bool = False) -> LargeJson:
    """Return the body that `data` spells, `BadJson` or `TooLarge`. A `stored` one is not counted again."""
    values = None if stored else json.VALUES
    if len(data) <= LONG:
        return LargeJson(json.read(data, values=values), {})
    mark = secrets.token_hex(16)
    rest, texts = _apart(data, mark, stored)
    return LargeJson(json.read(rest.whole(), values=values), texts, mark)


class _Rest:
    """The parts of a body beside its long texts, as far as it was looked through."""

    def __init__(self, data: bytes, *, bounded: bool) -> None:
        self._view = memoryview(data)
        self._bounded = bounded
        self._parts: list[bytes | memoryview] = []
        self._size = self._strings = self._commas = 0

    def string(self) -> None:
        """Count a string."""
        self._strings += 1
        if self._strings % TURN == 0:
            _give_way()
        if self._bounded and self._strings > 2 * json.VALUES + 2:
            raise _too_many()

    def add(self, part: bytes | memoryview) -> None:
        """Keep `part`, or raise `TooLarge`."""
        self._parts.append(part)
        self._size += len(part)
        if self._bounded and self._size > REST:
            raise TooLarge(f"a body may have {REST} bytes beside blanks and texts of more than {LONG} bytes")

    def gap(self, start: int, end: int) -> None:
        """Keep the text between two strings, every run of blanks in it as one."""
        for place in range(start, end, PIECE):
            _give_way()
            piece = bytes(self._view[place : min(place + PIECE, end)])
            self._commas += piece.count(b",")
            if self._bounded and self._commas > json.VALUES:
                raise _too_many()
            self.add(_BLANKS.sub(b" ", piece))

    def whole(self) -> bytes:
        """All of it, which is kept here no longer."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _give_way() -> None:
    """Let go of the interpreter: a thread that waits for it would get it only after milliseconds."""
    time.sleep(0)


def _too_many() -> BadJson:
    return BadJson(f"the body has more than {json.VALUES} values")


def _apart(data: bytes, mark: str, stored: bool) -> tuple[_Rest, dict[str, LongText]]:
    """The body with marks in place of its long texts, and the texts."""
    view, texts, rest = memoryview(data), dict[str, LongText](), _Rest(data, bounded=not stored)
    start = place = 0
    while (opened := data.find(b'"', place)) >= 0:
        if opened - place > PIECE:
            rest.add(view[start:place])
            rest.gap(place, opened)
            start = opened
        closed = _closing(data, opened + 1)
        rest.string()
        place = closed + 1
        if place - opened <= LONG or _OF_A_NAME.match(data, place):
            continue
        text = _text(view[opened:place])
        if text is not None:
            name = f"{mark}{len(texts)}"
            texts[name] = text
            rest.add(view[start:opened])
            rest.add(f'"{name}"'.encode())
            start = place
    rest.add(view[start:place])
    rest.gap(place, len(data))
    return rest, texts


def _closing(data: bytes, place: int) -> int:
    """Where the string that goes on at `place` ends."""
    found = data.find(b'"', place)
    if found < 0:
        raise BadJson(_NOT_JSON)
    if data[found - 1] != ord("\\"):
        return found
    while True:
        match = json.IN_STRING.match(data, place, place + PIECE)
        reached = match.end() if match else place
        if data[reached : reached + 1] == b'"':
            return reached
        _give_way()
        if reached == place:
            raise BadJson(_NOT_JSON)
        place = reached


def _text(spelled: memoryview) -> LongText | None:
    """The string that is `spelled`, checked piece by piece; None when it is not long after all."""
    head, length, hashed = "", 0, hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")()
    place, end = 1, len(spelled) - 1
    while place < end:
        match = _IN_LONG.match(spelled, place, min(place + PIECE, end))
        reached = match.end() if match else place
        if reached == place:
            raise BadJson("the body has a text that is not valid JSON")
        try:
            piece = decoder.decode(bytes(spelled[place:reached]), final=reached == end)
        except UnicodeDecodeError:
            raise BadJson("the body is not valid UTF-8") from None
        text = plain.loads(f'"{piece}"')
        head, length = head + text[: HEAD - len(head)] if len(head) < HEAD else head, length + len(text)
        hashed.update(text.encode())
        place = reached
        _give_way()
    return LongText(spelled, head, length, hashed.hexdigest()) if length > HEAD else None
