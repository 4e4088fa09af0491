"""Response models. They make `/openapi.json`, and the tests validate responses against it."""

from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, WithJsonSchema

from handlers.contract import FailureCode
from receiver.api.requests import Scheme, Scope
from receiver.domain.model import By, Format, State, WaitReason

Choice = TypeVar("Choice")
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


def words_of(kind: type[StrEnum]) -> WithJsonSchema:
    """Return the schema of the words of an enumeration."""
    return WithJsonSchema({"type": "string", "enum": [one.value for one in kind]})


StateWord = Annotated[State, words_of(State)]
ByWord = Annotated[By, words_of(By)]
CodeWord = Annotated[FailureCode, words_of(FailureCode)]
ReasonWord = Annotated[WaitReason, words_of(WaitReason)]


def public_name(model_name: str) -> str:
    """Return the public name of a model: `JobResponse` is the schema `Job`."""
    # Why: without the suffix, a dozen class names would mean both a domain object and its JSON.
    return model_name.removesuffix("Response")


class ResponseModel(BaseModel):
    """A response, or an object in one."""

    # Only the OpenAPI document needs the schemas: a start does not wait for them.
    model_config = ConfigDict(
        extra="forbid",
        model_title_generator=lambda model: public_name(model.__name__),
        defer_build=True,
    )


class ResponseRoot(RootModel[Choice], Generic[Choice]):
    """A response that is one of several models."""

    model_config = ConfigDict(defer_build=True)


class FileResponse(ResponseModel):
    """A file as its provider describes it. `provider_url` is null where it must not be handed on."""

    kind: Literal["video", "image", "audio", "file"]
    provider_url: str | None
    expires_at: Moment | None
    deletes_at: Moment | None
    mime_type: str | None
    width: int | None
    height: int | None
    duration: float | None
    fps: float | None
    has_sound: bool | None


class AssetResponse(FileResponse):
    """A generated file. `url` is a stable link of this service, null once the job's links were revoked.

    `provider_url` is the provider's own link, which cannot be revoked here.
    """

    index: int
    url: str | None


class JobErrorResponse(ResponseModel):
    """The reason why a job did not succeed."""

    code: CodeWord
    message: str
    provider_code: str | None


class WaitingResponse(ResponseModel):
    """The reason why an open job waits. `since` is the start of the wait, `until` the next try."""

    reason: ReasonWord
    detail: str
    since: Moment
    until: Moment | None


class JobFields(ResponseModel):
    """The fields of a job in responses and events."""

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
    """A submitted job. `callback_secret` is shown in this response only."""

    callback_secret: str | None = None


class WholeJob(JobResponse):
    """A job with its input. Long texts in the input are cut."""

    input: Any


class JobTokenResponse(ResponseModel):
    """A token that reads one job and its stream, as Bearer or as `?token=`, until it ends."""

    object: Literal["job_token"]
    job: str
    token: str
    expires_at: Moment


class SourceResponse(ResponseModel):
    """A source of the settings. Its messages are posted to `url` and become events of the type `event`."""

    object: Literal["source"]
    id: str
    url: str
    event: str
    scheme: str
    handler: str | None
    tolerance: int
    challenge: Literal["json", "query", "crc"] | None


class EntryResponse(ResponseModel):
    """An entry of a job's timeline. Its other fields depend on `kind`."""

    model_config = ConfigDict(extra="allow")
    at: Moment
    kind: Literal["submission", "callback", "poll", "update", "event", "delivery", "attempt", "note"]


class WhereaboutsResponse(ResponseModel):
    """The delivery status of an event at one endpoint. `endpoint` is null for the job's own callback URL."""

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
    """An endpoint. The values of its headers are masked."""

    object: Literal["endpoint"]
    id: str
    url: str
    events: list[str]
    description: str
    headers: dict[str, str]
    max_in_flight: int
    include: list[str]
    filter: dict[str, Any] | None
    signatures: list[Scheme]
    retry_schedule: list[float] | None = Field(description="null: the setting `retry_schedule`")
    timeout: float | None = Field(description="null: the setting `delivery_timeout`")
    format: Format
    template: str | None
    rate_limit: float | None = Field(description="deliveries per second; null: no limit")
    previous_secrets_until: list[Moment] = Field(description="when earlier secrets end to sign")
    state: Literal["active", "paused", "disabled"]
    disabled_reason: str | None
    from_file: bool
    created_at: Moment
    updated_at: Moment


class LastAttempt(ResponseModel):
    """The last HTTP request to an endpoint."""

    at: Moment
    status: int | None
    error: str | None


class EndpointWithHealth(EndpointResponse):
    """An endpoint, how it does, and the deliveries that it is owed.

    `failing_since` is the first of its failures since the last success. An open `breaker` sends nothing for a
    while, a half-open one a delivery at a time.
    """

    failing_since: Moment | None
    last_attempt: LastAttempt | None
    owed: int
    oldest_owed_at: Moment | None
    breaker: Literal["closed", "open", "half-open"]


class NewEndpoint(EndpointResponse):
    """A new endpoint with its secret."""

    secret: str


class ExplanationResponse(ResponseModel):
    """The answer whether an endpoint takes an event. `clause` is the JSON pointer of the deciding clause."""

    matches: bool
    because: str
    clause: str | None


class ReplayResponse(ResponseModel):
    """A replay. `total` counts its events, `made` those with a new delivery so far. A dry run has no id."""

    object: Literal["replay"]
    id: str | None
    endpoint: str
    state: Literal["running", "done", "canceled", "dry-run"]
    only: Literal["failed", "missing", "all"]
    since: Moment | None
    until: Moment | None
    events: list[str] | None
    total: int
    made: int
    pending: int
    delivered: int
    failed: int
    canceled: int
    created_at: Moment
    ended_at: Moment | None


class SigningKey(ResponseModel):
    """A public key (RFC 8037) that verifies `v1a`; `public_key` is the same in Standard Webhooks' form."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    alg: Literal["EdDSA"]
    use: Literal["sig"]
    kid: str
    x: str
    public_key: str


class SigningKeys(ResponseModel):
    """The key set (RFC 7517) of this deployment, newest first."""

    keys: list[SigningKey]


class EndpointSecret(ResponseModel):
    """The secret that signs the deliveries to an endpoint."""

    secret: str


class AttemptResponse(ResponseModel):
    """One HTTP request of a delivery. `answer` is the first KiB of the response body."""

    object: Literal["attempt"]
    id: str
    delivery: str
    at: Moment
    status: int | None
    latency_ms: float
    error: str | None
    answer: str


class DeliveryResponse(ResponseModel):
    """One event for one endpoint. A delivery to a job's own callback URL has `url` instead of `endpoint`."""

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
    """An API key, without the key itself."""

    object: Literal["key"]
    id: str
    name: str
    scopes: list[Scope]
    created_at: Moment
    expires_at: Moment | None


class NewKey(Key):
    """A new API key. `key` is shown in this response only."""

    key: str


class OperationResponse(ResponseModel):
    """An operation, the kind of its files, and whether callbacks or polls report its end."""

    model_config = ConfigDict(extra="allow")
    name: str
    kind: Literal["video", "image", "audio", "file"] | None
    callback: bool
    poll: bool


class ProviderResponse(ResponseModel):
    """A configured account with its operations, its capabilities and its health in the last hour."""

    model_config = ConfigDict(extra="allow")
    object: Literal["provider"]
    id: str
    handler: str
    on: bool
    blocked: bool
    blocked_at: Moment | None
    blocked_reason: str | None
    default_operation: str
    example: dict[str, Any] = Field(description="an input of the default operation")
    operations: list[OperationResponse]
    can: dict[str, bool]
    in_flight: int = Field(description="submissions and polls under way, of all replicas")
    health: dict[str, Any]


class Wellness(ResponseModel):
    """The result of a liveness or readiness check."""

    status: Literal["ok"]


class FieldProblem(ResponseModel):
    """One problem of a request: its place, and a sentence about it."""

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
