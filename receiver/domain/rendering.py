"""The JSON of jobs and events, as API responses and deliveries contain it."""

import functools
from datetime import datetime
from typing import Any

from handlers import json
from handlers.contract import Asset, Failure
from receiver.domain.model import Job, JobError, Waiting


def when(moment: datetime | None) -> str | None:
    """Return a moment as RFC 3339 in UTC with milliseconds, or None for None."""
    return None if moment is None else stamp(moment)


@functools.lru_cache(maxsize=1024)
def stamp(moment: datetime) -> str:
    """Return a moment as RFC 3339 in UTC with milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def asset_facts(asset: Asset) -> dict[str, Any]:
    """Return the JSON of an asset as its provider describes it."""
    return {
        "kind": asset.kind.value,
        "provider_url": asset.url,
        "expires_at": when(asset.expires_at),
        "deletes_at": when(asset.deletes_at),
        "mime_type": asset.mime_type,
        "width": asset.width,
        "height": asset.height,
        "duration": asset.duration,
        "fps": asset.fps,
        "has_sound": asset.has_sound,
    }


def asset_view(index: int, asset: Asset, link: str | None) -> dict[str, Any]:
    """Return the JSON object of one asset. Its `url` is the service's own stable link, None once revoked."""
    return {"index": index, "kind": asset.kind.value, "url": link, **asset_facts(asset)}


def error_view(error: JobError | Failure | None) -> dict[str, Any] | None:
    """Return the JSON object of the reason for a failure, None without one."""
    if error is None:
        return None
    return {"code": error.code.value, "message": error.message, "provider_code": error.provider_code}


def waiting_view(waiting: Waiting) -> dict[str, Any]:
    """Return the JSON object of the reason why an open job makes no progress."""
    return {
        "reason": waiting.reason.value,
        "detail": waiting.detail,
        "since": stamp(waiting.since),
        "until": when(waiting.until),
    }


def job_view(job: Job, assets: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON object of a job, without its result and its input."""
    return {
        "object": "job",
        "id": job.id,
        "provider": job.account,
        "operation": job.operation,
        "state": job.state.value,
        "provider_job_id": job.provider_job_id,
        "progress": job.progress,
        "metadata": dict(job.metadata),
        "assets": assets,
        "error": error_view(job.error),
        "usage": dict(job.usage) if job.usage else None,
        "waiting": waiting_view(job.waiting) if job.waiting else None,
        "completed_by": job.completed_by.value if job.completed_by else None,
        "created_at": stamp(job.created_at),
        "updated_at": stamp(job.updated_at),
        "completed_at": when(job.completed_at),
        "deadline_at": stamp(job.deadline_at),
    }


def event_body(event_id: str, event_type: str, at: datetime, data: dict[str, Any]) -> bytes:
    """Return the body of an event. It is rendered once, then signed and sent unchanged."""
    return json.write({"id": event_id, "type": event_type, "timestamp": stamp(at), "data": data})


def data_of(body: bytes) -> bytes:
    """Return `data` of the body of an event, byte for byte: the numbers of a sender stay as they were."""
    # `data` comes last, and no name or moment before it holds a quotation mark.
    return body[body.index(b',"data":') + len(b',"data":') : -1]


def with_result(body: bytes, result: bytes) -> bytes:
    """Return the body of an event with `data.result` added and every other byte unchanged."""
    # The body ends with the braces of `data` and of the event, so the result is spliced in before both.
    return body[:-2] + b',"result":' + result + b"}}"
