"""Every link and every file inside a value, wherever it stands, with all that says its kind."""

import re
from collections.abc import Mapping
from typing import Any

from handlers import fields, json
from handlers.contract import Kind
from handlers.values import immutable
from handlers.wire import kind_of

BY_TYPE = {kind.value: kind for kind in Kind if kind is not Kind.FILE}
"""The kinds by the first part of a media type, or by a word for the type of an item."""
TYPES = ("content_type", "mime_type", "contentType", "mimeType", "mimetype")
"""The fields of an item that hold its media type."""
_DATA = re.compile(r"data:([a-z0-9.+-]+/[a-z0-9.+-]+)?[;,]", re.IGNORECASE)
_MEDIA = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+", re.IGNORECASE)


@immutable
class Link:
    """A link, or a file in the message itself (without one); the kinds by its name and by its item's type."""

    url: str | None
    named: Kind | None
    typed: Kind | None
    mime: str | None

    @property
    def kind(self) -> Kind:
        """Return the kind of the file: by its ending, else by the type or the name beside it.

        An ending for videos is also one for sound where the name says so.
        """
        ending = kind_of(self.url) if self.url is not None else Kind.FILE
        if ending is Kind.VIDEO and self.named is Kind.AUDIO:
            return Kind.AUDIO
        return ending if ending is not Kind.FILE else self.typed or self.named or Kind.FILE

    @property
    def mime_type(self) -> str | None:
        """Return the media type of its item, unless that is the type of another file, as beside a cover."""
        return self.mime if _kind(self.mime) in {None, self.kind} else None


def walk(
    value: object,
    kinds: Mapping[str, Kind],
    *,
    name: str = "",
    skip: frozenset[str] = frozenset(),
) -> list[Link]:
    """Return every link anywhere in `value` and every `data:` URL, in order, each link once.

    `kinds` maps words in the name of a field to the kind that they mean; `name` is that of `value` itself.
    Fields named in `skip` are left out. JSON inside a text is read too, once.
    """
    walker = _Walker(kinds, skip)
    walker.collect(value, walker.named(name), None, None)
    return walker.found


class _Walker:
    def __init__(self, kinds: Mapping[str, Kind], skip: frozenset[str]) -> None:
        self.found: list[Link] = []
        self._kinds, self._skip = kinds, skip
        self._seen: set[str] = set()
        self._inside = False

    def named(self, name: str) -> Kind | None:
        """Return the kind that the name of a field tells."""
        lower = name.lower()
        return next((kind for word, kind in self._kinds.items() if word in lower), None)

    def collect(self, value: object, named: Kind | None, typed: Kind | None, mime: str | None) -> None:
        if isinstance(value, dict):
            typed, mime = type_of(value)
            for name, inner in value.items():
                if name.lower() not in self._skip:
                    # The name of the field itself says more than the type of the item that holds it.
                    own = self.named(name)
                    self.collect(inner, own or named, None if own else typed, mime)
        elif isinstance(value, list):
            for inner in value:
                self.collect(inner, named, typed, mime)
        elif isinstance(value, str):
            self._text(value, named, typed, mime)

    def _text(self, text: str, named: Kind | None, typed: Kind | None, mime: str | None) -> None:
        if (link := fields.link(text)) is not None:
            if link not in self._seen:
                self._seen.add(link)
                self.found.append(Link(link, named, typed, mime))
        elif (found := inline(text, named, mime)) is not None:
            self.found.append(found)
        elif not self._inside and text.lstrip()[:1] in {"{", "["}:
            self._inside = True
            self.collect(_read(text), named, typed, mime)
            self._inside = False


def inline(text: str, named: Kind | None = None, mime: str | None = None) -> Link | None:
    """Return the file in a `data:` URL, None for any other text. Its own type says more than the others."""
    match = _DATA.match(text)
    if match is None:
        return None
    own = match[1]
    return Link(None, named if own is None else None, _kind(own or mime), own or mime)


def type_of(item: dict[str, Any]) -> tuple[Kind | None, str | None]:
    """Return the kind and the media type that an item tells about its file."""
    told = (item[name] for name in TYPES if isinstance(item.get(name), str))
    mime = next((text for text in told if _MEDIA.fullmatch(text)), None)
    word = item.get("type")
    return _kind(mime) or (BY_TYPE.get(word.lower()) if isinstance(word, str) else None), mime


def _kind(mime: str | None) -> Kind | None:
    return BY_TYPE.get((mime or "").partition("/")[0].lower())


def _read(text: str) -> object:
    try:
        return json.forgive(text.encode())
    except (json.BadJson, UnicodeEncodeError):
        return None
