"""Request models. They validate requests and make `/openapi.json`."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from operator import methodcaller
from typing import Annotated, Any, ClassVar, Literal, get_args

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

from handlers.text import clean, unfit
from receiver.domain.event_types import JOB_FINAL, SHOWN, SOURCE, TYPES, complaint, is_pattern, nearest_type
from receiver.domain.model import LONGEST_TIMEOUT, MAX_IN_FLIGHT, STANDARD, SYMMETRIC, Format
from receiver.security.signing import BadSecret, key_of

Scope = Literal[
    "jobs:read", "jobs:write", "events:read", "endpoints:read", "endpoints:write", "metrics:read", "admin"
]
SCOPES: tuple[str, ...] = get_args(Scope)
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


def _plain(text: str) -> str:
    if (found := unfit(text)) is not None:
        raise ValueError(f"must not hold control or format characters; it holds U+{ord(found):04X}")
    return text


def _label(text: str) -> str:
    """Return a note without unfit characters. Nothing is compared with it, so it need not be refused."""
    return clean(text, len(text)).replace("\t", " ").replace("\n", " ").strip()


def _pattern(text: str) -> str:
    if not is_pattern(text):
        raise ValueError(complaint(text))
    return text


def _event_type(text: str) -> str:
    if text not in TYPES and not (SOURCE.fullmatch(text) and text.endswith(".received")):
        near = nearest_type(text)
        meant = f" (did you mean `{near}`?)" if near else ""
        raise ValueError(f"must be an event type{meant}; types: {', '.join(SHOWN)}")
    return text


def _once(words: list[str]) -> list[str]:
    if len(set(words)) != len(words):
        raise ValueError("must name each once")
    return words


def _secret(text: str) -> str:
    try:
        key_of(text)
    except BadSecret as error:
        raise ValueError(f"{error}; leave it out to have one made") from None
    return text


def _utc(moment: datetime) -> datetime:
    try:
        # `astimezone` overflows near the first and the last year.
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
    # pydantic also accepts signs, blanks, underscores and `1.0` as whole numbers.
    if not isinstance(value, str) or not (value.isascii() and value.isdigit()):
        raise ValueError("must be a whole number")
    return value


def _no_underscore(given: object) -> object:
    # pydantic accepts underscores between digits.
    if isinstance(given, str) and "_" in given:
        raise ValueError("must be a number of seconds")
    return given


Yes = Annotated[bool, AfterValidator(_only_true), WithJsonSchema({"const": True})]
Count = Annotated[int, BeforeValidator(_digits)]
Seconds = Annotated[float, BeforeValidator(_no_underscore)]
# Not strict: strict validation refuses text. `_rfc3339` checks the text before pydantic converts it.
When = Annotated[AwareDatetime, Field(strict=False), AfterValidator(_utc), BeforeValidator(_rfc3339)]
Text = Annotated[str, AfterValidator(_plain)]
Label = Annotated[str, AfterValidator(_label)]
Short = Annotated[str, StringConstraints(max_length=500), AfterValidator(_plain)]
Pattern = Annotated[str, StringConstraints(max_length=100), AfterValidator(_pattern)]
Secret = Annotated[str, StringConstraints(max_length=200), AfterValidator(_secret)]
Scheme = Literal["v1", "v1a"]
Schemes = Annotated[list[Scheme], Field(min_length=1, max_length=2), AfterValidator(_once)]
Schedule = Annotated[list[Annotated[float, Field(gt=0, le=604800)]], Field(max_length=20)]
Rate = Annotated[float, Field(ge=0.001, le=10000)]
Template = Annotated[str, StringConstraints(min_length=1, max_length=16384)]
Timeout = Annotated[float, Field(ge=1, le=LONGEST_TIMEOUT)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
Metadata = Annotated[dict[Short, Short], Field(max_length=16)]
MOST_HEADERS = 50
Headers = Annotated[dict[str, str], Field(max_length=MOST_HEADERS)]


class RequestModel(BaseModel):
    """A request body with strict types and no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)
    elsewhere: ClassVar[Mapping[str, str]] = {}
    """The way to change each field that callers look for and that this request does not have."""


class JobRequest(RequestModel):
    """A job to submit."""

    provider: Text = Field(description="the name of a configured account", examples=["apiframe"])
    operation: Text | None = Field(
        default=None, description="what to make, see GET /v1/providers; default: the account's first"
    )
    input: dict[str, Any] = Field(description="the provider's own request body")
    metadata: Metadata = Field(
        default_factory=dict, description="up to 16 pairs of strings, returned in every event"
    )
    callback_url: Url | None = Field(default=None, description="the job's terminal event goes there too")
    callback_secret: Secret | None = Field(default=None, description="signs it; made when missing")
    deadline_seconds: int | None = Field(
        default=None, ge=1, le=604800, description="after which the job expires; default: `job_deadline`"
    )


def _no_place(text: str) -> str:
    """Return a text. Raises `ValueError` for `.` and `..`, which name another place as a part of a path."""
    if text in {".", ".."}:
        raise ValueError("must be the provider's id, and `.` and `..` are none")
    return text


TheirId = Annotated[Text, StringConstraints(min_length=1, max_length=500), AfterValidator(_no_place)]


class Resolution(RequestModel):
    """A decision about an unconfirmed job. Give exactly one of the fields."""

    provider_job_id: TheirId | None = Field(default=None, description="the provider has it, under this id")
    resubmit: Yes | None = Field(default=None, description="the provider does not have it: submit it again")
    fail: Yes | None = Field(default=None, description="give it up")


class EndpointRequest(RequestModel):
    """An endpoint to create."""

    url: Url = Field(description="where events are posted")
    events: Annotated[list[Pattern], Field(min_length=1, max_length=50)] = Field(
        default=list(JOB_FINAL), description="event types, `*`, or prefixes such as `job.*`"
    )
    description: Short = Field(default="", description="a note for people")
    headers: Headers = Field(default_factory=dict, description="headers sent along; masked in answers")
    secret: Secret | None = Field(default=None, description="`whsec_...`, signs; made when missing")
    max_in_flight: int = Field(default=MAX_IN_FLIGHT, ge=1, le=1000, description="deliveries at once")
    include: Annotated[list[Literal["result"]], Field(max_length=1)] = Field(
        default_factory=list, description="`result` puts the provider's terminal body into events"
    )
    filter: dict[str, Any] | None = Field(
        default=None,
        description='conditions on the event\'s data, such as `{"metadata.order": {"$in": ["42"]}}`',
    )
    signatures: Schemes = Field(
        default=[SYMMETRIC], description="`v1`: HMAC with the secret; `v1a`: Ed25519, see GET /.well-known"
    )
    retry_schedule: Schedule | None = Field(
        default=None, description="seconds between attempts; default: the setting"
    )
    timeout: Timeout | None = Field(default=None, description="seconds for an attempt; default: the setting")
    rate_limit: Rate | None = Field(default=None, description="deliveries per second; default: no limit")
    format: Format = Field(default=STANDARD, description="how its deliveries are written")
    template: Template | None = Field(
        default=None, description="JSON with placeholders such as `{/data/id}`, for the format `template`"
    )
    state: Literal["active", "paused"] = Field(
        default="active", description="the deliveries of a paused endpoint wait until it is resumed"
    )
    handshake: bool = Field(
        default=False, description="ask the receiver first, by OPTIONS as CloudEvents do; its rate is kept"
    )


class EndpointPatch(RequestModel):
    """A change of an endpoint as JSON merge patch (RFC 7396). A null resets a field or removes a header.

    A filter is replaced as a whole: in it, a null is a value to compare with.
    """

    elsewhere = {"state": "POST to its /pause or /resume", "secret": "POST to its /rotate-secret"}

    # Not nullable: a URL has no default. The one here only makes the field optional.
    url: Url = Field(default="", json_schema_extra=methodcaller("pop", "default"))
    events: Annotated[list[Pattern], Field(min_length=1, max_length=50)] | None = None
    description: Short | None = None
    headers: Annotated[dict[str, str | None], Field(max_length=MOST_HEADERS)] | None = None
    max_in_flight: Annotated[int, Field(ge=1, le=1000)] | None = None
    include: Annotated[list[Literal["result"]], Field(max_length=1)] | None = None
    filter: dict[str, Any] | None = None
    signatures: Schemes | None = None
    retry_schedule: Schedule | None = None
    timeout: Timeout | None = None
    rate_limit: Rate | None = None
    format: Format | None = None
    template: Template | None = None
    handshake: bool | None = None


class RotationRequest(RequestModel):
    """A new secret for an endpoint. The present one signs as well for a while."""

    overlap_seconds: Annotated[int, Field(ge=0, le=604800)] = Field(
        default=86400, description="how long the present secret signs too; 0: no longer"
    )
    secret: Secret | None = Field(default=None, description="`whsec_...`; made when missing")


class ReplayRequest(RequestModel):
    """Events to deliver again. A moment is RFC 3339 with its offset."""

    since: When | None = Field(default=None, description="from when; default: the first event that is kept")
    until: When | None = Field(default=None, description="before when; default: now")
    events: Annotated[list[Pattern], Field(min_length=1, max_length=50)] | None = Field(
        default=None, description="only these types; default: those of the endpoint"
    )
    only: Literal["failed", "missing", "all"] = Field(
        default="failed",
        description="`failed`: no delivery succeeded; `missing`: there is none; `all`: every event",
    )
    dry_run: bool = Field(default=False, description="only count them")


class ExplanationRequest(RequestModel):
    """An event to explain: the id of one in the feed, or a type with data."""

    event: Text | None = Field(default=None, description="an event's id")
    type: Annotated[str, AfterValidator(_event_type)] | None = Field(
        default=None, description="an event type"
    )
    data: dict[str, Any] | None = Field(default=None, description="an event's data")


class KeyRequest(RequestModel):
    """An API key to create."""

    name: Annotated[Label, StringConstraints(min_length=1, max_length=100)] = Field(
        description="a note for people; control and format characters in it are left out"
    )
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=7)] = Field(description="what it allows")
    expires_at: When | None = Field(default=None, description="when it ends; default: never")


class QueryModel(BaseModel):
    """Query parameters as text, without unknown names."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class PageQuery(QueryModel):
    """A page of a list."""

    limit: Count = Field(default=50, ge=1, le=200, description="how many")
    cursor: str | None = Field(
        default=None, min_length=1, max_length=200, description="the `next_cursor` of the page before"
    )


class WaitQuery(QueryModel):
    """The time for which the response may wait for the job to be final."""

    wait: Seconds = Field(
        default=0, ge=0, le=60, allow_inf_nan=False, description="seconds to wait until the job is final"
    )


class TokenQuery(QueryModel):
    """The job token of a request, where it is not sent as a header."""

    token: str | None = Field(default=None, max_length=300, description="a job token, in place of the header")


class JobReadQuery(WaitQuery, TokenQuery):
    """The time to wait for a job to be final, and the job token."""


class TokenRequest(RequestModel):
    """The life of a job token."""

    seconds: Annotated[int, Field(ge=1, le=86_400)] = Field(
        default=900, description="how long the token reads the job"
    )


class StreamQuery(QueryModel):
    """A place in the event feed at which a stream begins, and a filter."""

    after: str | None = Field(
        default=None,
        max_length=200,
        description="an event's id, a `next_cursor`, or a moment (RFC 3339); default: now",
    )
    type: str | None = Field(default=None, max_length=100, description="an event type or pattern")
    every: Seconds = Field(
        default=0,
        ge=0,
        le=10,
        allow_inf_nan=False,
        description="seconds between two pieces at least: events gather",
    )


class AssetQuery(QueryModel):
    """The parameter of an asset link; others are ignored, since other programs add theirs to links."""

    download: str | None = Field(
        default=None, description="`1` passes the file on through the service, ranges included"
    )


class JobQuery(PageQuery):
    """Filters for the list of jobs. `metadata.<key>` is a filter, too."""

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
    ) = Field(default=None, description="only jobs in this state")
    provider: str | None = Field(default=None, description="only jobs of this account")
    provider_job_id: str | None = Field(default=None, description="the job that the provider calls so")
    created_after: When | None = Field(default=None, description="RFC 3339 with an offset")
    created_before: When | None = Field(default=None, description="RFC 3339 with an offset")


class ReplayQuery(PageQuery):
    """A filter for the list of replays."""

    endpoint: str | None = Field(default=None, description="only of this endpoint")


class DeliveryQuery(PageQuery):
    """Filters for the list of deliveries."""

    endpoint: str | None = Field(default=None, description="only to this endpoint")
    state: Literal["pending", "delivered", "exhausted", "canceled"] | None = Field(
        default=None, description="only those in this state"
    )
    event: str | None = Field(default=None, description="only of this event")
    job: str | None = Field(default=None, description="only of events of this job")


class FeedQuery(PageQuery):
    """A place in the event feed, filters, and the time to wait for an event."""

    after: str | None = Field(
        default=None,
        max_length=200,
        description="an event's id, a `next_cursor`, or a moment (RFC 3339); default: the first event",
    )
    type: str | None = Field(default=None, max_length=100, description="an event type or pattern")
    job: str | None = Field(default=None, max_length=100, description="only events of this job")
    wait: Seconds = Field(
        default=0, ge=0, le=60, allow_inf_nan=False, description="seconds to wait for the next event"
    )
