"""Reasons for which an open job does not move, as answers show them: each with its time and its end."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers.errors import AccountRefused
from receiver.sandbox.world import Knobs
from tests.stories.deployment import Deployment, asking, deployed
from tests.stories.tools import SILENT, Moving, listed, open_job

QUICK = Knobs(takes=0.0)


async def told(deployment: Deployment, job: dict[str, Any]) -> dict[str, Any]:
    """Return why a job waits."""
    found: dict[str, Any] = (await deployment.job(job["id"]))["waiting"] or {}
    return found


async def reason(deployment: Deployment, job: dict[str, Any], wanted: str) -> dict[str, Any]:
    """Return the reason of a job once it is `wanted`, both alone and in a list."""

    async def shown() -> list[dict[str, Any]]:
        jobs = await listed(deployment, "/v1/jobs")
        return [
            await told(deployment, job),
            *(one["waiting"] or {} for one in jobs if one["id"] == job["id"]),
        ]

    # Both are read in one look: a call that goes out between two answers is no wait, and the account shows
    # its end before the job does.
    found: list[dict[str, Any]] = await deployment.until(
        shown, lambda both: [one.get("reason") for one in both] == [wanted, wanted]
    )
    assert list(found[0]) == ["reason", "detail", "since", "until"]
    return found[0]


def moment(text: str) -> datetime:
    """Return the moment in an answer."""
    return datetime.fromisoformat(text)


async def test_a_provider_that_is_not_reached(tmp_path: Path, unserved: str) -> None:
    async with deployed(tmp_path, QUICK, {"base_url": unserved}) as deployment:
        waiting = await reason(deployment, await deployment.submit(asking("aiml")), "unreachable")
        assert waiting["detail"].startswith("connect: ")
        assert moment(waiting["until"]) > moment(waiting["since"])


async def test_a_provider_that_throttles(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, QUICK, clock=moving.clock) as deployment:
        deployment.front.away = 429
        job = await deployment.submit(asking("aiml"))
        waiting = await reason(deployment, job, "throttled")
        assert moment(waiting["until"]) > moment(waiting["since"])
        deployment.front.away = None
        moving.wall += timedelta(hours=1)
        moving.passed += 3600.0
        done = await deployment.final(job["id"])
        assert (done["state"], done["waiting"]) == ("succeeded", None)


@pytest.mark.parametrize(
    ("status", "troubled", "state", "wanted"),
    [(429, 1, "pending", "throttled"), (500, 3, "unconfirmed", "unreachable")],
)
async def test_a_job_behind_others_that_slow_its_account(
    tmp_path: Path, status: int, troubled: int, state: str, wanted: str
) -> None:
    moving = Moving()
    async with deployed(tmp_path, QUICK, clock=moving.clock) as deployment:
        deployment.front.away = status
        moving.stop()
        for _ in range(troubled):
            job = await deployment.submit(asking("aiml"))
            await (
                reason(deployment, job, wanted)
                if state == "pending"
                else deployment.in_state(job["id"], state)
            )
        behind = await deployment.submit(asking("aiml"))
        waiting = await reason(deployment, behind, wanted)
        assert waiting["detail"].endswith(": submissions to the account go out one at a time")
        assert moment(waiting["until"]) > moment(waiting["since"]) >= moment(behind["created_at"])
        deployment.front.away = None
        moving.go()
        moving.wall += timedelta(hours=1)
        moving.passed += 3600.0
        done = await deployment.final(behind["id"])
        assert (done["state"], done["waiting"]) == ("succeeded", None)


async def test_an_account_that_is_blocked(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, QUICK, clock=moving.clock) as deployment:
        deployment.front.away = 401
        first = await deployment.submit(asking("aiml"))
        waiting = await reason(deployment, first, "account_blocked")
        assert moment(waiting["until"]) > moment(waiting["since"])
        second = await deployment.submit(asking("aiml"))
        behind = await reason(deployment, second, "account_blocked")
        assert moment(behind["until"]) > moment(behind["since"]), "one that was never sent knows it, too"
        deployment.front.away = None
        moving.wall += timedelta(hours=1)
        moving.passed += 3600.0
        for job in (first, second):
            assert (await deployment.final(job["id"]))["waiting"] is None


async def test_a_refusal_in_our_own_words_is_told_whole_whatever_the_key_is(tmp_path: Path) -> None:
    async with deployed(tmp_path, QUICK, {"api_key": "wrong"}) as deployment:
        deployment.front.away = 401
        waiting = await reason(deployment, await deployment.submit(asking("aiml")), "account_blocked")
        assert waiting["detail"] == AccountRefused.meaning()
        assert "wrong key" in waiting["detail"]


async def test_an_account_whose_jobs_are_as_many_as_it_may_run(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT, {"max_jobs": 1}) as deployment:
        assert (await open_job(deployment))["waiting"] is None
        waiting = await reason(deployment, await deployment.submit(asking("apiframe")), "account_full")
        assert waiting["detail"] == "max_jobs of the account is 1, and as many run at the provider"
        assert waiting["until"] is None


async def test_an_account_whose_calls_are_all_under_way(tmp_path: Path) -> None:
    moving, gate = Moving(), asyncio.Event()
    async with deployed(tmp_path, QUICK, {"max_in_flight": 1}, clock=moving.clock) as deployment:
        inner = deployment.front.app

        async def held(scope: Any, receive: Any, send: Any) -> None:
            await gate.wait()
            await inner(scope, receive, send)

        deployment.front.app = held
        first = await deployment.submit(asking("apiframe"))
        await deployment.in_state(first["id"], "submitting")
        second = await deployment.submit(asking("apiframe"))
        moving.wall += timedelta(seconds=2)
        waiting = await reason(deployment, second, "account_full")
        assert waiting["detail"] == "every call that max_in_flight of the account allows is under way"
        gate.set()
        for job in (first, second):
            assert (await deployment.final(job["id"]))["waiting"] is None


@pytest.mark.parametrize("status", [503, 429, 404])
async def test_a_poll_that_fails(tmp_path: Path, status: int) -> None:
    moving = Moving()
    async with deployed(tmp_path, SILENT, clock=moving.clock) as deployment:
        job = await open_job(deployment, "aiml")
        deployment.front.away = status
        waiting = await reason(deployment, job, "poll_failing")
        assert moment(waiting["until"]) > moment(waiting["since"])
        deployment.front.away = None
        moving.wall += timedelta(minutes=2)
        moving.passed += 120.0
        await deployment.until(lambda: told(deployment, job), lambda found: not found)
