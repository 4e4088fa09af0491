"""Jobs over HTTP."""

import hashlib
import json as plain
import re
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import RedirectResponse, Response

from handlers import json
from receiver.api.guard import NO_STORE, NOSNIFF, RequestContext, answer, checked, only_json
from receiver.api.paging import rendered
from receiver.api.request_head import HOST
from receiver.api.requests import JobQuery, JobRequest, Resolution
from receiver.bodies.large_json import unpack
from receiver.domain.errors import FieldError, Invalid, Malformed, invalid, no_such
from receiver.domain.model import Job, Verdict, Waiting
from receiver.domain.rendering import stamp, waiting_view
from receiver.jobs.service import JobSpec, shown
from receiver.security.tokens import is_id
from receiver.store import jobs, timeline
from receiver.store.timeline import TimelinePlace

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
PREFER_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,4})\"?\s*(?:$|[,;])", re.IGNORECASE | re.ASCII)
LONGEST_WAIT = 60
PLACE = re.compile(r"(\d{1,15})\.(\d)\.([A-Za-z0-9_]{1,64}~?)", re.ASCII)


def _seen(asked: RequestContext, job: Job, waiting: Waiting | None) -> dict[str, Any]:
    """Return a job as answers show it."""
    seen = asked.services.meaning.view(job)
    if asked.services.settings.public_url is None:
        for one in seen["assets"]:
            one["url"] = _asked_at(asked) + urlsplit(one["url"]).path
    seen["waiting"] = waiting_view(waiting) if waiting else None
    seen["result"] = json.read(job.result) if job.result is not None else None
    return seen


async def job_answer(asked: RequestContext, job: Job) -> dict[str, Any]:
    """Return one job as answers show it, and why it waits."""
    waits = await asked.services.waits.of([job])
    return _seen(asked, job, waits.get(job.id))


def _asked_at(asked: RequestContext) -> str:
    """Returns the address that the request came to; where it names none, the one that we listen on."""
    scope, hosts = asked.request.scope, asked.request.headers.getlist("host")
    if len(hosts) == 1 and hosts[0] and HOST.fullmatch(hosts[0].encode("latin-1")):
        return f"{scope['scheme']}://{hosts[0]}"
    return asked.services.settings.link_base


def _job_id(asked: RequestContext) -> str:
    job_id = asked.path["id"]
    if not is_id("job", job_id):
        raise no_such("job")
    return job_id


async def create(asked: RequestContext) -> Response:
    """Submit a job."""
    wish: JobSpec = asked.body
    key = _idempotency_key(asked)
    taken = await asked.services.jobs.submit(wish, asked.asker.id, key)
    wish.whole.drop()  # a large body is not held until the answer, nor beside the submission's copy
    job, headers = taken.job, {"location": f"/v1/jobs/{taken.job.id}"}
    if not taken.created:
        headers["idempotent-replayed"] = "true"
    seconds = _prefer_wait(asked)
    if seconds is not None and asked.services.recording.watchers.has_room(asked.asker.id):
        headers["preference-applied"] = f"wait={seconds}"
        job = await asked.services.jobs.wait(job, seconds, asked.asker.id, accepted=True)
    told = await job_answer(asked, job)
    if taken.callback_secret is not None and wish.callback_secret is None:
        told["callback_secret"] = taken.callback_secret
        headers |= NO_STORE
    return answer(told, 200 if job.state.final else 202, headers)


def read_wish(raw: bytes, *, content_type: str | None) -> JobSpec:
    """The wish that a body spells, with all that is stored of it."""
    only_json(content_type)
    try:
        bulk = unpack(raw)
    except json.BadJson as error:
        raise Malformed(str(error)) from None
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
    """One spelling for equal requests, whatever the order of their keys."""
    return plain.dumps(value, sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _idempotency_key(asked: RequestContext) -> str | None:
    given = asked.request.headers.getlist("idempotency-key")
    if not given:
        return None
    if len(given) > 1 or not IDEMPOTENCY_KEY.fullmatch(given[0]):
        raise invalid("idempotency-key", "give it once, as 1 to 255 visible ASCII characters", place="header")
    return given[0]


def _prefer_wait(asked: RequestContext) -> int | None:
    found = PREFER_WAIT.search(",".join(asked.request.headers.getlist("prefer")))
    return None if found is None else min(int(found[1]), LONGEST_WAIT)


async def show(asked: RequestContext) -> Response:
    """Show a job with its input; with `wait`, once it is final."""
    job, given = await asked.services.jobs.get(_job_id(asked))
    if asked.query.wait:
        job = await asked.services.jobs.wait(job, asked.query.wait, asked.asker.id)
    body = json.write(await job_answer(asked, job)).removesuffix(b"}") + b',"input":' + given + b"}"
    return Response(body, headers=dict(NOSNIFF), media_type="application/json")


async def listed(asked: RequestContext) -> Response:
    """List jobs, newest first."""
    query: JobQuery = asked.query
    if query.cursor is not None and not is_id("job", query.cursor):
        raise invalid("cursor", "is not a cursor of this list", place="query")
    wanted = jobs.JobFilter(
        state=(query.state,) if query.state else (),
        account=query.provider,
        provider_job_id=query.provider_job_id,
        labels=asked.labels,
        created_after=query.created_after,
        created_before=query.created_before,
        before=query.cursor,
        limit=query.limit + 1,
    )
    found = await asked.services.store.read(jobs.search(wanted))
    shown, more = found[: query.limit], len(found) > query.limit
    waits = await asked.services.waits.of(shown)
    return await rendered(
        shown,
        lambda job: _seen(asked, job, waits.get(job.id)),
        next_cursor=shown[-1].id if more else None,
    )


def page(items: list[dict[str, Any]], limit: int, place: str | None = None) -> Response:
    """A piece of a list that was asked for one item more than it shows; `place` is where to go on when there
    may be more all the same."""
    shown = items[:limit]
    return answer({"data": shown, "next_cursor": shown[-1]["id"] if len(items) > limit else place})


async def cancel(asked: RequestContext) -> Response:
    """Cancel a job."""
    return answer(await job_answer(asked, await asked.services.jobs.cancel(_job_id(asked))))


async def resolve(asked: RequestContext) -> Response:
    """Resolve an unconfirmed job: exactly one of the three fields."""
    body: Resolution = asked.body
    given = body.model_dump(exclude_none=True)
    if len(given) != 1:
        detail = "give exactly one of provider_job_id, resubmit and fail"
        raise Invalid(detail, errors=[FieldError("body", "", "", detail)])
    verdicts = {
        "provider_job_id": Verdict.BIND,
        "resubmit": Verdict.RESUBMIT,
        "fail": Verdict.GIVE_UP,
    }
    job = await asked.services.jobs.resolve(_job_id(asked), verdicts[next(iter(given))], body.provider_job_id)
    return answer(await job_answer(asked, job))


async def erase(asked: RequestContext) -> Response:
    """Erase a final job with its events and attempts."""
    await asked.services.jobs.erase(_job_id(asked))
    return Response(status_code=204)


async def story(asked: RequestContext) -> Response:
    """Show a job's timeline, oldest first."""
    job_id = _job_id(asked)
    await asked.services.jobs.get(job_id)
    after = None
    if asked.query.cursor is not None:
        place = PLACE.fullmatch(asked.query.cursor)
        if place is None:
            raise invalid("cursor", "is not a cursor of this list", place="query")
        after = TimelinePlace(int(place[1]), int(place[2]), place[3])
    limit = asked.query.limit
    entries = await asked.services.store.read(timeline.timeline(job_id, after, limit))
    shown = entries[:limit]
    last = shown[-1].place if shown else None
    return answer(
        {
            "data": [{"at": stamp(entry.at), "kind": entry.kind, **entry.told} for entry in shown],
            "next_cursor": f"{last.at}.{last.rank}.{last.id}" if last and len(entries) > limit else None,
        }
    )


async def asset(asked: RequestContext) -> Response:
    """Redirect to an asset: the stable link, without an API key."""
    url = await asked.services.assets.url(asked.path["token"])
    return RedirectResponse(url, 307, {"cache-control": "no-store", "referrer-policy": "no-referrer"})
