"""The core without input and output: calls, requests, answers, and the steps that a shell performs.

A call is described once, by a pure function. A flow is a generator: it yields steps, gets a reply to each,
and returns a value. The blocking and the async client perform the same flows.
"""

import json
import math
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

from ringback.errors import (
    BY_CODE,
    ConfigurationError,
    FieldProblem,
    PlaceLost,
    RingbackError,
    ServiceError,
    UnexpectedAnswer,
)
from ringback.reading import Unreadable, written

Result = TypeVar("Result")
Entropy: TypeAlias = Callable[[int], bytes]
ID = re.compile(r"[A-Za-z0-9_-]{1,200}", re.ASCII)
"""The form of an id: no other text may become a part of a path."""
SHOWN = 200
"""The characters of a foreign answer that an error shows."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. The names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """A request without an answer. `sent` means that the service may have received it."""

    detail: str
    sent: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """A step: let some seconds go by."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class Call(Generic[Result]):
    """A call of the API, and the function that reads its answer.

    A `repeatable` call may be sent again although it was perhaps carried out. `waits` is the number of
    seconds for which the service may hold the answer back; `within` is the most that the caller waits for it.
    `draw` completes a call with random parts, once for all its attempts.
    """

    method: str
    path: str
    reads: Callable[[Any], Result] = field(repr=False)
    query: Sequence[tuple[str, str]] = ()
    body: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = False
    waits: float = 0.0
    within: float = math.inf
    feed: bool = False
    draw: "Callable[[Entropy], Call[Result]] | None" = field(default=None, repr=False)

    def at(self, cursor: str) -> "Call[Result]":
        """Return the call for the page that begins at `cursor`."""
        kept = [(name, value) for name, value in self.query if name != "cursor"]
        return replace(self, query=(*kept, ("cursor", cursor)))


Step: TypeAlias = Call[Any] | Pause
Reply: TypeAlias = Answer | Lost | None
Steps: TypeAlias = Generator[Step, Reply, Result]


def path(*parts: str) -> str:
    """Return the path of a call. Raises `ConfigurationError` for a part that is no id."""
    for part in parts:
        # httpx would resolve `..` and lead to another call.
        if not ID.fullmatch(str(part or "")):
            raise ConfigurationError(f"{str(part)[:80]!r} is not an id")
    return "/v1/" + "/".join(quote(str(part), safe="") for part in parts)


def query(**given: str | float | datetime | None) -> tuple[tuple[str, str], ...]:
    """Return query parameters; those that are None are left out."""
    return tuple((name, _worded(value)) for name, value in given.items() if value is not None)


def _worded(value: str | float | datetime) -> str:
    if isinstance(value, datetime):
        return written(value)
    return str(value)


def content(given: Mapping[str, Any]) -> bytes:
    """Return a JSON body. Raises `ValueError` for NaN and `TypeError` for values that JSON does not have."""
    return json.dumps(given, allow_nan=False, default=_jsonable).encode()


def _jsonable(value: object) -> object:
    if isinstance(value, datetime):
        return written(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is no JSON")


def some(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are not None."""
    return {name: value for name, value in given.items() if value is not None}


def known(given: Mapping[str, Any], names: type) -> None:
    """Raise `TypeError` for a keyword that a function does not have; `names` is a `TypedDict`."""
    for name in given:
        if name not in names.__annotations__:
            raise TypeError(f"unexpected keyword {name!r}; there are {', '.join(names.__annotations__)}")


def outcome(call: Call[Result], answer: Answer) -> Result:
    """Return the value of an answer. Raises `ServiceError` for any other than a success."""
    if not 200 <= answer.status < 300:
        raise problem(answer, feed=call.feed)
    try:
        return call.reads(json.loads(answer.body) if answer.body else None)
    except (ValueError, RecursionError) as error:
        # The text of a JSON error quotes nothing useful; that of `Unreadable` names the field.
        said = error if isinstance(error, Unreadable) else "it is no JSON"
        raise UnexpectedAnswer(
            f"{call.method} {call.path} was answered with something unexpected: {said}",
            status=answer.status,
            request_id=answer.headers.get("x-request-id"),
        ) from None


def problem(answer: Answer, *, feed: bool = False) -> ServiceError:
    """Return the error of an answer; `feed` tells that it is about a place in the feed."""
    request_id = answer.headers.get("x-request-id")
    try:
        told = json.loads(answer.body)
        code, detail = told["code"], told["detail"] or told["title"]
        if not (isinstance(code, str) and isinstance(detail, str)):
            raise TypeError
        errors = [
            FieldProblem(*(str(one.get(name, "")) for name in ("in", "pointer", "name", "detail")))
            for one in told.get("errors") or ()
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # A page of a proxy, or JSON of another service: any of its parts may be missing.
        return UnexpectedAnswer(_foreign(answer), status=answer.status, request_id=request_id)
    about: dict[str, Any] = {
        "code": code,
        "status": answer.status,
        "errors": errors,
        "request_id": request_id or told.get("request_id"),
    }
    # Elsewhere, `gone` is an asset or a link.
    if feed and code == "gone":
        return PlaceLost(detail, oldest=told.get("oldest"), **about)
    return BY_CODE.get(code, ServiceError)(detail, **about)


def _foreign(answer: Answer) -> str:
    text = " ".join(answer.body[: 4 * SHOWN].decode("utf-8", "replace").split())
    shown = "".join(one for one in text if one.isprintable())[:SHOWN]
    return f"status {answer.status}, and not in the form of Ringback's errors: {shown!r}"


def passes(error: RingbackError) -> bool:
    """Return whether an error may pass by itself: no answer, a 5xx or a 429."""
    return error.status is None or error.status >= 500 or error.status == 429
