"""Captures: recorded messages of a provider, each with its right reading, and the comparison of the two.

`<door>__<what>.http` begins with notes (`# source:`, `# confidence:`), then has a status line, headers, an
empty line and the body, whose last newline does not count. A note `# target:` is the path with the query to
which a callback came. `<door>__<what>.expected.json` beside it holds the reading. `<door>` is the function
that reads the message: `submit`, `poll`, `result`, `callback`, `challenge`, `resolve` or `cancel`.
"""

import functools
import json as stdjson
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from handlers import json
from handlers.contract import (
    Callback,
    Exchange,
    Handler,
    HttpMessage,
    Keys,
    Update,
    no_challenge,
)
from handlers.errors import BadPayload, BadSignature, ProviderError
from handlers.values import immutable

RECEIVED_AT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
"""The moment at which every capture was received."""
JOB_SECRET = "job-secret-0f3a"  # noqa: S105  # of captures only
ACCOUNT_SECRET = "whsec_YWNjb3VudC1zZWNyZXQtZm9yLXRlc3Rz"  # noqa: S105  # of captures only
PUBLIC_KEY = "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"
"""The public key of the Ed25519 key made from the bytes 0 to 31 as its seed."""
API_KEY = "api-key-7c21"
KEYS = Keys(job=(JOB_SECRET,), account=(ACCOUNT_SECRET, PUBLIC_KEY), api=(API_KEY,))
"""The keys with which callbacks among captures are proved."""
CONFIDENCE = frozenset({"official", "partner", "seed", "third-party", "unconfirmed"})
DOORS = ("submit", "poll", "result", "resolve", "cancel")
"""The functions of a handler that send a request."""
ANSWERS = frozenset({"Rejected", "Garbled"})
REQUIRED: Mapping[str, frozenset[str]] = {
    "submit": frozenset({"update", "AccountRefused", "Throttled", "Unavailable"}) | ANSWERS,
    "poll": frozenset({"running", "succeeded", "failed", "unknown"}) | ANSWERS,
    "result": frozenset({"succeeded", "failed"}) | ANSWERS,
    "callback": frozenset({"running", "succeeded", "failed", "unknown", "BadPayload"}),
    "resolve": frozenset({"asset"}) | ANSWERS,
    "cancel": frozenset({"update"}) | ANSWERS,
    "challenge": frozenset({"challenge"}),
}
"""The outcomes that the captures of each door must show at least."""
NAMED: Mapping[tuple[str, str], str] = {
    ("submit", "accepted"): "update",
    **{(door, what): what for door in ("poll", "callback") for what in ("running", "succeeded", "failed")},
}
"""The outcomes that captures with these names must show."""
Read = Callable[[HttpMessage], dict[str, Any]]


@immutable
class Capture:
    """A recorded message: its provider, its door, its case, its notes, and the file of its reading."""

    provider: str
    door: str
    what: str
    notes: Mapping[str, str]
    message: HttpMessage
    reading: Path

    @property
    def name(self) -> str:
        """Return its name: its folder, and the name of its files."""
        return f"{self.provider}/{self.door}__{self.what}"

    @property
    def expected(self) -> dict[str, Any]:
        """Return the right reading."""
        return _reading(self.reading)

    @property
    def outcomes(self) -> set[str]:
        """Return the right reading as words: the kind of result, the job's phase, the error's class."""
        expected = self.expected
        words = expected.keys() & {"update", "asset", "challenge"}
        return words | {expected.get("update", {}).get("phase"), expected.get("error")} - {None}


@functools.lru_cache(maxsize=4096)
def _reading(path: Path) -> dict[str, Any]:
    try:
        found = stdjson.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: must be an object")
    return found


def load(path: Path) -> Capture:
    """Return the capture in a `.http` file. Raises `ValueError` with the file and line of a mistake."""
    raw = path.read_bytes()
    # Tools that record messages end the lines of a head as HTTP does.
    split = b"\r\n\r\n" if b"\r\n\r\n" in raw and b"\n\n" not in raw.partition(b"\r\n\r\n")[0] else b"\n\n"
    head, found, body = raw.partition(split)
    if not found:
        raise ValueError(f"{path}: needs an empty line between the head and the body")
    notes: dict[str, str] = {}
    pairs: list[tuple[str, str]] = []
    status: int | None = None
    for number, line in enumerate(head.decode("utf-8", "replace").splitlines(), 1):
        if line.startswith("#"):
            name, value = _pair(line[1:], f"{path}:{number}: a note is `# name: value`")
            notes[name] = value
        elif status is None:
            status = _status(line, f"{path}:{number}: the first line is a status such as `HTTP/1.1 200`")
        else:
            name, value = _pair(line, f"{path}:{number}: a header is `name: value`")
            pairs.append((name.lower(), value))
    if status is None:
        raise ValueError(f"{path}: needs a status line such as `HTTP/1.1 200`")
    door, _, what = path.stem.partition("__")
    message = HttpMessage(
        status, tuple(pairs), body.removesuffix(b"\n"), RECEIVED_AT, target=notes.get("target", "")
    )
    return Capture(path.parent.name, door, what, notes, message, path.with_suffix(".expected.json"))


def _pair(line: str, fault: str) -> tuple[str, str]:
    name, found, value = line.partition(":")
    if not found or not name.strip():
        raise ValueError(fault)
    return name.strip(), value.strip()


def _status(line: str, fault: str) -> int:
    found = re.fullmatch(r"HTTP/[0-9.]+ ([1-5][0-9][0-9])(?: .*)?", line)
    if found is None:
        raise ValueError(fault)
    return int(found[1])


def load_all(folder: Path) -> list[Capture]:
    """Return the captures in a folder. Raises `ValueError` for a file that is none."""
    return [load(path) for path in sorted(folder.glob("*.http"))]


def complaints(handler: Handler, found: Sequence[Capture]) -> Iterator[str]:
    """Yield the faults of captures: wrong notes, readings that differ, outcomes that none of them shows."""
    reads = doors(handler)
    for one in found:
        yield from (f"{one.door}__{one.what}: {said}" for said in _faults(one, reads.get(one.door)))
    for door in reads:
        shown = {word for one in found if one.door == door and one.reading.exists() for word in one.outcomes}
        missing = sorted(required(handler, door) - shown)
        if missing:
            yield f"{door}: no capture shows {', '.join(missing)}"


def required(handler: Handler, door: str) -> frozenset[str]:
    """Return the outcomes that the captures of a door must show; a provider without words shows the ends."""
    needed = REQUIRED[door]
    callback = handler.callback if door == "callback" else None
    if callback is None:
        return needed
    needed |= {"BadSignature"} if callback.provable else frozenset()
    return needed if callback.worded else needed - {"running", "unknown"}


def _faults(one: Capture, read: Read | None) -> Iterator[str]:
    named = NAMED.get((one.door, one.what))
    if named is not None and one.reading.exists() and named not in one.outcomes:
        yield f"is called {one.what} and does not show {named}: correct the description, or its name"
    if one.notes.get("confidence") not in CONFIDENCE:
        yield f"needs a note `# confidence:`, one of {', '.join(sorted(CONFIDENCE))}"
    if len(one.notes.get("source", "")) <= 10:
        yield "its note `# source:` is too short: it needs the page and the day"
    if read is None:
        yield "the provider has no such door"
    elif not one.reading.exists():
        yield f"has no {one.reading.name}; it reads: {stdjson.dumps(read(one.message))}"
    elif (told := read(one.message)) != one.expected:
        yield f"reads {stdjson.dumps(told)}, expected is {stdjson.dumps(one.expected)}"


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


def shown(update: Update, body: bytes) -> Any:
    """Return an update as JSON, without a result that is the whole body."""
    whole = update.result is not None and json.write(update.result) == json.write(json.forgive(body))
    return rendered(replace(update, result=None) if whole else update)


def exchanges(handler: Handler) -> dict[str, Exchange[Any, Any]]:
    """Return the functions of a handler that send a request, by name."""
    found = {name: getattr(handler, name) for name in DOORS}
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


def _answer(door: Exchange[Any, Any], kind: str) -> Read:
    def read(told: HttpMessage) -> dict[str, Any]:
        try:
            answer = door.parse(told)
        except ProviderError as error:
            return _error(error)
        return {kind: shown(answer, told.body) if isinstance(answer, Update) else rendered(answer)}

    return read


def _error(error: ProviderError) -> dict[str, Any]:
    wish = error.retry_after.total_seconds() if error.retry_after is not None else None
    said = {"provider_code": error.provider_code, "said": error.said or None, "retry_after": wish}
    named = {name: value for name, value in said.items() if value is not None}
    return {"error": type(error).__name__} | named


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
        told_json = rendered(answer) | {"body": stdjson.loads(answer.body)} if answer else None
        return {"challenge": told_json}

    return read
