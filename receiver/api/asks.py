"""What the API is asked: the models that check requests also make `/openapi.json`."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from handlers.text import unfit
from receiver.filters import JOB_FINAL, is_pattern
from receiver.signing import BadSecret, key_of

SCOPES = (
    "jobs:read",
    "jobs:write",
    "events:read",
    "endpoints:read",
    "endpoints:write",
    "metrics:read",
    "admin",
)
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


def _plain(text: str) -> str:
    found = unfit(text)
    if found is not None:
        raise ValueError(f"must not hold control or format characters; it holds U+{ord(found):04X}")
    return text


def _pattern(text: str) -> str:
    if not is_pattern(text):
        raise ValueError("must be an event type, `*`, or a prefix such as `job.*`")
    return text


def _secret(text: str) -> str:
    try:
        key_of(text)
    except BadSecret as error:
        raise ValueError(str(error)) from None
    return text


def _utc(moment: datetime) -> datetime:
    try:
        inside = 1970 <= moment.astimezone(UTC).year < 9000
    except OverflowError:
        inside = False
    if not inside:
        raise ValueError("must lie between the years 1970 and 9000")
    return moment.astimezone(UTC)


def _rfc3339(value: object) -> object:
    if not isinstance(value, str) or RFC_3339.fullmatch(value) is None:
        raise ValueError("must be an RFC 3339 moment with its offset, for example 2026-11-21T10:00:00Z")
    return value


def _only_true(value: bool) -> bool:
    if not value:
        raise ValueError("must be true, or be left out")
    return value


def _digits(value: object) -> object:
    if not isinstance(value, str) or not (value.isascii() and value.isdigit()):
        raise ValueError("must be a whole number")
    return value


def _no_underscore(given: object) -> object:
    if isinstance(given, str) and "_" in given:
        raise ValueError("must be a number of seconds")
    return given


Yes = Annotated[bool, AfterValidator(_only_true), WithJsonSchema({"const": True})]
Count = Annotated[int, BeforeValidator(_digits)]
Seconds = Annotated[float, BeforeValidator(_no_underscore)]
When = Annotated[AwareDatetime, Field(strict=False), AfterValidator(_utc), BeforeValidator(_rfc3339)]
Text = Annotated[str, AfterValidator(_plain)]
Short = Annotated[str, StringConstraints(max_length=500), AfterValidator(_plain)]
Pattern = Annotated[str, StringConstraints(max_length=100), AfterValidator(_pattern)]
Secret = Annotated[str, StringConstraints(max_length=200), AfterValidator(_secret)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
Metadata = Annotated[dict[Short, Short], Field(max_length=16)]
Headers = Annotated[dict[str, str], Field(max_length=50)]


class Asked(BaseModel):
    """A request: strict types, no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class JobRequest(Asked):
    """A job to do."""

    provider: Text = Field(description="the name of a configured account", examples=["apiframe"])
    operation: Text | None = Field(default=None, description="what to make; default: the handler's first")
    input: dict[str, Any] = Field(description="the provider's own request body")
    metadata: Metadata = Field(default_factory=dict, description="returned in every event")
    callback_url: Url | None = Field(default=None, description="the job's terminal event goes there too")
    callback_secret: Secret | None = Field(default=None, description="signs it; made when missing")
    deadline_seconds: int | None = Field(default=None, ge=1, le=604800)


class Resolution(Asked):
    """The fate of an unconfirmed job: exactly one of these."""

    provider_job_id: Annotated[Text, StringConstraints(min_length=1, max_length=500)] | None = None
    resubmit: Yes | None = None
    fail: Yes | None = None


class EndpointRequest(Asked):
    """An endpoint to make."""

    url: Url
    events: Annotated[list[Pattern], Field(min_length=1, max_length=50)] = Field(default=list(JOB_FINAL))
    description: Short = ""
    headers: Headers = Field(default_factory=dict)
    secret: Secret | None = None
    max_in_flight: int = Field(default=64, ge=1, le=1000)
    include: Annotated[list[Literal["result"]], Field(max_length=1)] = Field(default_factory=list)


class EndpointPatch(Asked):
    """A change of an endpoint (RFC 7396): null takes a field, or a header, back to its default."""

    url: Url = ""
    events: Annotated[list[Pattern], Field(min_length=1, max_length=50)] | None = None
    description: Short | None = None
    headers: Annotated[dict[str, str | None], Field(max_length=50)] | None = None
    max_in_flight: Annotated[int, Field(ge=1, le=1000)] | None = None
    include: Annotated[list[Literal["result"]], Field(max_length=1)] | None = None


class KeyRequest(Asked):
    """An API key to make."""

    name: Annotated[Text, StringConstraints(min_length=1, max_length=100)]
    scopes: Annotated[
        list[
            Literal[
                "jobs:read",
                "jobs:write",
                "events:read",
                "endpoints:read",
                "endpoints:write",
                "metrics:read",
                "admin",
            ]
        ],
        Field(min_length=1, max_length=7),
    ]
    expires_at: When | None = None


class Query(BaseModel):
    """Query parameters: text, no unknown names."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Paged(Query):
    """A piece of a list."""

    limit: Count = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, min_length=1, max_length=200)


class Waiting(Query):
    """How long the answer may wait for the job to be final."""

    wait: Seconds = Field(default=0, ge=0, le=60, allow_inf_nan=False)


class JobSearch(Paged):
    """Which jobs to list; `metadata.<key>` is taken too."""

    state: (
        Literal[
            "pending",
            "submitting",
            "unconfirmed",
            "queued",
            "running",
            "succeeded",
            "failed",
            "canceled",
            "expired",
        ]
        | None
    ) = None
    provider: str | None = None
    provider_job_id: str | None = None
    created_after: When | None = None
    created_before: When | None = None


class DeliverySearch(Paged):
    """Which deliveries to list."""

    endpoint: str | None = None
    state: Literal["pending", "delivered", "exhausted", "canceled"] | None = None
    event: str | None = None
    job: str | None = None


class FeedQuery(Paged):
    """Where in the feed to go on, and what to leave out."""

    after: str | None = Field(default=None, max_length=200, description="an event's id, or a `next_cursor`")
    type: str | None = Field(default=None, max_length=100, description="an event type or pattern")
    job: str | None = Field(default=None, max_length=100)
    wait: Seconds = Field(default=0, ge=0, le=60, allow_inf_nan=False)
