"""What goes in and out of the API: the models that check requests also make `/openapi.json`."""

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
)

from receiver.filters import JOB_FINAL, TYPES, is_pattern
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


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not hold the character NUL")
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


def _only_text(value: object) -> object:
    if not isinstance(value, str) or value.strip().lstrip("-").isdigit():
        raise ValueError("must be an RFC 3339 moment with its offset, for example 2026-11-21T10:00:00Z")
    return value


When = Annotated[AwareDatetime, Field(strict=False), AfterValidator(_utc), BeforeValidator(_only_text)]
Text = Annotated[str, AfterValidator(_no_nul)]
Short = Annotated[str, StringConstraints(max_length=500), AfterValidator(_no_nul)]
Pattern = Annotated[str, StringConstraints(max_length=100), AfterValidator(_pattern)]
Secret = Annotated[str, StringConstraints(max_length=200), AfterValidator(_secret)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
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
    resubmit: Literal[True] | None = None
    fail: Literal[True] | None = None


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

    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, min_length=1, max_length=200)


class Waiting(Query):
    """How long the answer may wait for the job to be final."""

    wait: float = Field(default=0, ge=0, le=60, allow_inf_nan=False)


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
    wait: float = Field(default=0, ge=0, le=60, allow_inf_nan=False)


class Told(BaseModel):
    """An answer."""

    model_config = ConfigDict(extra="forbid")


class Asset(Told):
    """A generated file; `url` is our own stable link."""

    index: int
    kind: Literal["video", "image", "audio", "file"]
    url: str
    provider_url: str | None
    expires_at: Moment | None
    deletes_at: Moment | None
    mime_type: str | None
    width: int | None
    height: int | None
    duration: float | None
    fps: float | None
    has_sound: bool | None


class JobError(Told):
    """Why a job did not succeed."""

    code: str
    message: str
    provider_code: str | None


class Job(Told):
    """A job."""

    object: Literal["job"]
    id: str
    provider: str
    operation: str
    state: str
    provider_job_id: str | None
    progress: float | None
    metadata: dict[str, str]
    assets: list[Asset]
    result: dict[str, Any] | None
    error: JobError | None
    usage: dict[str, Any] | None
    completed_by: str | None
    created_at: Moment
    updated_at: Moment
    completed_at: Moment | None
    deadline_at: Moment


class NewJob(Job):
    """A job just promised; `callback_secret` is shown here only."""

    callback_secret: str | None = None


class WholeJob(Job):
    """A job with its input, long texts cut."""

    input: Any


class Entry(BaseModel):
    """One thing that happened; the other fields depend on the kind."""

    model_config = ConfigDict(extra="allow")
    at: Moment
    kind: Literal["submission", "callback", "poll", "update", "event", "delivery", "attempt", "note"]


class Event(Told):
    """An event of the feed."""

    object: Literal["event"]
    id: str
    type: Literal[TYPES]  # type: ignore[valid-type]  # the table of types is the one place that lists them
    timestamp: Moment
    data: dict[str, Any]


class Whereabouts(Told):
    """What became of an event at one endpoint; `endpoint` is null for the job's own callback URL."""

    endpoint: str | None
    delivery: str | None
    status: Literal[
        "delivered", "pending", "not-subscribed", "filtered", "paused", "disabled", "exhausted", "canceled"
    ]


class EventWithReasons(Event):
    """An event with, for every endpoint, why it went or did not."""

    deliveries: list[Whereabouts]


class Endpoint(Told):
    """An endpoint; header values are masked."""

    object: Literal["endpoint"]
    id: str
    url: str
    events: list[str]
    description: str
    headers: dict[str, str]
    max_in_flight: int
    include: list[str]
    state: Literal["active", "paused", "disabled"]
    disabled_reason: str | None
    from_file: bool
    created_at: Moment
    updated_at: Moment


class NewEndpoint(Endpoint):
    """An endpoint just made, with its secret."""

    secret: str


class EndpointSecret(Told):
    """The secret that signs for an endpoint."""

    secret: str


class Attempt(Told):
    """One HTTP try; `answer` is the first KiB of what came back."""

    object: Literal["attempt"]
    id: str
    delivery: str
    at: Moment
    status: int | None
    latency_ms: float
    error: str | None
    answer: str


class Delivery(Told):
    """One event owed to one endpoint; `url` where it is a job's own callback URL."""

    object: Literal["delivery"]
    id: str
    event: str
    type: str
    endpoint: str | None
    url: str | None
    job: str | None
    state: Literal["pending", "delivered", "exhausted", "canceled"]
    attempts_made: int
    reason: str | None
    created_at: Moment
    updated_at: Moment
    next_attempt_at: Moment | None


class DeliveryWithAttempts(Delivery):
    """A delivery with its attempts, oldest first."""

    attempts: list[Attempt]


class Key(Told):
    """An API key, without the key."""

    object: Literal["key"]
    id: str
    name: str
    scopes: list[str]
    created_at: Moment
    expires_at: Moment | None


class NewKey(Key):
    """An API key just made: the only time that `key` is shown."""

    key: str


class Provider(BaseModel):
    """A configured account, what it can do and how it fares."""

    model_config = ConfigDict(extra="allow")
    object: Literal["provider"]
    id: str
    handler: str
    on: bool
    blocked: bool
    operations: list[dict[str, Any]]
    can: dict[str, bool]
    health: dict[str, Any]


class Wellness(Told):
    """Whether the process lives, or can store."""

    status: Literal["ok"]


class FieldProblem(Told):
    """One thing wrong with a request."""

    in_: Literal["body", "query", "header", "path"] = Field(alias="in")
    pointer: str
    name: str
    detail: str


class Problem(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="allow")
    type: str
    code: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[FieldProblem] | None = None
