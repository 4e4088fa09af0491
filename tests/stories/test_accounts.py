"""Accounts at providers: blocked, throttled, full, slow or off, and no job is lost because of it."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

from receiver.sandbox.providers import SPEAKERS
from receiver.sandbox.world import Knobs
from tests.stories.deployment import Deployment, asking, deployed
from tests.stories.tools import (
    SILENT,
    Moving,
    asked,
    at_least,
    event_types,
    finished,
    gated,
    listed,
    open_job,
    outcomes,
    passed_by,
    problem,
    ring,
)

SUBMIT = "POST /apiframe/runway-imagine"
PROBE = 6.0
"""Seconds after which the first probe of a blocked account is due."""


async def account(deployment: Deployment, name: str) -> dict[str, Any]:
    """Return the entry of an account in `GET /v1/providers`."""
    [found] = [one for one in await told_providers(deployment) if one["id"] == name]
    return found


async def told_providers(deployment: Deployment) -> list[dict[str, Any]]:
    """Return every account."""
    found: list[dict[str, Any]] = (await asked(deployment, "GET", "/v1/providers"))["data"]
    return found


async def news(deployment: Deployment, kind: str, count: int) -> list[dict[str, Any]]:
    """Return the events of a type, once there are `count` of them."""
    found: list[dict[str, Any]] = await deployment.until(
        lambda: listed(deployment, "/v1/events", type=kind), lambda events: len(events) >= count
    )
    return found


async def test_every_provider_s_refusal_of_the_account_pauses_it(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, Knobs(takes=0.1), clock=moving.clock) as deployment:
        moving.stop()
        await deployment.subscribe("provider.*")
        stuck = [await deployment.submit(asking(name, "a tide, blocked")) for name in SPEAKERS]
        events = await news(deployment, "provider.blocked", len(SPEAKERS))
        assert {event["data"]["id"] for event in events} == set(SPEAKERS)
        assert all(one["blocked"] and one["blocked_reason"] for one in await told_providers(deployment))
        later = [await deployment.submit(asking(name)) for name in SPEAKERS]
        for job in (*stuck, *later):
            assert (await deployment.job(job["id"]))["state"] == "pending"
        for job in stuck:
            await asked(deployment, "POST", f"/v1/jobs/{job['id']}/cancel")
        moving.wait(PROBE)
        moving.go()
        for job in later:
            assert (await deployment.final(job["id"]))["state"] == "succeeded"
        events = await news(deployment, "provider.unblocked", len(SPEAKERS))
        assert {event["data"]["id"] for event in events} == set(SPEAKERS)
        assert not any(one["blocked"] for one in await told_providers(deployment))
        assert len(await listed(deployment, "/v1/events", type="provider.*")) == 2 * len(SPEAKERS)
        sent = await deployment.until(lambda: heard(deployment), lambda told: len(told) == 2 * len(SPEAKERS))
        assert {(one["data"]["blocked"], one["type"]) for one in sent} == {
            (True, "provider.blocked"),
            (False, "provider.unblocked"),
        }


async def heard(deployment: Deployment) -> list[dict[str, Any]]:
    """Return the events that the downstream received."""
    return deployment.hook.events()


async def test_a_blocked_account_is_probed_by_one_call_at_a_time(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, clock=moving.clock) as deployment:
        moving.stop()
        jobs = [await deployment.submit(asking("apiframe", "a tide, blocked"))]
        await news(deployment, "provider.blocked", 1)
        jobs += [await deployment.submit(asking("apiframe", "a tide, blocked")) for _ in range(10)]
        for probes in (1, 2):
            await passed_by(deployment, "imagineo")
            assert deployment.front.count(SUBMIT) == probes
            moving.wait(PROBE * probes)
            await deployment.until(lambda: submissions(deployment), at_least(probes + 1))
        for job in jobs:
            await deployment.in_state(job["id"], "pending")
        assert len(await listed(deployment, "/v1/events", type="provider.*")) == 1


async def submissions(deployment: Deployment) -> int:
    """Return the number of submissions to apiframe."""
    return deployment.front.count(SUBMIT)


async def test_a_block_outlives_a_restart_and_is_probed_when_its_time_has_come(tmp_path: Path) -> None:
    moving = Moving()
    moving.stop()
    async with deployed(tmp_path, accounts_with={"api_key": "wrong"}, clock=moving.clock) as deployment:
        job = await deployment.submit(asking("apiframe"))
        await news(deployment, "provider.blocked", 1)
        assert (await account(deployment, "apiframe"))["blocked"]
    async with deployed(tmp_path, Knobs(takes=0.1), clock=moving.clock) as deployment:
        assert (await account(deployment, "apiframe"))["blocked"]
        moving.wait(PROBE)
        other = await deployment.submit(asking("apiframe"))
        moving.go()
        assert (await deployment.final(other["id"]))["state"] == "succeeded"
        await news(deployment, "provider.unblocked", 1)
        assert (await deployment.final(job["id"]))["state"] == "succeeded"
        assert deployment.world.accepted["apiframe"] == 2


async def test_a_probe_that_came_due_while_the_service_was_away_goes_out_at_its_start(tmp_path: Path) -> None:
    moving = Moving()
    moving.stop()
    async with deployed(tmp_path, accounts_with={"api_key": "wrong"}, clock=moving.clock) as deployment:
        job = await deployment.submit(asking("apiframe"))
        await news(deployment, "provider.blocked", 1)
    moving.wait(PROBE)
    async with deployed(tmp_path, Knobs(takes=0.1), clock=moving.clock) as deployment:
        assert (await deployment.final(job["id"]))["state"] == "succeeded"
        await news(deployment, "provider.unblocked", 1)
        assert deployment.world.accepted["apiframe"] == 1


async def test_a_key_that_stops_working_fails_no_running_job(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, Knobs(takes=0.0), clock=moving.clock) as deployment:
        deployment.world.set(takes=3600)
        job = await open_job(deployment, "aiml")
        deployment.front.away = 401
        await news(deployment, "provider.blocked", 1)
        told = await deployment.job(job["id"])
        assert (told["completed_at"], told["error"]) == (None, None)
        deployment.world.jobs[job["provider_job_id"]].takes = 0.0
        deployment.front.away = None
        moving.wait(PROBE)
        assert (await deployment.final(job["id"]))["state"] == "succeeded"
        await news(deployment, "provider.unblocked", 1)


async def test_a_provider_that_is_away_fails_no_running_job(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, SILENT, {"poll_interval": 0.02}, clock=moving.clock) as deployment:
        job = await open_job(deployment, "aiml")
        for status in (500, 503, 429, 404, 200):
            before = len(deployment.front.calls)
            deployment.front.away = status
            await deployment.until(lambda: calls(deployment), at_least(before + 1))
            moving.wait(2)
        deployment.world.jobs[job["provider_job_id"]].takes = 0.0
        deployment.front.away = None
        done = await deployment.final(job["id"])
        assert (done["state"], done["error"]) == ("succeeded", None)
        assert await event_types(deployment, job["id"]) == ["job.succeeded"]


async def calls(deployment: Deployment) -> int:
    """Return the number of calls that the providers received."""
    return len(deployment.front.calls)


async def test_a_throttled_submission_goes_again(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, Knobs(takes=0.1), clock=moving.clock) as deployment:
        moving.stop()
        jobs = [await deployment.submit(asking(name, f"throttled {name}")) for name in SPEAKERS]
        for job in jobs:
            await deployment.until(partial(outcomes, deployment, job["id"], "submission"), bool)
        assert {(await deployment.job(job["id"]))["state"] for job in jobs} == {"pending"}
        moving.wait(5)
        moving.go()
        for job in jobs:
            assert (await deployment.final(job["id"]))["state"] == "succeeded"
            assert len(await outcomes(deployment, job["id"], "submission")) == 2
        assert dict(deployment.world.accepted) == dict.fromkeys(SPEAKERS, 1)
        assert await listed(deployment, "/v1/events", type="provider.*") == []


async def test_no_more_jobs_run_at_the_provider_than_allowed(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT, {"max_jobs": 2}) as deployment:
        jobs = [await open_job(deployment), await open_job(deployment)]
        waiting = [await deployment.submit(asking("apiframe")) for _ in range(2)]
        deployment.world.set(takes=0.1)
        await passed_by(deployment)
        assert [(await deployment.job(job["id"]))["state"] for job in waiting] == ["pending"] * 2
        deployment.world.set(takes=3600)
        for count, job in enumerate(jobs, 3):
            await ring(deployment, job, finished(job))
            await deployment.until(lambda: submissions(deployment), at_least(count))
        for job in waiting:
            assert (await deployment.in_state(job["id"], "queued"))["provider_job_id"]
        assert deployment.world.accepted["apiframe"] == 4


async def test_no_more_calls_go_per_second_than_allowed(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, SILENT, {"rate_limit": 0.01}, clock=moving.clock) as deployment:
        moving.stop()
        for _ in range(3):
            await deployment.submit(asking("apiframe"))
        for count in range(1, 4):
            await deployment.until(lambda: submissions(deployment), at_least(count))
            await asked(deployment, "GET", "/v1/providers")
            assert deployment.front.count(SUBMIT) == count
            moving.wait(101.0)


async def test_no_more_calls_are_under_way_than_allowed(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT, {"max_in_flight": 2}) as deployment:
        gate = gated(deployment)
        jobs = [await deployment.submit(asking("apiframe")) for _ in range(10)]
        await deployment.until(lambda: asyncio.sleep(0, deployment.front.under_way), lambda count: count == 2)
        gate.open.set()
        for job in jobs:
            await deployment.in_state(job["id"], "queued")
        assert deployment.front.most == 2


async def test_an_account_without_a_key_is_off_and_keeps_its_jobs(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, accounts_with={"api_key": "wrong"}) as deployment:
        job = await deployment.submit(asking("apiframe"))
        await news(deployment, "provider.blocked", 1)
    async with deployed(tmp_path, accounts_with={"api_key": None}) as deployment:
        assert not (await account(deployment, "apiframe"))["on"]
        told = problem(await deployment.client.post("/v1/jobs", json=asking("apiframe")), 422, "validation")
        assert told["errors"][0]["pointer"] == "/provider"
        assert (await deployment.job(job["id"]))["state"] == "pending"
        assert deployment.front.calls == []
    moving.wait(PROBE)
    async with deployed(tmp_path, Knobs(takes=0.1), clock=moving.clock) as deployment:
        assert (await deployment.final(job["id"]))["state"] == "succeeded"


async def test_a_refused_job_fails_alone(deployment: Deployment) -> None:
    jobs = await asyncio.gather(
        *(deployment.submit(asking(name, "a tide, refused")) for name in SPEAKERS),
    )
    for job in jobs:
        done = await deployment.final(job["id"])
        assert (done["state"], done["completed_by"]) == ("failed", "submit")
        assert done["error"]["code"] == "rejected"
        assert await event_types(deployment, job["id"]) == ["job.failed"]
    assert not any(one["blocked"] for one in await told_providers(deployment))
    job = await deployment.submit(asking("apiframe", "a tide, fail"))
    done = await deployment.final(job["id"])
    assert (done["state"], done["error"]["code"]) == ("failed", "generation_failed")
    health = (await account(deployment, "apiframe"))["health"]
    assert (health["submissions"], health["error_rate"]) == (2, 0.5)
