"""Webhooks: a model for each kind of event, an example and a meaning for each event type."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, RootModel

from handlers.contract import FailureCode
from receiver.api.responses import JobFields, Moment, ResponseModel, WhereaboutsResponse

JOB = "job_06fm3k2v9qg8r1t5n7w4x0yz2c"
ENDPOINT = "ep_06fm3k1h2d4s6f8g0j3k5m7p9r"
AT = "2026-11-21T10:00:00.123Z"
MEANINGS: Mapping[str, str] = {
    "job.succeeded": "The job is done; `data.assets` has its files, `[]` where the operation makes none.",
    "job.failed": "The job failed; `data.error` says why.",
    "job.canceled": "The job was canceled.",
    "job.expired": "The job's deadline passed before it was done.",
    "job.running": "The provider began to work.",
    "job.progressed": "The progress grew; at most one per second and job.",
    "job.unconfirmed": "The answer to the submission was lost: resolve the job, or wait for its callback.",
    "job.late_result": "A result came after the job had expired or was canceled; its state stays as it is.",
    "provider.blocked": "A provider refuses the account (its key, its balance): submissions to it wait.",
    "provider.unblocked": "The provider takes the account again.",
    "endpoint.failing": (
        "An endpoint did nothing but fail for half of the time after which it is disabled. It goes to your "
        "other endpoints."
    ),
    "endpoint.disabled": (
        "An endpoint gets no deliveries any more until it is resumed. It goes to your other endpoints."
    ),
    "endpoint.test": "A test of the endpoint that gets it; nothing happened.",
}
"""When an event of each type is sent."""
JOB_ERRORS: Mapping[FailureCode, str] = {
    FailureCode.REJECTED: "The provider refused the submission.",
    FailureCode.GENERATION_FAILED: "The provider tried and failed.",
    FailureCode.CONTENT_POLICY: "The provider refused the content.",
    FailureCode.NO_CREDIT: "The balance at the provider was used up.",
    FailureCode.RESULT_MISSING: "The provider reported success without a file, or its result is gone.",
    FailureCode.LOST: (
        "The provider no longer knows the job, or the submission's answer was lost and the job given up."
    ),
    FailureCode.DEADLINE: "The job's deadline passed: `job.expired`.",
    FailureCode.CANCELED_BY_PROVIDER: "The provider canceled it.",
}
"""The meaning of each `data.error.code`."""


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


class Webhook(
    RootModel[
        Annotated[
            JobAnnounced | ProviderAnnounced | FailingAnnounced | DisabledAnnounced | TrialAnnounced,
            Field(discriminator="type"),
        ]
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


class EventResponse(
    RootModel[
        Annotated[
            JobEvent | ProviderEvent | FailingEvent | DisabledEvent | TrialEvent, Field(discriminator="type")
        ]
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


class EventWithReasons(
    RootModel[
        Annotated[
            JobEventWithReasons
            | ProviderEventWithReasons
            | FailingEventWithReasons
            | DisabledEventWithReasons
            | TrialEventWithReasons,
            Field(discriminator="type"),
        ]
    ]
):
    """An event with its delivery status at each endpoint and the reason for it."""


def _job(state: str, **more: Any) -> dict[str, Any]:
    final = state in {"succeeded", "failed", "canceled", "expired"}
    return {
        "object": "job",
        "id": JOB,
        "sequence": 2,
        "provider": "apiframe",
        "operation": "runway-imagine",
        "state": state,
        "provider_job_id": "29e983ca-7e86-4017-a9e3-ef6fe9cd5f2a",
        "progress": 100 if state == "succeeded" else None,
        "metadata": {"order": "42"},
        "assets": [],
        "error": None,
        "usage": None,
        "waiting": None,
        "completed_by": "callback" if final else None,
        "created_at": "2026-11-21T09:58:12.004Z",
        "updated_at": AT,
        "completed_at": AT if final else None,
        "deadline_at": "2026-11-21T11:58:12.004Z",
    } | more


ASSET: Mapping[str, Any] = {
    "index": 0,
    "kind": "video",
    "url": "https://hooks.example.com/assets/eyJ...",
    "provider_url": "https://cdn.provider.example/29e983ca.mp4",
    "expires_at": None,
    "deletes_at": "2026-12-05T10:00:00.000Z",
    "mime_type": "video/mp4",
    "width": 1280,
    "height": 768,
    "duration": 5,
    "fps": None,
    "has_sound": None,
}
_REFUSED = {"code": "content_policy", "message": "the prompt was refused", "provider_code": "400"}
_LATE = {
    "code": "deadline",
    "message": "the deadline passed before the provider finished",
    "provider_code": None,
}
_PROVIDER = {"object": "provider", "id": "apiframe", "handler": "apiframe", "sequence": 1, "at": AT}
_ENDPOINT = {"object": "endpoint", "id": ENDPOINT, "url": "https://app.example.com/hooks", "sequence": 1}
_DATA: Mapping[str, dict[str, Any]] = {
    "job.succeeded": _job("succeeded", assets=[dict(ASSET)]),
    "job.failed": _job("failed", error=_REFUSED),
    "job.canceled": _job("canceled", completed_by="cancel"),
    "job.expired": _job("expired", completed_by="deadline", error=_LATE),
    "job.running": _job("running", progress=0, sequence=1),
    "job.progressed": _job("running", progress=40),
    "job.unconfirmed": _job("unconfirmed", provider_job_id=None, sequence=1),
    "job.late_result": _job(
        "expired", completed_by="deadline", error=_LATE, assets=[dict(ASSET)], sequence=3
    ),
    "provider.blocked": _PROVIDER | {"blocked": True, "reason": "no credit left"},
    "provider.unblocked": _PROVIDER | {"blocked": False, "reason": None},
    "endpoint.failing": _ENDPOINT
    | {
        "state": "active",
        "failing_since": "2026-11-19T04:00:00.000Z",
        "disable_at": "2026-11-24T04:00:00.000Z",
        "last_status": None,
        "last_error": "connect: refused",
    },
    "endpoint.disabled": _ENDPOINT
    | {"state": "disabled", "disabled_reason": "the endpoint answered 410 Gone", "disabled_at": AT},
    "endpoint.test": _ENDPOINT | {"at": AT},
}
EXAMPLES: Mapping[str, dict[str, Any]] = {
    name: {"id": "evt_5f0e6c1d2b3a4958", "type": name, "timestamp": AT, "data": data}
    for name, data in _DATA.items()
}
"""An example of a delivery's body for each event type."""
