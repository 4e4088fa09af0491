"""Captured messages of every provider: their files, and the results of reading them.

`cases/<provider>/<door>__<what>.http` holds the source of the shape, the confidence in it, and the message.
`<door>` names the handler's function that reads the message (`submit`, `poll`, `callback`, ...), `<what>` the
case. `<door>__<what>.expected.json` beside it holds the expected result. The newline that ends the file is no
part of the body. A callback is stored like a response: its status line means nothing, and a line `# target:`
holds the path with the query to which it was sent, where its proof needs that.
"""

import functools
import json as stdjson
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from handlers import ALL, DESCRIBED, json
from handlers.contract import Callback, Exchange, Handler, HttpMessage, Keys, Proof, Update, no_challenge
from handlers.description import loading
from handlers.description.terms import Fields, Meaning
from handlers.description.vocabulary import Description
from handlers.errors import BadPayload, BadSignature, ProviderError
from handlers.pointers import steps
from handlers.values import immutable

CASES = Path(__file__).with_name("cases")
RECEIVED_AT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
JOB_SECRET = "job-secret-0f3a"
ACCOUNT_SECRET = "whsec_YWNjb3VudC1zZWNyZXQtZm9yLXRlc3Rz"
PUBLIC_KEY = "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"
"""The public key, as in a JSON Web Key, of the private Ed25519 key that is the bytes 00 to 1f."""
API_KEY = "api-key-7c21"
KEYS = Keys(job=(JOB_SECRET,), account=(ACCOUNT_SECRET, PUBLIC_KEY), api=(API_KEY,))
CONFIDENCE = frozenset({"official", "seed", "third-party", "unconfirmed"})

Read = Callable[[HttpMessage], dict[str, Any]]


@immutable
class Capture:
    """One captured message of a provider."""

    provider: str
    door: str
    what: str
    notes: Mapping[str, str]
    message: HttpMessage

    @property
    def name(self) -> str:
        """Return the name of the capture for test reports."""
        return f"{self.provider}/{self.door}__{self.what}"

    @property
    def expected(self) -> dict[str, Any]:
        """Return the expected result of reading the message."""
        path = CASES / self.provider / f"{self.door}__{self.what}.expected.json"
        found: dict[str, Any] = stdjson.loads(path.read_bytes())
        return found

    @property
    def outcomes(self) -> set[str]:
        """Return the expected result as words: the kind of result, the job's phase, the error's class."""
        expected = self.expected
        words = expected.keys() & {"update", "asset", "challenge"}
        return words | {expected.get("update", {}).get("phase"), expected.get("error")} - {None}


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


def load(path: Path) -> Capture:
    """Return the capture in a `.http` file."""
    head, _, body = path.read_bytes().partition(b"\n\n")
    lines = head.decode().splitlines()
    notes = dict(line[1:].strip().split(": ", 1) for line in lines if line.startswith("#"))
    status, *headers = (line for line in lines if not line.startswith("#"))
    pairs = [line.split(": ", 1) for line in headers]
    door, _, what = path.stem.partition("__")
    told = message(
        int(status.removeprefix("HTTP/1.1 ")),
        body.removesuffix(b"\n"),
        *((name.lower(), value) for name, value in pairs),
    )
    return Capture(
        provider=path.parent.name,
        door=door,
        what=what,
        notes=notes,
        message=replace(told, target=notes.get("target", "")),
    )


def captures(provider: str, *doors: str) -> list[Capture]:
    """Return the captures of a provider, for all functions of its handler or for some."""
    found = [load(path) for path in sorted((CASES / provider).glob("*.http"))]
    return [capture for capture in found if not doors or capture.door in doors]


EVERY = [capture for provider in ALL for capture in captures(provider)]


def rendered(value: Any) -> Any:
    """Return a record as JSON, without values that are None or empty."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value):
        told = {field.name: getattr(value, field.name) for field in fields(value)}
        return {name: rendered(inner) for name, inner in told.items() if inner not in (None, (), {})}
    if isinstance(value, tuple):
        return [rendered(inner) for inner in value]
    return value


def exchanges(handler: Handler) -> dict[str, Exchange[Any, Any]]:
    """Return the functions of a handler that send a request, by name."""
    found = {name: getattr(handler, name) for name in ("submit", "poll", "result", "resolve", "cancel")}
    return {name: door for name, door in found.items() if isinstance(door, Exchange)}


def doors(handler: Handler) -> dict[str, Read]:
    """Return the functions of a handler that read a message, by name. Each returns its result as JSON."""
    found: dict[str, Read] = {
        name: _answer(door, "asset" if name == "resolve" else "update")
        for name, door in exchanges(handler).items()
    }
    if handler.callback is not None:
        found["callback"] = _callback(handler.callback)
        if handler.callback.challenge is not no_challenge:
            found["challenge"] = _challenge(handler.callback)
    return found


def shown(update: Update, body: bytes) -> Any:
    """Return an update as JSON, without a result that is the whole body."""
    whole = update.result is not None and json.write(update.result) == json.write(json.forgive(body))
    return rendered(replace(update, result=None) if whole else update)


def _answer(door: Exchange[Any, Any], kind: str) -> Read:
    def read(told: HttpMessage) -> dict[str, Any]:
        try:
            answer = door.parse(told)
            return {kind: shown(answer, told.body) if isinstance(answer, Update) else rendered(answer)}
        except ProviderError as error:
            return _error(error)

    return read


def _error(error: ProviderError) -> dict[str, Any]:
    wish = error.retry_after.total_seconds() if error.retry_after is not None else None
    said = {"provider_code": error.provider_code, "said": error.said or None, "retry_after": wish}
    return {"error": type(error).__name__} | {
        name: value for name, value in said.items() if value is not None
    }


def _callback(door: Callback) -> Read:
    def read(told: HttpMessage) -> dict[str, Any]:
        try:
            proof = door.verify(told, KEYS)
        except BadSignature as error:
            return {"error": type(error).__name__}
        try:
            return {"proof": proof.value, "update": shown(door.parse(told), told.body)}
        except BadPayload as error:
            return {"proof": proof.value, "error": type(error).__name__}

    return read


def _challenge(door: Callback) -> Read:
    def read(told: HttpMessage) -> dict[str, Any]:
        answer = door.challenge(told)
        shown = rendered(answer) | {"body": stdjson.loads(answer.body)} if answer else None
        return {"challenge": shown}

    return read


def proved(provider: str) -> list[Capture]:
    """Return the callbacks of a provider that prove their origin."""
    return [
        capture
        for capture in captures(provider, "callback")
        if capture.expected.get("proof") == Proof.PROVED.value
    ]
