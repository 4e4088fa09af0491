"""Server-sent events: the feed and single jobs, over real sockets, cut anywhere and continued."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from receiver.api import streams
from receiver.feed import reader, ring
from receiver.sandbox.world import Knobs
from tests.stories.deployment import PATIENCE, Deployment, asking, deployed
from tests.stories.sse import Listener, has, listening_to
from tests.stories.tools import (
    SILENT,
    Moving,
    asked,
    ended_job,
    finished,
    listed,
    open_job,
    problem,
    says,
)
from tests.stories.tools import (
    ring as call_back,
)

STREAM = "/v1/events/stream"


pytestmark = pytest.mark.providers(SILENT)


async def test_a_stream_tells_every_event_from_now_on(deployment: Deployment) -> None:
    before = await ended_job(deployment)
    async with listening_to(deployment, STREAM) as listener:
        await has(deployment, lambda: listener.last)
        jobs = [await ended_job(deployment) for _ in range(3)]
        await has(deployment, lambda: len(listener.events) == 3)
    assert (listener.status, listener.retry) == (200, 2000)
    assert listener.headers["content-type"].startswith("text/event-stream")
    assert listener.headers["cache-control"] == "no-store"
    assert [event["data"]["id"] for event in listener.events] == [job["id"] for job in jobs]
    every = {event["id"]: event for event in await listed(deployment, "/v1/events")}
    assert all(every[event["id"]] == event for event in listener.events)
    assert listener.ids == [event["id"] for event in listener.events]
    assert before["id"] not in {event["data"]["id"] for event in listener.events}


async def test_a_client_without_an_event_yet_continues_where_it_began(deployment: Deployment) -> None:
    await ended_job(deployment)
    async with listening_to(deployment, STREAM) as listener:
        await has(deployment, lambda: listener.last)
    missed = await ended_job(deployment)
    async with listening_to(deployment, STREAM, listener):
        await has(deployment, lambda: listener.events)
    assert [event["data"]["id"] for event in listener.events] == [missed["id"]]


async def test_a_stream_begins_after_a_place_a_moment_or_the_last_event(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, SILENT, clock=moving.clock) as deployment:
        start = moving.clock.now()
        jobs = []
        for _ in range(3):
            jobs.append((await ended_job(deployment))["id"])
            moving.wait(3600)
        every = await listed(deployment, "/v1/events")
        places = {
            every[0]["id"]: 1,
            every[2]["id"]: 3,
            "0": 0,
            (await asked(deployment, "GET", "/v1/events", params={"limit": 2}))["next_cursor"]: 2,
            (start + timedelta(minutes=30)).isoformat(): 1,
            (start + timedelta(hours=1, minutes=30)).isoformat().replace("+00:00", "Z"): 2,
            (start - timedelta(days=400)).isoformat(): 0,
            (start + timedelta(days=1)).isoformat(): 3,
        }
        for place, skipped in places.items():
            async with listening_to(deployment, STREAM, params={"after": place}) as listener:
                await has(deployment, lambda: len(listener.events) >= 3 - skipped)  # noqa: B023  # awaited here
            assert [event["data"]["id"] for event in listener.events] == jobs[skipped:], place
            page = await listed(deployment, "/v1/events", after=place)
            assert [event["data"]["id"] for event in page] == jobs[skipped:]
        # The browser that lost its connection repeats the URL: its last event wins over `after`.
        listener = Listener(last=every[1]["id"])
        async with listening_to(deployment, STREAM, listener, params={"after": "0"}):
            await has(deployment, lambda: listener.events)
        assert [event["data"]["id"] for event in listener.events] == jobs[2:]


async def test_a_stream_is_filtered_by_type(deployment: Deployment) -> None:
    endpoint = await deployment.subscribe("job.canceled")
    async with (
        listening_to(deployment, STREAM, params={"type": "endpoint.*"}) as tests,
        listening_to(deployment, STREAM, params={"type": "job.canceled"}) as jobs,
        listening_to(deployment, STREAM, params={"type": "*"}) as every,
    ):
        await has(deployment, lambda: tests.retry and jobs.retry and every.retry)
        await ended_job(deployment)
        await asked(deployment, "POST", f"/v1/endpoints/{endpoint['id']}/test")
        await ended_job(deployment)
        await has(deployment, lambda: len(every.events) == 3 and len(jobs.events) == 2 and tests.events)
    assert every.types == ["job.canceled", "endpoint.test", "job.canceled"]
    assert tests.types == ["endpoint.test"]
    assert jobs.types == ["job.canceled"] * 2


async def test_a_wrong_place_or_type_is_refused_before_anything_is_sent(deployment: Deployment) -> None:
    for query, name in (
        ("after=x", "after"),
        ("type=job.done", "type"),
        ("job=x", "job"),
        ("wait=3", "wait"),
    ):
        told = problem(await deployment.client.get(f"{STREAM}?{query}"), 422, "validation")
        assert [one["name"] for one in told["errors"]] == [name]
    answer = await deployment.client.get(STREAM, headers=[("last-event-id", "x")])
    assert [one["in"] for one in problem(answer, 422, "validation")["errors"]] == ["header"]
    answer = await deployment.client.get(STREAM, headers=[("last-event-id", "1"), ("last-event-id", "2")])
    problem(answer, 422, "validation")
    answer = await deployment.client.head(STREAM)
    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_place_that_retention_removed_is_one_gap(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, SILENT, clock=moving.clock) as deployment:
        await ended_job(deployment)
        [lost] = await listed(deployment, "/v1/events")
        moving.wait(40 * 86_400)
        kept = await ended_job(deployment)
        await deployment.services.retention.sweep()
        listener = Listener(last=lost["id"])
        async with listening_to(deployment, STREAM, listener):
            await has(deployment, lambda: listener.events)
        assert [event["data"]["id"] for event in listener.events] == [kept["id"]]
        assert listener.gaps == [{"oldest": listener.ids[0]}]


async def test_a_quiet_stream_has_a_comment_now_and_then(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "QUIET", 0.01)
    async with listening_to(deployment, STREAM) as listener:
        await has(deployment, lambda: listener.comments > 2)
        await ended_job(deployment)
        await has(deployment, lambda: listener.events)


async def test_two_hundred_lost_connections_lose_and_double_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients leave at any moment while jobs end, with a ring so small that the store serves as well."""
    monkeypatch.setattr(ring, "COUNT", 5)
    chance = random.Random(14)
    async with deployed(tmp_path, SILENT) as deployment:
        every, some = Listener(last="0"), Listener(last="0")
        jobs: list[str] = []

        async def submit() -> None:
            while len(jobs) < 100:
                jobs.append((await ended_job(deployment))["id"])

        async with asyncio.timeout(PATIENCE):
            submitting = asyncio.create_task(submit())
            for _ in range(100):
                for listener, query in ((every, {}), (some, {"type": "job.*"})):
                    goal = len(listener.events) + chance.randrange(3)
                    async with listening_to(deployment, STREAM, listener, params=query):
                        # Now at once, now after some events: both must be safe.
                        await has(
                            deployment,
                            lambda: len(listener.events) >= goal or submitting.done(),  # noqa: B023  # awaited here
                        )
            await submitting
            for listener in (every, some):
                async with listening_to(deployment, STREAM, listener):
                    await has(deployment, lambda: len(listener.events) >= len(jobs))  # noqa: B023  # awaited here
        feed = [event["id"] for event in await listed(deployment, "/v1/events")]
        assert len(feed) == len(jobs)
        assert every.ids == feed
        assert some.ids == feed


@contextlib.asynccontextmanager
async def browser(deployment: Deployment) -> AsyncIterator[Deployment]:
    """Yield the deployment as a client without an API key sees it."""
    async with httpx.AsyncClient(base_url=deployment.url, timeout=PATIENCE) as client:
        yield replace(deployment, client=client)


async def token_of(deployment: Deployment, job: dict[str, Any], **body: Any) -> dict[str, str]:
    """Return the query that reads a job with a new token."""
    made = await asked(
        deployment, "POST", f"/v1/jobs/{job['id']}/token", 201, **({"json": body} if body else {})
    )
    assert made["token"].startswith("rbj_")
    return {"token": made["token"]}


async def test_a_job_is_followed_to_its_end_with_a_token_alone(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment, browser(deployment) as page:
        job, other = await open_job(deployment), await open_job(deployment)
        token, path = await token_of(deployment, job), f"/v1/jobs/{job['id']}"
        async with listening_to(page, f"{path}/stream", params=token) as listener:
            await has(page, lambda: listener.retry)
            await call_back(deployment, other, finished(other))
            await call_back(deployment, job, says(job, "processing"))
            await call_back(deployment, job, finished(job))
            await has(page, lambda: len(listener.events) == 2)
        assert listener.types == ["job.running", "job.succeeded"]
        assert {event["data"]["id"] for event in listener.events} == {job["id"]}
        assert (await asked(page, "GET", path, params=token))["state"] == "succeeded"
        # A browser that comes back with the last event is told to stay away.
        last = {"last-event-id": listener.last}
        back = await page.client.get(f"{path}/stream", params=token, headers=last)
        assert (back.status_code, back.content) == (204, b"")


async def test_a_stream_ends_with_the_key_that_opened_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "CHECKED", 0.0)
    async with deployed(tmp_path, SILENT) as deployment, browser(deployment) as page:
        key = await asked(deployment, "POST", "/v1/keys", 201, json={"name": "k", "scopes": ["events:read"]})
        headers = {"authorization": f"Bearer {key['key']}"}
        async with listening_to(page, "/v1/events/stream", headers=headers) as listener:
            await ended_job(deployment)
            await has(page, lambda: listener.events)
            seen = len(listener.events)
            await asked(deployment, "DELETE", f"/v1/keys/{key['id']}", 204)
            await ended_job(deployment)
            async with asyncio.timeout(PATIENCE):
                await listener.ended.wait()
            assert len(listener.events) == seen


async def test_a_page_of_another_origin_may_read_with_a_token(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment, browser(deployment) as page:
        job = await ended_job(deployment)
        token = await token_of(deployment, job)
        for path in (f"/v1/jobs/{job['id']}", f"/v1/jobs/{job['id']}/stream"):
            asks = {"origin": "https://a.example", "access-control-request-method": "GET"}
            answer = await page.client.options(path, headers=asks)
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "*")
            assert "authorization" in answer.headers["access-control-allow-headers"]
            for query, status in ((token, 200), ({"token": "rbj_x"}, 401)):
                answer = await page.client.get(path, params=query)
                assert answer.status_code == status
                assert answer.headers["access-control-allow-origin"] == "*"
        answer = await deployment.client.get("/v1/jobs")
        assert "access-control-allow-origin" not in answer.headers


async def test_a_token_reads_its_job_and_nothing_else(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment, browser(deployment) as page:
        job, other = await ended_job(deployment), await ended_job(deployment)
        bearer = {"authorization": f"Bearer {(await token_of(deployment, job))['token']}"}
        for method, path, status in (
            ("GET", f"/v1/jobs/{job['id']}", 200),
            ("GET", f"/v1/jobs/{other['id']}", 403),
            ("GET", f"/v1/jobs/{other['id']}/stream", 403),
            ("GET", f"/v1/jobs/{job['id']}/timeline", 403),
            ("POST", f"/v1/jobs/{job['id']}/cancel", 403),
            ("POST", f"/v1/jobs/{job['id']}/token", 403),
            ("DELETE", f"/v1/jobs/{job['id']}", 403),
            ("GET", "/v1/jobs", 403),
            ("GET", STREAM, 403),
        ):
            answer = await page.client.request(method, path, headers=bearer)
            assert answer.status_code == status, path


async def test_a_token_lives_for_as_long_as_was_asked(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, SILENT, clock=moving.clock) as deployment:
        job = await open_job(deployment)
        path, token = f"/v1/jobs/{job['id']}", await token_of(deployment, job, seconds=60)
        async with browser(deployment) as page:
            await asked(page, "GET", path, params=token)
            moving.wait(61)
            problem(await page.client.get(path, params=token), 401, "unauthorized")
        for seconds in (0, -1, 86_401, 1.5, "60", None):
            answer = await deployment.client.post(f"{path}/token", json={"seconds": seconds})
            problem(answer, 422, "validation")
        problem(await deployment.client.post(f"/v1/jobs/job_{'0' * 32}/token"), 404, "not-found")


async def test_the_stream_of_a_final_job_tells_its_events_and_ends(deployment: Deployment) -> None:
    job = await ended_job(deployment)
    answer = await deployment.client.get(f"/v1/jobs/{job['id']}/stream")
    listener = Listener()
    await listener.read(answer)
    assert listener.types == ["job.canceled"]
    problem(await deployment.client.get(f"/v1/jobs/job_{'0' * 32}/stream"), 404, "not-found")


async def test_a_stream_ends_in_time_when_the_service_stops(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=3600)) as deployment:
        await deployment.submit(asking("apiframe"))
        async with listening_to(deployment, STREAM) as listener:
            await has(deployment, lambda: listener.retry)
            await deployment.services.drain()
            await has(deployment, lambda: not deployment.services.api.feed._readers)  # none left


async def test_events_may_gather_and_none_is_lost(tmp_path: Path) -> None:
    async with (
        deployed(tmp_path, Knobs(takes=0.1)) as deployment,
        listening_to(deployment, "/v1/events/stream?every=0.3") as gathers,
        listening_to(deployment, "/v1/events/stream") as at_once,
    ):
        jobs = [await deployment.submit(asking("apiframe")) for _ in range(20)]
        for job in jobs:
            await deployment.final(job["id"])

        async def both() -> tuple[list[str], list[str]]:
            return gathers.ids, at_once.ids

        ids, others = await deployment.until(both, lambda found: len(found[0]) == len(found[1]) >= 40)
        assert ids == others
        assert len(set(ids)) == len(ids)


async def test_a_gathering_stream_ends_with_its_reader_and_with_the_service(tmp_path: Path) -> None:
    async with deployed(tmp_path) as deployment:
        feed = deployment.services.api.feed
        async with listening_to(deployment, "/v1/events/stream?every=10") as gathers:
            job = await deployment.submit(asking("apiframe"))
            await deployment.final(job["id"])

            async def first() -> list[str]:
                return gathers.ids

            await deployment.until(first, bool)

        async def left() -> bool:
            return not feed._readers

        assert await deployment.until(left, bool)
        answer = await deployment.client.get("/v1/events/stream", params={"every": "11"})
        assert answer.status_code == 422
