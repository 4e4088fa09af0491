"""Calls about jobs."""

import base64
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypedDict, Unpack

from ringback.calls.common import PAGE_SIZE, get, listing, nothing, reader, send
from ringback.core import Call, Entropy, content, known, path, query, some
from ringback.errors import ConfigurationError
from ringback.values import Job, JobToken, Page, ProviderMessage, TimelineEntry

KEY_FORM = re.compile(r"[!-~]{1,255}", re.ASCII)


class JobOptions(TypedDict, total=False):
    """The options of a submission.

    `callback_url` gets the job's terminal event too, signed with `callback_secret`; without one, the client
    makes it and the job that `submit` returns has it. With `wait`, the answer comes once the provider has
    accepted the job, or after so many seconds, at most 60. Two calls with the same `idempotency_key` are one
    submission, so a `callback_url` then needs a `callback_secret` of yours; without it, the client makes one
    for each call.
    """

    operation: str | None
    metadata: Mapping[str, str] | None
    callback_url: str | None
    callback_secret: str | None
    deadline_seconds: int | None
    idempotency_key: str | None
    wait: float | None


def submit(provider: str, input: Mapping[str, Any], **options: Unpack[JobOptions]) -> Call[Job]:  # noqa: A002  # the API's word
    """Submit a job. A lost answer is asked for again without paying twice. Returns the job.

    The options, which `JobOptions` explains: `operation`, `metadata`, `callback_url`, `callback_secret`,
    `deadline_seconds`, `idempotency_key`, `wait`.
    """
    known(options, JobOptions)
    body = some({"provider": provider, "input": input, **options})
    wait, key = body.pop("wait", None), body.pop("idempotency_key", None)
    headers = {} if wait is None else {"prefer": f"wait={wait:.0f}"}
    call = replace(send("POST", "/v1/jobs", reader(Job), body), waits=wait or 0.0, repeatable=True)
    if key is not None:
        if not KEY_FORM.fullmatch(key):
            raise ConfigurationError("idempotency_key: must be 1 to 255 visible ASCII characters")
        if "callback_url" in body and "callback_secret" not in body:
            # The service tells a secret once, and a new one would be another body under the same key.
            raise ConfigurationError("callback_secret: give one beside callback_url and idempotency_key")
        return replace(call, headers={**headers, "idempotency-key": key})
    return replace(call, draw=functools.partial(_keyed, call, headers, body))


def _keyed(
    call: Call[Job], headers: Mapping[str, str], body: Mapping[str, Any], entropy: Entropy
) -> Call[Job]:
    """Return a submission with a key of its own and, for a callback URL, a secret."""
    call = replace(call, headers={**headers, "idempotency-key": entropy(16).hex()})
    if "callback_url" not in body or "callback_secret" in body:
        return call
    # The service tells a secret that it makes in its first answer only, and that one may be lost.
    secret = "whsec_" + base64.b64encode(entropy(32)).decode()
    reads = functools.partial(_with_secret, call.reads, secret)
    return replace(call, body=content({**body, "callback_secret": secret}), reads=reads)


def _with_secret(reads: Callable[[Any], Job], secret: str, given: Any) -> Job:
    return replace(reads(given), callback_secret=secret)


def show(job_id: str, *, wait: float | None = None) -> Call[Job]:
    """Read a job with its input. With `wait`, answer once it is final or after up to 60 seconds."""
    return get(path("jobs", job_id), reader(Job), query(wait=wait), waits=wait or 0.0)


def pages(
    *,
    state: str | None = None,
    provider: str | None = None,
    provider_job_id: str | None = None,
    metadata: Mapping[str, str] | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    page_size: int = PAGE_SIZE,
) -> Call[Page[Job]]:
    """List jobs, newest first."""
    wanted = query(
        state=state,
        provider=provider,
        provider_job_id=provider_job_id,
        created_after=created_after,
        created_before=created_before,
        limit=page_size,
    )
    labels = tuple((f"metadata.{name}", value) for name, value in (metadata or {}).items())
    return listing("/v1/jobs", reader(Job), wanted + labels)


def cancel(job_id: str) -> Call[Job]:
    """Cancel a job. Returns it."""
    return send("POST", path("jobs", job_id, "cancel"), reader(Job))


def resolve(
    job_id: str, *, provider_job_id: str | None = None, resubmit: bool = False, fail: bool = False
) -> Call[Job]:
    """Resolve an unconfirmed job, by exactly one of the three. Returns it."""
    given = some({"provider_job_id": provider_job_id, "resubmit": resubmit or None, "fail": fail or None})
    return send("POST", path("jobs", job_id, "resolve"), reader(Job), given)


def erase(job_id: str) -> Call[None]:
    """Erase a final job with its events and attempts."""
    return send("DELETE", path("jobs", job_id), nothing)


def revoke_assets(job_id: str) -> Call[Job]:
    """Revoke the stable links to a job's files, those handed out before included. Returns the job."""
    return send("POST", path("jobs", job_id, "revoke-assets"), reader(Job))


def token(job_id: str, *, seconds: int = 900) -> Call[JobToken]:
    """Make a token that reads this job and nothing else. Returns it."""
    return send("POST", path("jobs", job_id, "token"), reader(JobToken), {"seconds": seconds})


def messages(job_id: str, *, page_size: int = PAGE_SIZE) -> Call[Page[ProviderMessage]]:
    """List the provider's messages that are kept of a job, oldest first, without secrets."""
    return listing(path("jobs", job_id, "messages"), reader(ProviderMessage), query(limit=page_size))


def timeline(job_id: str, *, page_size: int = PAGE_SIZE) -> Call[Page[TimelineEntry]]:
    """List everything that happened to a job, oldest first."""
    return listing(path("jobs", job_id, "timeline"), reader(TimelineEntry), query(limit=page_size))
