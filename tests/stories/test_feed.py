"""The feed: every event once, in one order, from any position that still exists."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.sandbox.world import Knobs
from tests.stories.deployment import PATIENCE, Deployment, asking, deployed
from tests.stories.tools import (
    SILENT,
    Moving,
    asked,
    ended_job,
    finished,
    listed,
    open_job,
    problem,
    ring,
    says,
)

pytestmark = pytest.mark.providers(SILENT)


async def page(deployment: Deployment, **query: Any) -> dict[str, Any]:
    """Return one page of the feed."""
    told = await asked(deployment, "GET", "/v1/events", params=query)
    assert isinstance(told["next_cursor"], str)
    return told


async def walk(deployment: Deployment, limit: int, **query: Any) -> list[dict[str, Any]]:
    """Return every matching event, page by page."""
    found: list[dict[str, Any]] = []
    place: dict[str, str] = {}
    while True:
        told = await page(deployment, limit=limit, **query, **place)
        assert len(told["data"]) <= limit
        found += told["data"]
        place = {"after": told["next_cursor"]}
        if not told["has_more"]:
            assert (await page(deployment, limit=limit, **query, **place))["data"] == []
            return found


async def lived_job(deployment: Deployment, **others: Any) -> dict[str, Any]:
    """Return a job with two events: it ran and succeeded."""
    job = await open_job(deployment, **others)
    await ring(deployment, job, says(job, "processing"))
    await ring(deployment, job, finished(job))
    return job


async def test_the_feed_is_walked_from_the_oldest_on(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        empty = await page(deployment)
        assert (empty["data"], empty["has_more"]) == ([], False)
        jobs = [await lived_job(deployment) for _ in range(3)]
        every = await walk(deployment, 200)
        assert [(one["data"]["id"], one["type"]) for one in every] == [
            (job["id"], kind) for job in jobs for kind in ("job.running", "job.succeeded")
        ]
        assert len({one["id"] for one in every}) == 6
        for limit in (1, 2, 4, 6):
            assert await walk(deployment, limit) == every
        assert (await page(deployment, limit=2))["has_more"]
        assert (await page(deployment, after=empty["next_cursor"]))["data"] == every
        for index, event in enumerate(every):
            assert (await page(deployment, after=event["id"]))["data"] == every[index + 1 :]
            assert (await page(deployment, cursor=event["id"]))["data"] == every[index + 1 :]


async def test_the_feed_is_filtered(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        jobs = [await lived_job(deployment) for _ in range(2)]
        endpoint = await deployment.subscribe("job.failed")
        await asked(deployment, "POST", f"/v1/endpoints/{endpoint['id']}/test")
        every = await listed(deployment, "/v1/events")
        rows: list[tuple[dict[str, str], int]] = [
            ({"type": "job.succeeded"}, 2),
            ({"type": "job.*"}, 4),
            ({"type": "*"}, 5),
            ({"type": "endpoint.test"}, 1),
            ({"type": "endpoint.*"}, 1),
            ({"type": "provider.*"}, 0),
            ({"job": jobs[0]["id"]}, 2),
            ({"job": jobs[1]["id"], "type": "job.running"}, 1),
            ({"job": "job_none"}, 0),
        ]
        for query, count in rows:
            kind = query.get("type", "*").removesuffix("*")
            expected = [
                one
                for one in every
                if one["type"].startswith(kind) and query.get("job", one["data"]["id"]) == one["data"]["id"]
            ]
            assert len(expected) == count
            assert await walk(deployment, 1, **query) == expected


async def test_a_wrong_question_is_refused(deployment: Deployment) -> None:
    rows = [
        ("type", "job.exploded"),
        ("type", "jo*"),
        ("type", "%"),
        ("after", "x"),
        ("after", "-1"),
        ("after", "1e3"),
        ("after", "\u0663"),
        ("after", "9" * 30),
        ("after", "evt_short"),
        ("cursor", "x"),
        ("limit", "0"),
        ("limit", "201"),
        ("wait", "61"),
        ("wait", "-1"),
        ("wait", "nan"),
        ("place", "1"),
    ]
    for name, value in rows:
        told = problem(await deployment.client.get("/v1/events", params={name: value}), 422, "validation")
        assert [(one["in"], one["name"]) for one in told["errors"]] == [("query", name)]


async def test_a_reader_that_waits_is_woken(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        other, job = await open_job(deployment), await open_job(deployment)
        place = (await page(deployment))["next_cursor"]
        waiting = asyncio.create_task(page(deployment, after=place, wait=30))
        choosy = asyncio.create_task(
            page(deployment, after=place, wait=30, job=job["id"], type="job.succeeded")
        )
        await asked(deployment, "GET", "/healthz")
        await ring(deployment, other, finished(other))
        [event] = (await waiting)["data"]
        assert (event["type"], event["data"]["id"]) == ("job.succeeded", other["id"])
        assert not choosy.done()
        await ring(deployment, job, finished(job))
        assert [one["data"]["id"] for one in (await choosy)["data"]] == [job["id"]]


async def test_a_reader_that_waits_in_vain_keeps_its_place(deployment: Deployment) -> None:
    await ended_job(deployment)
    place = (await page(deployment))["next_cursor"]
    told = await page(deployment, after=place, wait=0.05)
    assert told == {"data": [], "next_cursor": place, "has_more": False}


async def test_a_reader_that_follows_misses_nothing(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        jobs = await asyncio.gather(*(open_job(deployment) for _ in range(30)))
        seen: list[dict[str, Any]] = []

        async def follow() -> None:
            place = "0"
            while len({one["data"]["id"] for one in seen if one["type"] == "job.succeeded"}) < len(jobs):
                told = await page(deployment, after=place, limit=3, wait=5)
                seen.extend(told["data"])
                place = told["next_cursor"]

        async def live(job: dict[str, Any]) -> None:
            await ring(deployment, job, says(job, "processing"))
            await ring(deployment, job, finished(job))

        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(follow(), *map(live, jobs))
        assert seen == await walk(deployment, 200)
        assert len(seen) == 60


async def sweep(deployment: Deployment, moving: Moving) -> None:
    """Let retention remove everything that ended before now."""
    moving.wall += timedelta(days=4)
    await deployment.services.retention.sweep()


async def lost(deployment: Deployment, place: str) -> dict[str, Any]:
    """Return the answer for a position that no longer exists."""
    return problem(await deployment.client.get("/v1/events", params={"after": place}), 410, "gone")


async def test_a_place_that_retention_removed_is_told_as_lost(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, SILENT, clock=moving.clock, retention_days="1") as deployment:
        old = await lived_job(deployment)
        middle, end = await page(deployment, limit=1), await page(deployment)
        [first, second] = end["data"]
        await sweep(deployment, moving)
        problem(await deployment.client.get(f"/v1/jobs/{old['id']}"), 404, "not-found")
        for place in (middle["next_cursor"], first["id"], second["id"]):
            assert "oldest" not in await lost(deployment, place)
        assert (await page(deployment, after=end["next_cursor"]))["data"] == []
        fresh = await ended_job(deployment)
        [event] = (await page(deployment))["data"]
        assert event["data"]["id"] == fresh["id"]
        for place in (middle["next_cursor"], first["id"]):
            assert (await lost(deployment, place))["oldest"] == event["id"]
        assert (await page(deployment, after=end["next_cursor"]))["data"] == [event]


async def test_a_place_that_never_was_is_told_as_lost(deployment: Deployment) -> None:
    await ended_job(deployment)
    [event] = (await page(deployment))["data"]
    mark, _, _ = (await page(deployment))["next_cursor"].partition("-")
    for place in (f"{mark}-999999999999999999", "evt_" + "0" * (len(event["id"]) - 4)):
        assert (await lost(deployment, place))["oldest"] == event["id"]


async def test_a_lost_place_is_told_although_an_older_event_is_kept(tmp_path: Path) -> None:
    moving = Moving()
    unasked = {"backstop_after": 604800}
    async with deployed(tmp_path, SILENT, unasked, moving.clock, retention_days="1") as deployment:
        running = await open_job(deployment, deadline_seconds=604800)
        await ring(deployment, running, says(running, "processing"))
        await lived_job(deployment)
        unread = await page(deployment, limit=2)
        await sweep(deployment, moving)
        kept = (await page(deployment))["data"]
        assert [one["data"]["id"] for one in kept] == [running["id"]]
        assert (await lost(deployment, unread["next_cursor"]))["oldest"] == kept[0]["id"]


async def test_a_lost_event_of_an_account_is_told_as_lost(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, Knobs(takes=0.0), clock=moving.clock, retention_days="1") as deployment:
        for provider in ("apiframe", "aiml"):
            await deployment.submit(asking(provider, "a tide, blocked", deadline_seconds=604800))
        blocked = {"type": "provider.blocked"}
        await deployment.until(
            lambda: listed(deployment, "/v1/events", **blocked), lambda told: len(told) == 2
        )
        unread = await page(deployment, limit=1)
        await sweep(deployment, moving)
        assert await listed(deployment, "/v1/events", **blocked) == []
        await lost(deployment, unread["next_cursor"])
