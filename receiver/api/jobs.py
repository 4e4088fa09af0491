"""Jobs over HTTP."""

import hashlib
import json as plain
import re
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import Response

from handlers import json
from receiver.api.callers import identify
from receiver.api.guard import NO_STORE, NOSNIFF, RequestContext, answer, checked, only_json
from receiver.api.paging import foreign_cursor, rendered
from receiver.api.request_head import HOST
from receiver.api.requests import JobQuery, JobRequest, Resolution, TokenRequest
from receiver.bodies.large_json import unpack
from receiver.domain.errors import FieldError, Invalid, Malformed, invalid, no_such
from receiver.domain.model import Job, Waiting
from receiver.domain.rendering import stamp, waiting_view
from receiver.domain.reports import Action
from receiver.jobs.service import JobSpec, shown
from receiver.security.ids import is_id
from receiver.store import jobs, timeline
from receiver.store.timeline import TimelinePlace

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
PREFER_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,4})\"?\s*(?:$|[,;])", re.IGNORECASE | re.ASCII)
LONGEST_WAIT = 60
"""Most seconds for `Prefer: wait`. A longer preference is cut to it."""
PLACE = re.compile(r"(\d{1,15})\.(\d)\.([A-Za-z0-9_]{1,64}~?)", re.ASCII)
"""The cursor of a timeline: time in milliseconds, rank and id of an entry."""


def _seen(context: RequestContext, job: Job, waiting: Waiting | None) -> dict[str, Any]:
    """Return a job as JSON, with the reason why it waits."""
    seen = context.services.render(job)
    # Without `public_url`, links lead to the address at which this client reached the service.
    if context.services.settings.public_url is None:
        for one in seen["assets"]:
            if one["url"] is not None:
                one["url"] = _asked_at(context) + urlsplit(one["url"]).path
    seen["waiting"] = waiting_view(waiting) if waiting else None
    seen["result"] = json.read(job.result) if job.result is not None else None
    return seen


async def job_json(context: RequestContext, job: Job) -> dict[str, Any]:
    """Return a job as JSON, after looking up the reason why it waits."""
    waits = await context.services.wait_reasons.of([job])
    return _seen(context, job, waits.get(job.id))


def _asked_at(context: RequestContext) -> str:
    """Return the base URL that the request was sent to, or the configured one where it has no usable Host."""
    scope, hosts = context.request.scope, context.request.headers.getlist("host")
    if len(hosts) == 1 and hosts[0] and HOST.fullmatch(hosts[0].encode("latin-1")):
        return f"{scope['scheme']}://{hosts[0]}"
    return context.services.settings.link_base


def job_id_of(context: RequestContext) -> str:
    """Return the id of the job in the path. Raises `NotFound` for a text that is no id."""
    job_id = context.path["id"]
    if not is_id("job", job_id):
        raise no_such("job")
    return job_id


async def create(context: RequestContext) -> Response:
    """Submit a job. With `Prefer: wait=N`, wait up to N seconds until the provider has accepted it."""
    spec: JobSpec = context.body
    key = _idempotency_key(context)
    spans, given = context.services.spans, context.request.headers.get("traceparent")
    place, began = spans.tracing.begin(given), spans.now()
    traceparent = None if place is None else str(place)
    submitted = await context.services.jobs.submit(spec, context.caller.id, key, traceparent)
    if place is not None and submitted.created:
        spans.called(submitted.job, place, given, began, 202)
    # A large body is not kept in memory until the response, nor beside the submission's own copy.
    spec.whole.drop()
    job, headers = submitted.job, {"location": f"/v1/jobs/{submitted.job.id}"}
    if not submitted.created:
        headers["idempotent-replayed"] = "true"
    seconds = _prefer_wait(context)
    # A preference may be ignored (RFC 7240): without room to wait, the response comes at once.
    if seconds is not None and context.services.waiting_calls.has_room(context.caller.id):
        headers["preference-applied"] = f"wait={seconds}"
        job = await context.services.jobs.wait(job, seconds, context.caller.id, accepted=True)
    body = await job_json(context, job)
    # Only a secret that the service made: the client knows its own.
    if submitted.callback_secret is not None and spec.callback_secret is None:
        body["callback_secret"] = submitted.callback_secret
        headers |= NO_STORE
    return answer(body, 200 if job.state.final else 202, headers)


def read_wish(raw: bytes, *, content_type: str | None) -> JobSpec:
    """Return the spec of a job request, with the stored forms of its input.

    Raises `UnsupportedMediaType`, `Malformed`, `Invalid` or `TooLarge`.
    """
    only_json(content_type)
    try:
        bulk = unpack(raw)
    except json.BadJson as error:
        raise Malformed(str(error)) from None
    # Long texts are never made whole: their beginnings are checked, and their hashes stand in for them below.
    body = checked(JobRequest, bulk.with_texts(bulk.value, lambda text: text.head), "body")
    given = bulk.value["input"]
    whole = bulk.restored(json.write(given))
    assert whole is not None  # noqa: S101  # no mark was changed
    value = body.model_dump(exclude_unset=True, exclude={"input"})
    value["input"] = bulk.with_texts(given, lambda text: text.hashed)
    return JobSpec(
        provider=body.provider,
        operation=body.operation,
        input=body.input,
        whole=whole,
        shown=shown(bulk, given, whole),
        hashed=hashlib.sha256(_canonical(value)).digest(),
        metadata=body.metadata,
        callback_url=body.callback_url,
        callback_secret=body.callback_secret,
        deadline_seconds=body.deadline_seconds,
    )


def _canonical(value: dict[str, Any]) -> bytes:
    """Return the same bytes for equal requests, regardless of the order of their keys."""
    return plain.dumps(value, sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _idempotency_key(context: RequestContext) -> str | None:
    given = context.request.headers.getlist("idempotency-key")
    if not given:
        return None
    if len(given) > 1 or not IDEMPOTENCY_KEY.fullmatch(given[0]):
        raise invalid("idempotency-key", "give it once, as 1 to 255 visible ASCII characters", place="header")
    return given[0]


def _prefer_wait(context: RequestContext) -> int | None:
    found = PREFER_WAIT.search(",".join(context.request.headers.getlist("prefer")))
    return None if found is None else min(int(found[1]), LONGEST_WAIT)


async def show(context: RequestContext) -> Response:
    """Show a job with its input. With `wait`, respond once the job is final or the time is up."""
    job, given = await context.services.jobs.get(job_id_of(context))
    if context.query.wait:
        job = await context.services.jobs.wait(job, context.query.wait, context.caller.id)
        # Meanwhile the caller's key may have been removed.
        await identify(context.services, context.request, "jobs:read", by_token=True)
    # The input is stored as JSON and spliced in as it is, not parsed and written again.
    body = json.write(await job_json(context, job)).removesuffix(b"}") + b',"input":' + given + b"}"
    return Response(body, headers=dict(NOSNIFF), media_type="application/json")


async def list_(context: RequestContext) -> Response:
    """List jobs, newest first."""
    query: JobQuery = context.query
    if query.cursor is not None and not is_id("job", query.cursor):
        raise foreign_cursor()
    wanted = jobs.JobFilter(
        state=(query.state,) if query.state else (),
        account=query.provider,
        provider_job_id=query.provider_job_id,
        labels=context.labels,
        created_after=query.created_after,
        created_before=query.created_before,
        before=query.cursor,
        limit=query.limit + 1,
    )
    found = await context.services.store.read(jobs.search(wanted))
    shown, more = found[: query.limit], len(found) > query.limit
    waits = await context.services.wait_reasons.of(shown)
    return await rendered(
        shown,
        lambda job: json.write(_seen(context, job, waits.get(job.id))),
        next_cursor=shown[-1].id if more else None,
    )


async def cancel(context: RequestContext) -> Response:
    """Cancel a job."""
    return answer(await job_json(context, await context.services.jobs.cancel(job_id_of(context))))


async def revoke_assets(context: RequestContext) -> Response:
    """Revoke the asset links of a job."""
    return answer(await job_json(context, await context.services.jobs.revoke_assets(job_id_of(context))))


async def resolve(context: RequestContext) -> Response:
    """Resolve an unconfirmed job. Raises `Invalid` unless the body has exactly one of the three fields."""
    body: Resolution = context.body
    given = body.model_dump(exclude_none=True)
    if len(given) != 1:
        detail = "give exactly one of provider_job_id, resubmit and fail"
        raise Invalid(detail, errors=[FieldError("body", "", "", detail)])
    actions = {
        "provider_job_id": Action.BIND,
        "resubmit": Action.RESUBMIT,
        "fail": Action.GIVE_UP,
    }
    job = await context.services.jobs.resolve(
        job_id_of(context), actions[next(iter(given))], body.provider_job_id
    )
    return answer(await job_json(context, job))


async def token(context: RequestContext) -> Response:
    """Create a token that reads this job and its stream, nothing else."""
    body: TokenRequest = context.body
    text, ends = await context.services.job_tokens.issue(job_id_of(context), body.seconds)
    shown = {"object": "job_token", "job": job_id_of(context), "token": text, "expires_at": stamp(ends)}
    return answer(shown, 201, NO_STORE)


async def delete(context: RequestContext) -> Response:
    """Erase a final job with its events and attempts."""
    await context.services.jobs.erase(job_id_of(context))
    return Response(status_code=204)


async def timeline_(context: RequestContext) -> Response:
    """Show a job's timeline, oldest first."""
    job_id = job_id_of(context)
    # Raises `NotFound`: without it, an unknown job would have an empty timeline.
    await context.services.jobs.get(job_id)
    after = None
    if context.query.cursor is not None:
        place = PLACE.fullmatch(context.query.cursor)
        if place is None:
            raise foreign_cursor()
        after = TimelinePlace(int(place[1]), int(place[2]), place[3])
    limit = context.query.limit
    entries = await context.services.store.read(timeline.timeline(job_id, after, limit))
    shown = entries[:limit]
    last = shown[-1].place if shown else None
    return answer(
        {
            "data": [{"at": stamp(entry.at), "kind": entry.kind, **entry.details} for entry in shown],
            "next_cursor": f"{last.at}.{last.rank}.{last.id}" if last and len(entries) > limit else None,
        }
    )
