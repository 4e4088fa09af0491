"""A meaning and an example for each event type, and a meaning for each error code of a job."""

from collections.abc import Mapping
from typing import Any

from handlers.contract import FailureCode
from receiver.domain.event_types import SOURCE_TYPE

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
    SOURCE_TYPE: "A source of the settings sent a message: a webhook about a job submitted elsewhere.",
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
_ENDPOINT = {"object": "endpoint", "id": ENDPOINT, "url": "https://app.example.com", "sequence": 1}
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
    SOURCE_TYPE: {
        "object": "message",
        "id": "msg_06fm3k2v9qg8r1t5n7w4x0yz2c",
        "source": "shop_renders",
        "sender_id": "8f2a0c52",
        "received_at": AT,
        "headers": {"content-type": "application/json", "x-request-id": "8f2a0c52"},
        "update": None,
        "body": {"render": 7, "status": "done"},
        "sequence": 1,
    },
}
EXAMPLES: Mapping[str, dict[str, Any]] = {
    name: {
        "id": "evt_5f0e6c1d2b3a4958",
        "type": name.replace("<name>", "shop_renders"),
        "timestamp": AT,
        "data": data,
    }
    for name, data in _DATA.items()
}
"""An example of a delivery's body for each event type."""
