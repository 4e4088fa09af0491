"""A reader for JSON bodies that are mostly a few long texts (files in base64), without a copy of those texts.

The long texts are checked in place, piece by piece, and replaced by marks. The rest is small and is read by
the strict reader. JSON that is written from the result gets the texts back, byte for byte as they arrived.
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
"""Bytes of JSON, quotes included, above which a string may count as long."""
HEAD = 5000
"""Characters of a long text that are kept for checks and display; a text of at most so many is not long."""
REST = 4 * MIB
"""Bytes that a request may have beside its long texts."""
PIECE = 64 * 1024
"""Bytes examined in one step: a call into the C library holds the interpreter lock as long as it lasts."""
TURN = 500
"""Strings that are counted before the interpreter lock is released once, for the same reason."""
# Possessive quantifiers never backtrack. Surrogate escapes match as pairs, so no piece ends inside a pair.
_IN_LONG = re.compile(
    rb"(?:[^\\\x00-\x1f]++|\\[\"\\/bfnrt]|\\u(?:[0-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2})"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+"
)
_OF_A_NAME = re.compile(rb"[ \t\n\r]*+:")
_BLANKS = re.compile(rb"[ \t\n\r]{2,}+")
_NOT_JSON = "the body is not valid JSON"


@immutable
class LongText:
    """A long text: its JSON with the quotes, its first characters, its length in characters and its hash."""

    spelled: memoryview = field(repr=False)
    head: str = field(repr=False)
    length: int
    hashed: str


@immutable
class LargeJson:
    """A body that was read: `value` with marks in place of the long `texts`."""

    value: Any = field(repr=False)
    texts: Mapping[str, LongText] = field(repr=False)
    mark: str = ""

    def with_texts(self, value: Any, chosen: Callable[[LongText], str]) -> Any:
        """Return `value` with each mark replaced by `chosen` of its text. Parts without a mark are shared."""
        if not self.texts:
            return value

        def replaced(one: str) -> str:
            text = self.texts.get(one)
            return one if text is None else chosen(text)

        return with_strings(value, replaced)

    def restored(self, written: bytes) -> Parts | None:
        """Return the JSON `written` from a part of `value`, with its texts; None when a mark was changed."""
        if not self.texts:
            return Parts((written,))
        view, opening, place = memoryview(written), b'"' + self.mark.encode(), 0
        # A mark that does not begin its string became part of another text and cannot be replaced.
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
    """Return a JSON value with `replaced` applied to each string. Parts without a change are shared."""
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
    """Return the parsed body. Raises `BadJson` or `TooLarge`.

    The limits do not apply to a `stored` body, which was checked when it arrived.
    """
    values = None if stored else json.VALUES
    if len(data) <= LONG:
        return LargeJson(json.read(data, values=values), {})
    # The mark is random, so that no sender can put one into a body.
    mark = secrets.token_hex(16)
    rest, texts = _apart(data, mark, stored)
    return LargeJson(json.read(rest.whole(), values=values), texts, mark)


class _Rest:
    """The parts of a body beside its long texts, collected as the body is scanned."""

    def __init__(self, data: bytes, *, bounded: bool) -> None:
        self._view = memoryview(data)
        self._bounded = bounded
        self._parts: list[bytes | memoryview] = []
        self._size = self._strings = self._commas = 0

    def string(self) -> None:
        """Count a string. Raises `BadJson` for too many."""
        self._strings += 1
        if self._strings % TURN == 0:
            _give_way()
        if self._bounded and self._strings > 2 * json.VALUES + 2:
            raise _too_many()

    def add(self, part: bytes | memoryview) -> None:
        """Store `part`. Raises `TooLarge` when the parts exceed `REST`."""
        self._parts.append(part)
        self._size += len(part)
        if self._bounded and self._size > REST:
            raise TooLarge(f"a body may have {REST} bytes beside blanks and texts of more than {LONG} bytes")

    def gap(self, start: int, end: int) -> None:
        """Store the bytes between two strings, each run of blanks as one. Raises `BadJson` or `TooLarge`."""
        for place in range(start, end, PIECE):
            _give_way()
            piece = bytes(self._view[place : min(place + PIECE, end)])
            self._commas += piece.count(b",")
            if self._bounded and self._commas > json.VALUES:
                raise _too_many()
            self.add(_BLANKS.sub(b" ", piece))

    def whole(self) -> bytes:
        """Return all parts as one value, and release them."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _give_way() -> None:
    """Release the interpreter lock: a waiting thread would otherwise get it only after milliseconds."""
    time.sleep(0)


def _too_many() -> BadJson:
    return BadJson(f"the body has more than {json.VALUES} values")


def _apart(data: bytes, mark: str, stored: bool) -> tuple[_Rest, dict[str, LongText]]:
    """Return the body with marks in place of its long texts, and the texts by mark."""
    view, texts, rest = memoryview(data), dict[str, LongText](), _Rest(data, bounded=not stored)
    start = place = 0
    while (opened := data.find(b'"', place)) >= 0:
        # Long runs of blanks must not count against `REST`; shorter gaps are kept with their surroundings.
        if opened - place > PIECE:
            rest.add(view[start:place])
            rest.gap(place, opened)
            start = opened
        closed = _closing(data, opened + 1)
        rest.string()
        place = closed + 1
        # Object keys stay as they are: only values get their texts back.
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
    """Return the place of the closing quote of the string that continues at `place`."""
    found = data.find(b'"', place)
    if found < 0:
        raise BadJson(_NOT_JSON)
    # Only a quote behind a backslash may be escaped, so most strings need no search by pattern.
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
    """Check a string piece by piece. Returns its `LongText`, or None when it is not long once decoded."""
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
        # The hash is of the decoded text, so that it does not depend on the escapes of the sender.
        hashed.update(text.encode())
        place = reached
        _give_way()
    return LongText(spelled, head, length, hashed.hexdigest()) if length > HEAD else None
