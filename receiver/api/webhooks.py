"""Webhooks: a model for each kind of event, as it is delivered, listed and explained."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from handlers.contract import Phase
from receiver.api.responses import (
    FileResponse,
    JobErrorResponse,
    JobFields,
    Moment,
    ResponseModel,
    ResponseRoot,
    WhereaboutsResponse,
    words_of,
)

PhaseWord = Annotated[Phase, words_of(Phase)]
SourceType = Annotated[str, Field(pattern=r"^source\.[a-z0-9_]{1,40}\.received$")]


class JobData(JobFields):
    """A job at the time of the event. `sequence` grows with each event of the job."""

    sequence: int
    result: dict[str, Any] | None = Field(
        default=None, description='only for endpoints with `include: ["result"]`'
    )


class ProviderData(ResponseModel):
    """An account that its provider refuses, or accepts again."""

    object: Literal["provider"]
    id: str
    handler: str
    blocked: bool
    reason: str | None = Field(description="why it is blocked; null once it works again")
    at: Moment
    sequence: int


class DisabledData(ResponseModel):
    """An endpoint that was disabled, with the reason."""

    object: Literal["endpoint"]
    id: str
    url: str
    state: Literal["disabled"]
    disabled_reason: str
    disabled_at: Moment
    sequence: int


class FailingData(ResponseModel):
    """An endpoint that does nothing but fail, and the moment at which it is disabled unless it takes one."""

    object: Literal["endpoint"]
    id: str
    url: str
    state: Literal["active", "paused"]
    failing_since: Moment
    disable_at: Moment
    last_status: int | None
    last_error: str | None
    sequence: int


class TrialData(ResponseModel):
    """The endpoint that is tested."""

    object: Literal["endpoint"]
    id: str
    url: str
    at: Moment
    sequence: int


class MessageUpdate(ResponseModel):
    """A message about a job as the handler of its source reads it."""

    provider_job_id: str | None
    phase: PhaseWord
    progress: float | None
    assets: list[FileResponse]
    error: JobErrorResponse | None
    usage: dict[str, Any] | None


class SourceData(ResponseModel):
    """A message of a source. It has `body` where that is JSON, and else `body_base64`."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"oneOf": [{"required": ["body"]}, {"required": ["body_base64"]}]}
    )

    object: Literal["message"]
    id: str
    source: str
    sender_id: str | None = Field(description="the sender's own id, the same for a repetition")
    received_at: Moment
    headers: dict[str, str] = Field(description="headers of the message that tell about it")
    update: MessageUpdate | None = Field(description="the message as the source's handler reads it")
    body: Any = Field(default=None, description="the body, JSON as it was received")
    body_base64: str | None = Field(default=None, description="a body that is no JSON")
    sequence: int


class Announced(ResponseModel):
    """An event as it is delivered: the same bytes and the same `id` on every attempt."""

    id: str
    timestamp: Moment


class JobAnnounced(Announced):
    """An event of a job."""

    type: Literal[
        "job.succeeded",
        "job.failed",
        "job.canceled",
        "job.expired",
        "job.running",
        "job.progressed",
        "job.unconfirmed",
        "job.late_result",
    ]
    data: JobData


class ProviderAnnounced(Announced):
    """An event of an account: its provider refuses it, or accepts it again."""

    type: Literal["provider.blocked", "provider.unblocked"]
    data: ProviderData


class DisabledAnnounced(Announced):
    """An event of an endpoint that was disabled."""

    type: Literal["endpoint.disabled"]
    data: DisabledData


class FailingAnnounced(Announced):
    """An event of an endpoint that does nothing but fail."""

    type: Literal["endpoint.failing"]
    data: FailingData


class TrialAnnounced(Announced):
    """A test of an endpoint."""

    type: Literal["endpoint.test"]
    data: TrialData


class SourceAnnounced(Announced):
    """A message of a source."""

    type: SourceType
    data: SourceData


class Webhook(
    ResponseRoot[
        Annotated[
            JobAnnounced | ProviderAnnounced | FailingAnnounced | DisabledAnnounced | TrialAnnounced,
            Field(discriminator="type"),
        ]
        | SourceAnnounced
    ]
):
    """The body of a delivery."""


# Only the feed adds `object`: delivered events are signed without it.
class _Listed(ResponseModel):
    object: Literal["event"]


class JobEvent(JobAnnounced, _Listed):
    """An event of a job in the feed."""


class ProviderEvent(ProviderAnnounced, _Listed):
    """An event of an account in the feed."""


class DisabledEvent(DisabledAnnounced, _Listed):
    """An event of a disabled endpoint in the feed."""


class FailingEvent(FailingAnnounced, _Listed):
    """An event of a failing endpoint in the feed."""


class TrialEvent(TrialAnnounced, _Listed):
    """A test of an endpoint in the feed."""


class SourceEvent(SourceAnnounced, _Listed):
    """A message of a source in the feed."""


class EventResponse(
    ResponseRoot[
        Annotated[
            JobEvent | ProviderEvent | FailingEvent | DisabledEvent | TrialEvent, Field(discriminator="type")
        ]
        | SourceEvent
    ]
):
    """An event of the feed."""

    model_config = ConfigDict(title="Event")


class _Explained(ResponseModel):
    deliveries: list[WhereaboutsResponse]


class JobEventWithReasons(JobEvent, _Explained):
    """An event of a job with its delivery status at each endpoint."""


class ProviderEventWithReasons(ProviderEvent, _Explained):
    """An event of an account with its delivery status at each endpoint."""


class DisabledEventWithReasons(DisabledEvent, _Explained):
    """An event of a disabled endpoint with its delivery status at each endpoint."""


class FailingEventWithReasons(FailingEvent, _Explained):
    """An event of a failing endpoint with its delivery status at each endpoint."""


class TrialEventWithReasons(TrialEvent, _Explained):
    """A test of an endpoint with its delivery status at each endpoint."""


class SourceEventWithReasons(SourceEvent, _Explained):
    """A message of a source with its delivery status at each endpoint."""


class EventWithReasons(
    ResponseRoot[
        Annotated[
            JobEventWithReasons
            | ProviderEventWithReasons
            | FailingEventWithReasons
            | DisabledEventWithReasons
            | TrialEventWithReasons,
            Field(discriminator="type"),
        ]
        | SourceEventWithReasons
    ]
):
    """An event with its delivery status at each endpoint and the reason for it."""
