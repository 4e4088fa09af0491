"""Captured messages of every provider: their files, and the results of reading them.

`cases/<provider>/<door>__<what>.http` holds the source of the shape, the confidence in it, and the message.
`<door>` names the handler's function that reads the message (`submit`, `poll`, `callback`, ...), `<what>` the
case. `<door>__<what>.expected.json` beside it holds the expected result. The newline that ends the file is no
part of the body. A callback is stored like a response: its status line means nothing, and a line `# target:`
holds the path with the query to which it was sent, where its proof needs that.
"""

import functools
from pathlib import Path

from handlers import ALL, DESCRIBED
from handlers.captures import (
    ACCOUNT_SECRET,
    API_KEY,
    CONFIDENCE,
    JOB_SECRET,
    KEYS,
    PUBLIC_KEY,
    RECEIVED_AT,
    Capture,
    doors,
    exchanges,
    load_all,
    rendered,
)
from handlers.contract import Handler, HttpMessage, Proof
from handlers.description import loading
from handlers.description.terms import Fields, Meaning
from handlers.description.vocabulary import Description
from handlers.pointers import steps

__all__ = (
    "ACCOUNT_SECRET",
    "API_KEY",
    "CASES",
    "CONFIDENCE",
    "EVERY",
    "HANDLERS",
    "JOB_SECRET",
    "KEYS",
    "PUBLIC_KEY",
    "RECEIVED_AT",
    "Capture",
    "captures",
    "configured",
    "doors",
    "exchanges",
    "fields_of",
    "message",
    "proved",
    "rendered",
    "status_fields",
    "without_word",
)
CASES = Path(__file__).with_name("cases")


def configured(provider: str) -> Handler:
    """Return the handler of a provider with its default settings."""
    listed = ALL[provider]
    handler: Handler = listed.configure(listed.options())
    return handler


HANDLERS = {name: configured(name) for name in ALL}


@functools.cache
def description(provider: str) -> Description:
    """Return the description of a provider."""
    return loading.load(DESCRIBED / f"{provider}.toml").told


def fields_of(provider: str, door: str) -> tuple[Fields, Fields]:
    """Return the places that a description names for one handler function, and those for all of them."""
    told = description(provider)
    table = getattr(told, door)
    return (table.fields if table else Fields()), told.fields


def status_fields(provider: str, door: str = "poll") -> frozenset[str]:
    """Return the names of the fields with a status word; none where a message carries no such word."""
    own, common = fields_of(provider, door)
    return frozenset(steps(place)[-1] for place in own.status or common.status or ())


def without_word(provider: str, door: str = "poll") -> Meaning | None:
    """Return the meaning of a message that has neither a status word nor a file."""
    own, common = fields_of(provider, door)
    return own.without_status or common.without_status


def message(status: int = 200, body: bytes = b"", *headers: tuple[str, str]) -> HttpMessage:
    """Return a message that was received at the same moment as all captures."""
    return HttpMessage(status, headers, body, RECEIVED_AT)


@functools.cache
def _of(provider: str) -> tuple[Capture, ...]:
    return tuple(load_all(CASES / provider))


def captures(provider: str, *doors: str) -> list[Capture]:
    """Return the captures of a provider, for all functions of its handler or for some."""
    return [capture for capture in _of(provider) if not doors or capture.door in doors]


EVERY = [capture for provider in ALL for capture in captures(provider)]


def proved(provider: str) -> list[Capture]:
    """Return the callbacks of a provider that prove their origin."""
    return [
        capture
        for capture in captures(provider, "callback")
        if capture.expected.get("proof") == Proof.PROVED.value
    ]
