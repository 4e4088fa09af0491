"""Errors of the client: one base, a subclass for each error code of the service, and the client's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ringback.values import Job


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One wrong field of a request: the part of the request, the place in it, and a sentence about it."""

    part: str
    pointer: str
    name: str
    detail: str


class RingbackError(Exception):
    """The base of all errors of the client."""

    code = ""

    def __init__(
        self,
        detail: str,
        *,
        code: str = "",
        status: int | None = None,
        errors: Sequence[FieldProblem] = (),
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        # A code that only a newer service has is kept, although no class has it.
        self.code = code or type(self).code
        self.status = status
        self.errors = tuple(errors)
        self.request_id = request_id

    def __str__(self) -> str:
        """Return the code and the detail, and the id under which the service logged the request."""
        known = f"{self.code}: {self.detail}" if self.code else self.detail
        return f"{known} (request {self.request_id})" if self.request_id else known


class ConfigurationError(RingbackError, ValueError):
    """A URL, key, secret or argument that the client cannot use."""

    code = "configuration"


class Unreachable(RingbackError):
    """A call without an answer. With `sent` the service may have carried it out."""

    code = "unreachable"

    def __init__(self, detail: str, *, sent: bool = True) -> None:
        super().__init__(detail)
        self.sent = sent


class WaitTimeout(RingbackError, TimeoutError):
    """The end of the time for which a wait was allowed. The job goes on; `job` is the one last seen."""

    code = "wait-timeout"

    def __init__(self, detail: str, *, job: "Job | None" = None) -> None:
        super().__init__(detail)
        self.job = job


class VerificationError(RingbackError):
    """A delivery that is not proved to come from Ringback: answer it with a 4xx status."""

    code = "verification"


class ServiceError(RingbackError):
    """An error that the service answered with."""


class UnexpectedAnswer(ServiceError):
    """An answer that is not Ringback's: a proxy's page, a redirect, another service."""

    code = "unexpected-answer"


class Malformed(ServiceError):
    """A body that is no JSON."""

    code = "malformed"


class Invalid(ServiceError):
    """A request with wrong fields, which `errors` lists."""

    code = "validation"


class IdempotencyMismatch(ServiceError):
    """An idempotency key that was used before with another body."""

    code = "idempotency-mismatch"


class Unauthorized(ServiceError):
    """A missing, unknown or expired API key."""

    code = "unauthorized"


class Forbidden(ServiceError):
    """An API key without the scope that the call needs."""

    code = "forbidden"


class NotFound(ServiceError):
    """An id that does not exist, or that retention removed."""

    code = "not-found"


class MethodNotAllowed(ServiceError):
    """A call that this version of the service does not have."""

    code = "method-not-allowed"


class Conflict(ServiceError):
    """A call that the present state of its object does not allow."""

    code = "conflict"


class Gone(ServiceError):
    """Something that existed once."""

    code = "gone"


class PlaceLost(Gone):
    """A place in the feed that retention removed. `oldest` is the id of the oldest event that is kept."""

    def __init__(self, detail: str, *, oldest: str | None = None, **known: Any) -> None:
        super().__init__(detail, **known)
        self.oldest = oldest


class TooLarge(ServiceError):
    """A body over the limit."""

    code = "too-large"


class UnsupportedMediaType(ServiceError):
    """A body in a form that the service does not read."""

    code = "unsupported-media-type"


class RangeNotSatisfiable(ServiceError):
    """A part of a file that the file does not have."""

    code = "range-not-satisfiable"


class TooManyRequests(ServiceError):
    """An API key with too many calls at once."""

    code = "too-many-requests"


class Unavailable(ServiceError):
    """A service that cannot store now, or is stopping. Nothing was carried out."""

    code = "unavailable"


class ProviderUnavailable(ServiceError):
    """A provider that cannot be reached now."""

    code = "provider-unavailable"


class InternalError(ServiceError):
    """A fault of the service, which logged it under `request_id`."""

    code = "internal"


BY_CODE: Mapping[str, type[ServiceError]] = {kind.code: kind for kind in ServiceError.__subclasses__()}
"""The class of each error code of the service."""
