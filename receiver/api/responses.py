"""What the API answers: these models make `/openapi.json`, and the tests hold answers against it."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from handlers.contract import FailureCode
from receiver.api.requests import Scope
from receiver.domain.model import By, State, WaitReason

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


def _words(kind: type[StrEnum]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": [one.value for one in kind]})


StateWord = Annotated[State, _words(State)]
ByWord = Annotated[By, _words(By)]
CodeWord = Annotated[FailureCode, _words(FailureCode)]
ReasonWord = Annotated[WaitReason, _words(WaitReason)]


def public_name(model_name: str) -> str:
    """Return the name that the public knows a model by: `JobResponse` is the schema `Job`."""
    # Why: without the suffix, a dozen class names would mean both a domain object and its JSON.
    return model_name.removesuffix("Response")


class ResponseModel(BaseModel):
    """An answer."""

    model_config = ConfigDict(extra="forbid", model_title_generator=lambda model: public_name(model.__name__))


class AssetResponse(ResponseModel):
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


class JobErrorResponse(ResponseModel):
    """Why a job did not succeed."""

    code: CodeWord
    message: str
    provider_code: str | None


class WaitingResponse(ResponseModel):
    """Why an open job does not move, since when, and when it is tried again."""

    reason: ReasonWord
    detail: str
    since: Moment
    until: Moment | None


class JobFields(ResponseModel):
    """A job as answers and events tell it."""

    object: Literal["job"]
    id: str
    provider: str
    operation: str
    state: StateWord
    provider_job_id: str | None
    progress: float | None
    metadata: dict[str, str]
    assets: list[AssetResponse]
    error: JobErrorResponse | None
    usage: dict[str, Any] | None
    waiting: WaitingResponse | None
    completed_by: ByWord | None
    created_at: Moment
    updated_at: Moment
    completed_at: Moment | None
    deadline_at: Moment


class JobResponse(JobFields):
    """A job."""

    result: dict[str, Any] | None


class NewJobResponse(JobResponse):
    """A job just promised; `callback_secret` is shown here only."""

    callback_secret: str | None = None


class WholeJob(JobResponse):
    """A job with its input, long texts cut."""

    input: Any


class EntryResponse(ResponseModel):
    """One thing that happened; the other fields depend on the kind."""

    model_config = ConfigDict(extra="allow")
    at: Moment
    kind: Literal["submission", "callback", "poll", "update", "event", "delivery", "attempt", "note"]


class WhereaboutsResponse(ResponseModel):
    """What became of an event at one endpoint; `endpoint` is null for the job's own callback URL."""

    endpoint: str | None
    delivery: str | None
    status: Literal[
        "delivered",
        "pending",
        "not-subscribed",
        "created-later",
        "filtered",
        "paused",
        "disabled",
        "exhausted",
        "canceled",
    ]
    reason: str | None


class EndpointResponse(ResponseModel):
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


class NewEndpoint(EndpointResponse):
    """An endpoint just made, with its secret."""

    secret: str


class EndpointSecret(ResponseModel):
    """The secret that signs for an endpoint."""

    secret: str


class AttemptResponse(ResponseModel):
    """One HTTP try; `answer` is the first KiB of what came back."""

    object: Literal["attempt"]
    id: str
    delivery: str
    at: Moment
    status: int | None
    latency_ms: float
    error: str | None
    answer: str


class DeliveryResponse(ResponseModel):
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
    last_status: int | None
    last_error: str | None
    created_at: Moment
    updated_at: Moment
    next_attempt_at: Moment | None


class DeliveryWithAttempts(DeliveryResponse):
    """A delivery with its attempts, oldest first."""

    attempts: list[AttemptResponse]


class Key(ResponseModel):
    """An API key, without the key."""

    object: Literal["key"]
    id: str
    name: str
    scopes: list[Scope]
    created_at: Moment
    expires_at: Moment | None


class NewKey(Key):
    """An API key just made: the only time that `key` is shown."""

    key: str


class OperationResponse(ResponseModel):
    """An operation, the kind of its files, and how its end is learned."""

    model_config = ConfigDict(extra="allow")
    name: str
    kind: Literal["video", "image", "audio", "file"] | None
    callback: bool
    poll: bool


class ProviderResponse(ResponseModel):
    """A configured account, what it can do and how it fares."""

    model_config = ConfigDict(extra="allow")
    object: Literal["provider"]
    id: str
    handler: str
    on: bool
    blocked: bool
    blocked_reason: str | None
    default_operation: str
    operations: list[OperationResponse]
    can: dict[str, bool]
    health: dict[str, Any]


class Wellness(ResponseModel):
    """Whether the process lives, or can store."""

    status: Literal["ok"]


class FieldProblem(ResponseModel):
    """One thing wrong with a request."""

    in_: Literal["body", "query", "header", "path"] = Field(alias="in")
    pointer: str
    name: str
    detail: str


class ProblemResponse(ResponseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="allow")
    type: str
    code: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[FieldProblem] | None = None
