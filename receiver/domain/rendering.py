"""How a job looks from outside: in answers and in events."""

import functools
from datetime import datetime
from typing import Any

from handlers import json
from handlers.contract import Asset
from receiver.domain.model import Job, Waiting


def when(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC with milliseconds."""
    return None if moment is None else stamp(moment)


@functools.lru_cache(maxsize=1024)
def stamp(moment: datetime) -> str:
    """`when`, for a moment that is there."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def asset_view(index: int, asset: Asset, link: str) -> dict[str, Any]:
    """One asset: `url` is our own stable link."""
    return {
        "index": index,
        "kind": asset.kind.value,
        "url": link,
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


def waiting_view(waiting: Waiting) -> dict[str, Any]:
    """Return why an open job does not move."""
    return {
        "reason": waiting.reason.value,
        "detail": waiting.detail,
        "since": stamp(waiting.since),
        "until": when(waiting.until),
    }


def job_view(job: Job, assets: list[dict[str, Any]]) -> dict[str, Any]:
    """A job, without its result and its input."""
    error = job.error
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
        "error": {"code": error.code.value, "message": error.message, "provider_code": error.provider_code}
        if error
        else None,
        "usage": dict(job.usage) if job.usage else None,
        "waiting": waiting_view(job.waiting) if job.waiting else None,
        "completed_by": job.completed_by.value if job.completed_by else None,
        "created_at": stamp(job.created_at),
        "updated_at": stamp(job.updated_at),
        "completed_at": when(job.completed_at),
        "deadline_at": stamp(job.deadline_at),
    }


def event_body(event_id: str, event_type: str, at: datetime, data: dict[str, Any]) -> bytes:
    """The bytes of an event: rendered once, signed and sent as they are."""
    return json.write({"id": event_id, "type": event_type, "timestamp": stamp(at), "data": data})


def with_result(body: bytes, result: bytes) -> bytes:
    """An event's body with `data.result` on top: spliced in, so that all else stays byte for byte."""
    return body[:-2] + b',"result":' + result + b"}}"
