"""What the service refuses or cannot do: one class per code of the public contract."""

import difflib
import errno
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from handlers.values import immutable

ERRORS = 100
"""Errors of one request that are told; the rest are told once these are mended."""
LONGEST_WORD = 100


@immutable
class FieldError:
    """One thing wrong with a request: where it stands and what would mend it."""

    place: str
    pointer: str
    name: str
    detail: str


class ReceiverError(Exception):
    """An answer other than success; `detail` is for people and holds no secret and no input."""

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
    """The body is no JSON that we read."""

    code = "malformed"
    http_status = 400
    title = "The request cannot be read"
    meaning = (
        "The body is not strict JSON: it must be UTF-8, without duplicate keys, NaN, infinities or lone "
        "surrogates, nested at most 64 deep and with at most 100,000 values. Or the request "
        "itself is not well-formed HTTP."
    )


class Unauthorized(ReceiverError):
    """No valid key."""

    code = "unauthorized"
    http_status = 401
    title = "A valid API key is needed"
    meaning = (
        "Send the header `Authorization: Bearer rb_...` with an API key that exists, has not expired and was "
        "not revoked."
    )


class UnknownCallback(Unauthorized):
    """A callback that we did not ask for: no hint why."""

    title = "This callback is not one of ours"
    meaning = (
        "The URL is not one that this service gave out, or the proof that belongs to it is missing or wrong."
    )


class Forbidden(ReceiverError):
    """The key lacks the scope."""

    code = "forbidden"
    http_status = 403
    title = "This API key may not do that"
    meaning = "The key lacks the scope that the call needs; `detail` names it. Use a key that has it."


class NotFound(ReceiverError):
    """Nothing there."""

    code = "not-found"
    http_status = 404
    title = "Not found"
    meaning = "There is no such path, or nothing with this id; retention may have removed it."


class MethodNotAllowed(ReceiverError):
    """The path exists, the method does not."""

    code = "method-not-allowed"
    http_status = 405
    title = "This path does not take that method"
    meaning = "The header `Allow` lists the methods that it takes."


class Conflict(ReceiverError):
    """The thing is not in a state in which this can be done."""

    code = "conflict"
    http_status = 409
    title = "This cannot be done in the present state"
    meaning = "`detail` names the state and what would be possible instead."


class Gone(ReceiverError):
    """It was there once."""

    code = "gone"
    http_status = 410
    title = "This is no longer here"
    meaning = "The link has ended, the provider deleted the file, or retention removed the place in the feed."


class TooLarge(ReceiverError):
    """The body is over the limit."""

    code = "too-large"
    http_status = 413
    title = "The body is too large"
    meaning = (
        "POST /v1/jobs takes 32 MiB, of which 4 MiB may lie outside of texts of more than 32 KiB; callbacks "
        "take 1 MiB, all else 256 KiB."
    )


class UnsupportedMediaType(ReceiverError):
    """The body comes in a form that we do not read."""

    code = "unsupported-media-type"
    http_status = 415
    title = "The media type of the body is not supported"
    meaning = "Send `Content-Type: application/json` and no `Content-Encoding`."


TOLD = 5
"""How many wrong fields the sentence of a refusal names; `errors` has all of them."""


class Invalid(ReceiverError):
    """The request is readable and wrong."""

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
    """The same key with another body."""

    code = "idempotency-mismatch"
    http_status = 422
    title = "This Idempotency-Key was used with another body"
    meaning = "Use a new key for a new job; the same key and the same body give the same job."


class Contended(Exception):
    """Another transaction was in the way; the same one may succeed when it runs again. The cause is told.

    `passes` tells that it surely will once the others are done: no row that is there stands against it.
    """

    def __init__(self, *, passes: bool = False) -> None:
        super().__init__()
        self.passes = passes


class StoreUnavailable(ReceiverError):
    """We cannot store now."""

    code = "unavailable"
    http_status = 503
    title = "We cannot store this now"
    meaning = "The database does not take writes or the service is stopping. Try again after `Retry-After`."

    def __init__(self, detail: str = "", *, retry_after: int = 2) -> None:
        super().__init__(detail, headers=(("retry-after", str(retry_after)),))


class ProviderUnavailable(ReceiverError):
    """The provider does not answer now."""

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
    """A key waits more often at once than one may."""

    code = "too-many-requests"
    http_status = 429
    title = "This API key waits too often at once"
    meaning = "A key may have 4,096 calls with `wait` open. End some, or ask without `wait`."

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, headers=(("retry-after", "1"),))


class Internal(ReceiverError):
    """A fault of ours."""

    code = "internal"
    http_status = 500
    title = "This failed unexpectedly"
    meaning = "A fault in the service. Its log has the details under the `request_id` of the answer."


LISTS = {
    "job": "/v1/jobs",
    "event": "/v1/events",
    "endpoint": "/v1/endpoints",
    "delivery": "/v1/deliveries",
    "key": "/v1/keys",
}


def no_such(kind: str) -> NotFound:
    """Return the refusal of an id that names nothing, with the call that lists those that do."""
    return NotFound(f"no such {kind}; GET {LISTS[kind]} lists those that are there")


def nearest(name: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """Return the known word that `name` was probably meant to be; None when none is near."""
    return next(iter(difflib.get_close_matches(name[:LONGEST_WORD], known, n=1, cutoff=likeness)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that suggests the nearest known word; empty when none is near."""
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
    """Return the sentence for a file that is not there, with the next step."""
    return f"there is no file {path}; {NEXT_STEPS[errno.ENOENT]}"


def no_file(error: OSError) -> str:
    """Return why a file cannot be used, and the next step where one is known."""
    step = NEXT_STEPS.get(error.errno or 0)
    return f"{error.strerror}; {step}" if step else str(error.strerror)


LISTENING = {
    errno.EADDRINUSE: "stop what listens there, or choose another; --port 0 takes a free one",
    errno.EADDRNOTAVAIL: "name an address of this machine",
    errno.EACCES: "ports below 1024 are for root; choose another with --port",
}


def cannot_listen(host: str, port: int, error: OSError) -> str:
    """Return why nothing can listen at an address, and the next step where one is known."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    step = LISTENING.get(error.errno or 0)
    return f"cannot listen on {where}: {error.strerror}" + (f"; {step}" if step else "")


def _on_one_line(text: str) -> str:
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class Misconfigured(Exception):
    """The service cannot start: the setting at fault and the fix, in one line; `others` are wrong too."""

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
    """One refusal that tells all `problems`, at least one."""
    first, *others = problems
    return Misconfigured(first.setting, first.problem, others) if others else first


class NotReady(Misconfigured):
    """The service cannot start now, and may later with nothing changed: what it needs is away or full."""

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
    Invalid,
    IdempotencyMismatch,
    TooManyWaiting,
    StoreUnavailable,
    ProviderUnavailable,
    Internal,
)


def invalid(pointer: str, detail: str, *, place: str = "body") -> Invalid:
    """One field is wrong: its JSON pointer (or name) and the fix."""
    name = pointer.rsplit("/", 1)[-1]
    return Invalid(errors=[FieldError(place, pointer, name, detail)])
