"""Checks of requests (API key, scope, query, body), and responses with errors in one form."""

import functools
import io
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope

from handlers import json
from receiver.api.api_keys import Caller
from receiver.api.requests import RequestModel
from receiver.api.services import Services
from receiver.domain.errors import (
    FieldError,
    Invalid,
    Malformed,
    ReceiverError,
    TooLarge,
    UnsupportedMediaType,
    did_you_mean,
    pointer_to,
)

Model = TypeVar("Model", bound=BaseModel)

PLAIN = {
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
}
"""Sentences by type of error, in place of pydantic's sentences that name Python types."""
LENGTHS = {"too_short": ("at least", "min_length"), "too_long": ("at most", "max_length")}
MOST = 200
"""Most entries of an object or list in a request, except in fields that are passed on unchanged."""
KIB = 1024
BODY_LIMIT = 256 * KIB
"""Bytes of a request body, where the route sets no other limit."""
CALLBACK_LIMIT = 1024 * KIB
"""Bytes of a callback."""
JOB_LIMIT = 32 * KIB * KIB
"""Bytes of a job request: its input may hold whole files in base64."""
JSON_TYPES = re.compile(r"application/(?:json|merge-patch\+json|[a-z.+-]+\+json)(?:\s*;.*)?", re.IGNORECASE)


Document = Callable[[], dict[str, Any]]
"""A function that returns the OpenAPI document."""


@dataclass(slots=True, kw_only=True)
class RequestContext:
    """A checked request: the argument of a handler."""

    services: Services
    document: Document
    request: Request
    caller: Caller
    body: Any = field(repr=False)
    query: Any
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> Mapping[str, str]:
        """Return the parameters in the path."""
        found: Mapping[str, str] = self.request.path_params
        return found


Handle = Callable[[RequestContext], Awaitable[Response]]
NOSNIFF = {"x-content-type-options": "nosniff"}
NO_STORE = {"cache-control": "no-store"}
"""The header of every response that shows a secret."""


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response."""
    return Response(json.write(value), status, {**NOSNIFF, **(headers or {})}, "application/json")


def problem(error: ReceiverError, request_id: str, *, status: int | None = None) -> Response:
    """Return an error as `application/problem+json`. `status` overrides its own, such as for 431."""
    status = status or error.http_status
    body: dict[str, Any] = {
        "type": f"/problems/{error.code}",
        "code": error.code,
        "title": error.title,
        "status": status,
        "detail": error.detail,
        "request_id": request_id,
        **error.extra,
    }
    if error.errors:
        body["errors"] = [
            {"in": one.place, "pointer": one.pointer, "name": one.name, "detail": one.detail}
            for one in error.errors
        ]
    headers = NOSNIFF | dict(error.headers)
    return Response(json.write(body), status, headers, "application/problem+json")


def new_request_id() -> str:
    """Return an id for a request."""
    return f"req_{random.getrandbits(96):024x}"  # finds lines in a log, so it needs no secure randomness


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Return the body of a request.

    Raises `TooLarge` as soon as the body is known to exceed `limit` bytes: by its declared length, or while
    it arrives. Raises `UnsupportedMediaType` for an encoded body and `Malformed` for one that ends early.
    """
    for name, value in scope["headers"]:
        if name == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}:
            raise UnsupportedMediaType("send the body without Content-Encoding")
        if name == b"transfer-encoding" and value.strip().lower() != b"chunked":
            raise UnsupportedMediaType("send the body with no Transfer-Encoding but chunked")
        # Twelve digits decide; `int` refuses numbers of more than 4,300 digits.
        if name == b"content-length" and value.isdigit() and int(value[:12]) > limit:
            raise TooLarge(f"the body may have {limit} bytes")
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        whole: bytes = message.get("body", b"")
        _refuse_large(len(whole), limit)
        return whole
    # `getvalue` returns its bytes without a copy; bytes made from a bytearray take the memory twice.
    body = io.BytesIO()
    while message["type"] == "http.request":
        body.write(message.get("body", b""))
        _refuse_large(body.tell(), limit)
        if not message.get("more_body"):
            return body.getvalue()
        message = await receive()
    raise Malformed("the body ended early")


def _refuse_large(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(f"the body may have {limit} bytes")


def only_json(content_type: str | None) -> None:
    """Raise `UnsupportedMediaType` for a declared content type other than JSON."""
    if content_type is not None and not JSON_TYPES.fullmatch(content_type.strip()):
        raise UnsupportedMediaType("send Content-Type: application/json")


def parse(raw: bytes, model: type[Model], content_type: str | None) -> Model:
    """Return a body as `model`.

    Raises `UnsupportedMediaType` or `Malformed` when it is not JSON, `Invalid` when its values are wrong.
    """
    only_json(content_type)
    try:
        value = json.read(raw)
    except json.BadJson as error:
        raise Malformed(str(error)) from None
    return checked(model, value, "body")


def checked(model: type[Model], value: Any, place: str) -> Model:
    """Return `value` as `model`. Raises `Invalid` with a pointer for each problem."""
    _refuse_crowds(model, value, place)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Invalid(errors=_field_errors(error, place, model)) from None


def _refuse_crowds(model: type[Model], value: Any, place: str) -> None:
    """Raise `Invalid` for objects and lists with too many entries, before each entry becomes an error."""
    if not isinstance(value, dict):
        return
    free = _free(model)
    inner = ((pointer_to(name), one) for name, one in value.items() if name not in free)
    for pointer, one in chain((("", value),), islice(inner, MOST)):
        if isinstance(one, dict | list) and len(one) > MOST:
            detail = f"must have at most {MOST} entries"
            raise Invalid(errors=[FieldError(place, pointer, pointer[1:], detail)])


@functools.cache
def _free(model: type[BaseModel]) -> frozenset[str]:
    """Return the fields that take objects of any size."""
    return frozenset(name for name, one in model.model_fields.items() if one.annotation == dict[str, Any])


def _field_errors(error: ValidationError, place: str, model: type[BaseModel]) -> list[FieldError]:
    elsewhere = model.elsewhere if issubclass(model, RequestModel) else {}
    found = []
    for one in error.errors(include_url=False, include_input=False):
        # pydantic marks an error in the key of an object by `[key]` at the end of its location.
        path = [str(part) for part in one["loc"] if part != "[key]"]
        name = path[-1] if path else ""
        pointer = pointer_to(*path)
        detail = _sentence(one)
        if one["type"] == "extra_forbidden":
            noun = "field" if place == "body" else "parameter"
            hint = f"; {elsewhere[name]}" if name in elsewhere else did_you_mean(name, model.model_fields)
            detail = f"there is no such {noun}" + (hint if len(path) == 1 else "")
        found.append(
            FieldError(place, pointer if place == "body" else name, name, detail[:1].lower() + detail[1:])
        )
    return found


def _sentence(problem: Mapping[str, Any]) -> str:
    """Return the sentence for a wrong value, without the inner words of pydantic."""
    limits, kind = problem.get("ctx", {}), problem["type"]
    if kind in LENGTHS:
        bound, limit = LENGTHS[kind][0], limits[LENGTHS[kind][1]]
        one, many = ("character", "characters") if limits["field_type"] == "Value" else ("entry", "entries")
        return f"must have {bound} {limit} {one if limit == 1 else many}"
    said: str = problem["msg"]
    return PLAIN.get(kind, said.removeprefix("Value error, "))


def read_query(
    request: Request, model: type[Model], *, labelled: bool
) -> tuple[Model, tuple[tuple[str, str], ...]]:
    """Return the query as `model`, and its `metadata.<key>` filters if `labelled`. Raises `Invalid`."""
    try:
        pairs = parse_qsl(
            request.scope["query_string"].decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=50,
        )
    except (ValueError, UnicodeDecodeError):
        raise Invalid(errors=[FieldError("query", "", "", "the query cannot be read")]) from None
    labels = tuple(
        (k.removeprefix("metadata."), v) for k, v in pairs if labelled and k.startswith("metadata.")
    )
    values: dict[str, str] = {}
    for name, value in pairs:
        if labelled and name.startswith("metadata."):
            continue
        if name in values:
            raise Invalid(errors=[FieldError("query", name, name, "give this parameter once")])
        values[name] = value
    return checked(model, values, "query"), labels
