"""Errors of the service: one class for each code of the public contract."""

import difflib
import errno
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from handlers.values import immutable

ERRORS = 100
"""The most field errors in one response; the others are reported once these are fixed."""
LONGEST_WORD = 100
"""Characters of a name that are compared with the known names: the time of a comparison grows with them."""


@immutable
class FieldError:
    """An error in one field of a request: its place, its JSON pointer, its name, and the fix as `detail`."""

    place: str
    pointer: str
    name: str
    detail: str


class ReceiverError(Exception):
    """An error response of the API. `detail` is for people and contains no secret and no input."""

    code: ClassVar[str] = "unavailable"
    http_status: ClassVar[int] = 503
    title: ClassVar[str] = "The service cannot do this now"
    meaning: ClassVar[str] = ""

    def __init__(
        self,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Sequence[tuple[str, str]] = (),
        extra: dict[str, str] | None = None,
    ) -> None:
        self.detail = detail or self.meaning or self.title
        super().__init__(self.detail)
        self.errors = tuple(errors[:ERRORS])
        self.headers = tuple(headers)
        self.extra = extra or {}


class Malformed(ReceiverError):
    """A body that is not strict JSON, or a request that is not well-formed HTTP."""

    code = "malformed"
    http_status = 400
    title = "The request cannot be read"
    meaning = (
        "The body is not strict JSON: it must be UTF-8, without duplicate keys, NaN, infinities or lone "
        "surrogates, nested at most 64 deep and with at most 100,000 values. Or the request "
        "itself is not well-formed HTTP."
    )


class Unauthorized(ReceiverError):
    """A request without a valid API key."""

    code = "unauthorized"
    http_status = 401
    title = "A valid API key is needed"
    meaning = (
        "Send the header `Authorization: Bearer rb_...` with an API key that exists, has not expired and was "
        "not revoked."
    )


class UnknownCallback(Unauthorized):
    """A callback with an unknown URL, or with a missing or wrong proof; the response does not say which."""

    title = "This callback is not one of ours"
    meaning = (
        "The URL is not one that this service gave out, or the proof that belongs to it is missing or wrong."
    )


class Forbidden(ReceiverError):
    """A request with an API key that lacks the required scope."""

    code = "forbidden"
    http_status = 403
    title = "This API key may not do that"
    meaning = "The key lacks the scope that the call needs; `detail` names it. Use a key that has it."


class NotFound(ReceiverError):
    """A request for a path or an id that does not exist."""

    code = "not-found"
    http_status = 404
    title = "Not found"
    meaning = "There is no such path, or nothing with this id; retention may have removed it."


class MethodNotAllowed(ReceiverError):
    """A request with a method that its path does not support."""

    code = "method-not-allowed"
    http_status = 405
    title = "This path does not take that method"
    meaning = "The header `Allow` lists the methods that it takes."


class Conflict(ReceiverError):
    """A request that the present state of its object does not allow."""

    code = "conflict"
    http_status = 409
    title = "This cannot be done in the present state"
    meaning = "`detail` names the state and what would be possible instead."


class Gone(ReceiverError):
    """A request for something that existed once."""

    code = "gone"
    http_status = 410
    title = "This is no longer here"
    meaning = (
        "The link has ended or was revoked, the provider deleted the file, or retention removed the place in "
        "the feed."
    )


class TooLarge(ReceiverError):
    """A body over the limit."""

    code = "too-large"
    http_status = 413
    title = "The body is too large"
    meaning = (
        "POST /v1/jobs takes 32 MiB, of which 4 MiB may lie outside of texts of more than 32 KiB; callbacks "
        "take 1 MiB, all else 256 KiB."
    )


class UnsupportedMediaType(ReceiverError):
    """A body in a media type or content coding that the service does not read."""

    code = "unsupported-media-type"
    http_status = 415
    title = "The media type of the body is not supported"
    meaning = "Send `Content-Type: application/json` and no `Content-Encoding`."


TOLD = 5
"""The number of wrong fields that `detail` names, to stay readable; `errors` has up to `ERRORS` of them."""


class RangeNotSatisfiable(ReceiverError):
    """A request for a part of a file that lies behind its end."""

    code = "range-not-satisfiable"
    http_status = 416
    title = "The file has no such part"
    meaning = (
        "The range lies behind the end of the file; `Content-Range` names its length, where it is known."
    )


class Invalid(ReceiverError):
    """A readable request with wrong fields."""

    code = "validation"
    http_status = 422
    title = "The request is not valid"
    meaning = "`errors` lists each field with a sentence that says what would be right."

    def __init__(
        self, detail: str = "", *, errors: Sequence[FieldError] = (), headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        found = "; ".join(f"{one.pointer or one.name or 'the body'}: {one.detail}" for one in errors[:TOLD])
        more = f"; and {len(errors) - TOLD} more" if len(errors) > TOLD else ""
        super().__init__(detail or found + more, errors=errors, headers=headers)


class IdempotencyMismatch(ReceiverError):
    """An idempotency key that is used again with another body."""

    code = "idempotency-mismatch"
    http_status = 422
    title = "This Idempotency-Key was used with another body"
    meaning = "Use a new key for a new job; the same key and the same body give the same job."


class Contended(Exception):
    """A conflict with another transaction: this one may succeed when it runs again. `__cause__` is the error.

    `passes` means that it succeeds once the other transactions have ended: no existing row conflicts with it.
    """

    def __init__(self, *, passes: bool = False) -> None:
        super().__init__()
        self.passes = passes


class StoreUnavailable(ReceiverError):
    """A store that does not take writes now, or a service that is stopping."""

    code = "unavailable"
    http_status = 503
    title = "We cannot store this now"
    meaning = "The database does not take writes or the service is stopping. Try again after `Retry-After`."

    def __init__(self, detail: str = "", *, retry_after: int = 2) -> None:
        super().__init__(detail, headers=(("retry-after", str(retry_after)),))


class Busy(ReceiverError):
    """A request that would be one too many at once."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers=(("retry-after", "2"),))


class ProviderUnavailable(ReceiverError):
    """A provider that cannot be reached now, or an account that is switched off."""

    code = "provider-unavailable"
    http_status = 503
    title = "The provider cannot be reached now"
    meaning = (
        "The asset's file is at a provider that does not answer, or whose account is off. Try again after "
        "`Retry-After`."
    )

    def __init__(self, detail: str = "", *, seconds: float = 5.0) -> None:
        self.seconds = seconds
        super().__init__(detail, headers=(("retry-after", str(max(1, math.ceil(seconds)))),))


class TooManyWaiting(ReceiverError):
    """An API key with too many waiting calls at once."""

    code = "too-many-requests"
    http_status = 429
    title = "This API key waits too often at once"
    meaning = "A key may have 4,096 calls with `wait` open. End some, or ask without `wait`."

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, headers=(("retry-after", "1"),))


class Internal(ReceiverError):
    """A fault in the service itself."""

    code = "internal"
    http_status = 500
    title = "This failed unexpectedly"
    meaning = "A fault in the service. Its log has the details under the `request_id` of the answer."


LISTS = {
    "job": "/v1/jobs",
    "event": "/v1/events",
    "endpoint": "/v1/endpoints",
    "delivery": "/v1/deliveries",
    "replay": "/v1/replays",
    "key": "/v1/keys",
}


def no_such(kind: str) -> NotFound:
    """Return the error for an unknown id. Its detail names the call that lists the existing objects."""
    return NotFound(f"no such {kind}; GET {LISTS[kind]} lists those that are there")


def nearest(name: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """Return the known name that `name` was probably meant to be, or None when no name is similar."""
    return next(iter(difflib.get_close_matches(name[:LONGEST_WORD], known, n=1, cutoff=likeness)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that suggests the most similar known name, or "" when there is none."""
    near = nearest(name, known)
    return f"; did you mean `{near}`?" if near else ""


NEXT_STEPS = {
    errno.ENOENT: "make it, or name another",
    errno.EACCES: "let the user that runs this use it (chown, chmod)",
    errno.EPERM: "let the user that runs this use it (chown, chmod)",
    errno.ENOSPC: "make room on its disk",
    errno.EROFS: "its disk is mounted read-only; name another place",
    errno.EISDIR: "name a file",
}


def missing(path: Path) -> str:
    """Return the sentence about a file that does not exist, with the next step."""
    return f"there is no file {path}; {NEXT_STEPS[errno.ENOENT]}"


def no_file(error: OSError) -> str:
    """Return the reason why a file cannot be used, with the next step where one is known."""
    step = NEXT_STEPS.get(error.errno or 0)
    return f"{error.strerror}; {step}" if step else str(error.strerror)


LISTENING = {
    errno.EADDRINUSE: "stop what listens there, or choose another; --port 0 takes a free one",
    errno.EADDRNOTAVAIL: "name an address of this machine",
    errno.EACCES: "ports below 1024 are for root; choose another with --port",
}


def cannot_listen(host: str, port: int, error: OSError) -> str:
    """Return the reason why the server cannot listen at an address, with the next step where one is known."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    step = LISTENING.get(error.errno or 0)
    return f"cannot listen on {where}: {error.strerror}" + (f"; {step}" if step else "")


def _on_one_line(text: str) -> str:
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class Misconfigured(Exception):
    """A mistake that prevents the start: the setting and the fix, in one line; `others` are more mistakes."""

    exit_code = 2

    def __init__(self, setting: str, problem: str, others: Sequence["Misconfigured"] = ()) -> None:
        self.setting = _on_one_line(setting)
        self.problem = _on_one_line(problem)
        self.others = tuple(others)
        self.lines: list[str] = [f"{self.setting}: {self.problem}"]
        for one in others:
            self.lines += one.lines
        super().__init__("; ".join(self.lines))


def several(problems: Sequence[Misconfigured]) -> Misconfigured:
    """Return one error that lists all `problems`, of which there must be at least one."""
    first, *others = problems
    return Misconfigured(first.setting, first.problem, others) if others else first


class NotReady(Misconfigured):
    """A start that may succeed later without any change: a resource that it needs is unavailable or full."""

    exit_code = 1


PROBLEMS: tuple[type[ReceiverError], ...] = (
    Malformed,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    Gone,
    TooLarge,
    UnsupportedMediaType,
    RangeNotSatisfiable,
    Invalid,
    IdempotencyMismatch,
    TooManyWaiting,
    StoreUnavailable,
    ProviderUnavailable,
    Internal,
)


def pointer_to(*parts: str) -> str:
    """Return a JSON pointer (RFC 6901) to a value inside a body."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def invalid(pointer: str, detail: str, *, place: str = "body") -> Invalid:
    """Return the error for one wrong field, given by its JSON pointer (or name), with the fix as `detail`."""
    name = pointer.rsplit("/", 1)[-1].replace("~1", "/").replace("~0", "~")
    return Invalid(errors=[FieldError(place, pointer, name, detail)])
