"""Jobs over HTTP."""

import json as plain
import re
from collections.abc import Sequence
from typing import Any

from starlette.responses import RedirectResponse, Response

from handlers import json
from receiver.api.asks import JobRequest, JobSearch, Resolution
from receiver.api.guard import Asked, answer
from receiver.errors import FieldError, Invalid, NotFound, invalid
from receiver.jobs import Wish
from receiver.keys import is_id
from receiver.model import Job, Verdict
from receiver.store import jobs, timeline
from receiver.store.timeline import Place
from receiver.views import stamp, waiting_view

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
PREFER_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,4})\"?\s*(?:$|[,;])", re.IGNORECASE | re.ASCII)
LONGEST_WAIT = 60
PLACE = re.compile(r"(\d{1,15})\.(\d)\.([A-Za-z0-9_]{1,64}~?)", re.ASCII)


async def job_answers(asked: Asked, found: Sequence[Job]) -> list[dict[str, Any]]:
    """Return jobs as answers show them."""
    waits = await asked.services.waits.of(found)
    told = []
    for job in found:
        seen = asked.services.meaning.view(job)
        waiting = waits.get(job.id)
        seen["waiting"] = waiting_view(waiting) if waiting else None
        seen["result"] = json.read(job.result) if job.result is not None else None
        told.append(seen)
    return told


async def job_answer(asked: Asked, job: Job) -> dict[str, Any]:
    """Return one job as answers show it."""
    [told] = await job_answers(asked, [job])
    return told


def _job_id(asked: Asked) -> str:
    job_id = asked.path["id"]
    if not is_id("job", job_id):
        raise NotFound("no such job")
    return job_id


async def create(asked: Asked) -> Response:
    """Promise a job."""
    body: JobRequest = asked.body
    key = _idempotency_key(asked)
    wish = Wish(
        body.provider,
        body.operation,
        body.input,
        body.metadata,
        body.callback_url,
        body.callback_secret,
        body.deadline_seconds,
    )
    taken = await asked.services.jobs.submit(wish, asked.asker.id, key, _canonical(asked.body))
    job, headers = taken.job, {"location": f"/v1/jobs/{taken.job.id}"}
    seconds = _prefer_wait(asked)
    if seconds is not None:
        headers["preference-applied"] = f"wait={seconds}"
        job = await asked.services.jobs.wait(job, seconds, accepted=True)
    told = await job_answer(asked, job)
    if taken.callback_secret is not None and body.callback_secret is None:
        told["callback_secret"] = taken.callback_secret
    return answer(told, 200 if job.state.final else 202, headers)


def _canonical(body: JobRequest) -> bytes:
    """One spelling for equal requests, whatever the order of their keys."""
    value = body.model_dump(exclude_unset=True)
    return plain.dumps(value, sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _idempotency_key(asked: Asked) -> str | None:
    given = asked.request.headers.getlist("idempotency-key")
    if not given:
        return None
    if len(given) > 1 or not IDEMPOTENCY_KEY.fullmatch(given[0]):
        raise invalid("idempotency-key", "give it once, as 1 to 255 visible ASCII characters", place="header")
    return given[0]


def _prefer_wait(asked: Asked) -> int | None:
    found = PREFER_WAIT.search(",".join(asked.request.headers.getlist("prefer")))
    return None if found is None else min(int(found[1]), LONGEST_WAIT)


async def show(asked: Asked) -> Response:
    """One job with its input; may wait for it to be final."""
    job, shown = await asked.services.jobs.get(_job_id(asked))
    if asked.query.wait:
        job = await asked.services.jobs.wait(job, asked.query.wait)
    return answer(await job_answer(asked, job) | {"input": shown})


async def listed(asked: Asked) -> Response:
    """Jobs, newest first."""
    query: JobSearch = asked.query
    if query.cursor is not None and not is_id("job", query.cursor):
        raise invalid("cursor", "is not one that a list gave", place="query")
    wanted = jobs.Search(
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
    return page(await job_answers(asked, found), query.limit)


def page(items: list[dict[str, Any]], limit: int) -> Response:
    """A piece of a list that was asked for one item more than it shows."""
    shown = items[:limit]
    return answer({"data": shown, "next_cursor": shown[-1]["id"] if len(items) > limit else None})


async def cancel(asked: Asked) -> Response:
    """Cancel a job."""
    return answer(await job_answer(asked, await asked.services.jobs.cancel(_job_id(asked))))


async def resolve(asked: Asked) -> Response:
    """Decide the fate of an unconfirmed job."""
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


async def erase(asked: Asked) -> Response:
    """Erase a final job."""
    await asked.services.jobs.erase(_job_id(asked))
    return Response(status_code=204)


async def story(asked: Asked) -> Response:
    """A job's timeline, oldest first."""
    job_id = _job_id(asked)
    await asked.services.jobs.get(job_id)
    after = None
    if asked.query.cursor is not None:
        place = PLACE.fullmatch(asked.query.cursor)
        if place is None:
            raise invalid("cursor", "is not one that a list gave", place="query")
        after = Place(int(place[1]), int(place[2]), place[3])
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


async def asset(asked: Asked) -> Response:
    """The stable link of an asset."""
    url = await asked.services.assets.url(asked.path["token"])
    return RedirectResponse(url, 307, {"cache-control": "no-store", "referrer-policy": "no-referrer"})
