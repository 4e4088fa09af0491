"""The kinds of texts in a description, each with its check: pointers, paths, headers, places, spans."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from handlers import wire
from handlers.errors import Garbled
from handlers.pointers import EACH, BadPointer, steps

NAME = r"^[a-z0-9][a-z0-9-]{0,39}$"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_HEADER = f"^{wire.HEADER_NAME}$"
_FRAMING = frozenset(
    {"connection", "content-length", "content-type", "expect", "host", "keep-alive", "te", "trailer"}
    | {"proxy-connection", "transfer-encoding", "upgrade"}
)
"""The headers that the request itself sets."""
_SPAN = re.compile(r"[0-9]{1,4}[smhd]")
_WORD = re.compile(r"\w(?:[\w .:/-]{0,58}\w)?")
_WHOLE_PATH = re.compile(r"^\{(own|operation)\}")
"""The names that stand for a whole path."""
_PLACE = r"^(body|query|header):.+$"
_ORIGIN = r"^https?://(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,5})?$"
_PRINTABLE = r"^[ -~]*$"
AUTH = rf"^(bearer|raw|word:[A-Za-z]+|header:{wire.HEADER_NAME}|body:/.+)$"
BASE_URL = r"^(https?://[^\s/?#]+(/[^\s?#]*[^\s?#/])?)?$"
KEYS_URL = r"^https?://[^\s#]+$"
PARAMETER = r"^query:[A-Za-z0-9_-]{1,40}$"
TIME = rf"^(header:{wire.HEADER_NAME}|[a-z0-9]{{1,8}})$"
PART = r"^[a-z0-9]{1,8}$"
STATUS = r"^[2-5][0-9][0-9]$"
SETTING = r"^[a-z][a-z0-9_]{1,39}$"
FORMS = {
    NAME: "1 to 40 of a-z, 0-9 and `-`, beginning with a letter or digit",
    _HEADER: "the name of a header in lower case, such as x-signature",
    _PLACE: "`body:/a/b`, `query:name` or `header:name`",
    _ORIGIN: "an origin such as https://host, or https://*.host for every name below it",
    _PRINTABLE: "printable ASCII on one line",
    AUTH: "bearer, raw, word:Key, header:x-api-key or body:/key",
    BASE_URL: "a URL such as https://api.acme.example/v1, without query, fragment or slash at its end",
    KEYS_URL: "a URL such as https://acme.example/keys.json, without fragment",
    PARAMETER: "`query:` and the name of a parameter, such as query:Expires",
    TIME: "`header:` and the name of a header, or a part such as `t` of the proof's header",
    PART: "a part of the proof's header, such as v1",
    STATUS: "a status of HTTP from 200 to 599",
    SETTING: "2 to 40 of a-z, 0-9 and `_`, beginning with a letter",
}
"""The forms of texts as sentences, by their patterns."""


def pointer(text: str) -> str:
    """Return `text` if it is a pointer. Raises `ValueError` with the fix."""
    try:
        steps(text)
    except BadPointer as error:
        raise ValueError(str(error)) from None
    return text


def _in_object(text: str) -> str:
    """Return a pointer that begins at a field. Raises `ValueError` for one into a message that is a list."""
    first = text.split("/")[1:2]
    if first and (first[0] == EACH or first[0].isdigit()):
        raise ValueError(f"{text!r} begins in a list: a message that is none but a list needs Python")
    return text


def place(text: str) -> str:
    """Return `text` if it can be the place of a value in a request. Raises `ValueError` with the fix."""
    where, _, at = text.partition(":")
    if where == "body":
        pointer(at)
    if where == "header":
        if not re.fullmatch(_HEADER, at.lower()):
            raise ValueError(f"{at!r} is no name of a header")
        sent(at)
    return text


def sent(name: str) -> str:
    """Return the name of a header that a description may send. Raises `ValueError` for one of the framing."""
    if name.lower() in _FRAMING:
        raise ValueError(f"{name!r} is set by the request itself; leave it out")
    return name


def _nested(name: str) -> str:
    pointer(f"/{name}")
    return name


def _path(text: str) -> str:
    try:
        wire.own_path(_WHOLE_PATH.sub("/own", text).replace("{", "").replace("}", ""))
        if {".", ".."} & set(text.partition("?")[0].split("/")):
            raise Garbled
    except Garbled:
        raise ValueError(
            f"{text!r} leaves the origin or is no path: `/...` without blanks, // or #"
        ) from None
    return text


def listed(value: object) -> object:
    """Return a single text as a list of it, for keys that take one or several."""
    return [value] if isinstance(value, str) else value


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise ValueError(
            "is no word: letters, digits, blanks and `_ . : / -`, at most 60; there are no patterns"
        )
    return text


def _span(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not _SPAN.fullmatch(value):
        raise ValueError("must be a number with its unit: `30s`, `10m`, `24h` or `14d`")
    return timedelta(seconds=int(value[:-1]) * UNITS[value[-1]])


def _lower(text: str) -> str:
    if text != text.strip().lower():
        raise ValueError(f"{text!r} never matches: words are compared in lower case without blanks around")
    return text


Pointer = Annotated[str, AfterValidator(pointer), Field(examples=["/data/task_id", "/videos/*/url"])]
"""A JSON pointer; `*` is every item of a list, `json:` steps into the JSON inside a text."""
InMessage = Annotated[Pointer, AfterValidator(_in_object)]
"""A pointer into a message of the provider, which is an object."""
Pointers = Annotated[tuple[InMessage, ...], Field(min_length=1, max_length=16), BeforeValidator(listed)]
"""One pointer or several: the first that holds counts."""
Path = Annotated[str, AfterValidator(_path), Field(max_length=500)]
"""A path at the provider's own origin, with names in braces."""
Header = Annotated[str, Field(pattern=_HEADER)]
"""The name of a header, in lower case."""
SentHeader = Annotated[Header, AfterValidator(sent)]
"""The name of a header of a request, in lower case."""
NestedField = Annotated[str, AfterValidator(_nested)]
"""The name of a field of a body; `a/b` is one inside an object."""
Origin = Annotated[str, Field(pattern=_ORIGIN, max_length=260)]
"""An origin, `https://host`, or `https://*.host` for every name below a host."""
HeaderValue = Annotated[str, Field(pattern=_PRINTABLE, max_length=1000)]
"""The value of a header: printable ASCII on one line."""
Place = Annotated[str, AfterValidator(place), Field(pattern=_PLACE, max_length=200)]
"""The place of a value in a request: `body:/a/b`, `query:name` or `header:name`."""
Span = Annotated[
    timedelta, BeforeValidator(_span), WithJsonSchema({"type": "string", "pattern": _SPAN.pattern})
]
"""A span of time: `30s`, `10m`, `24h`, `14d`."""
Text = Annotated[str, Field(min_length=1, max_length=300)]
LowerText = Annotated[Text, AfterValidator(_lower)]
Word = Annotated[str, AfterValidator(_word), Field(json_schema_extra={"pattern": f"^{_WORD.pattern}$"})]
"""A status word: letters, digits and `_ .:/-`, in the provider's own case."""
