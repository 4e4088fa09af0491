"""Callbacks that prove nothing or must be confirmed: each is a hint, and a poll decides."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from handlers import json
from receiver.domain.lifecycle import RESULT_GAP
from receiver.sandbox.world import Knobs
from tests.stories.deployment import Deployment, asking, deployed
from tests.stories.tools import (
    SILENT,
    Moving,
    at_least,
    event_types,
    finished,
    open_job,
    outcomes,
    problem,
    ring,
)

QUERY = "GET /minimax/v1/query/video_generation"
FETCH = "POST /apiframe/fetch"
RESULT = "GET /aiml/v1/generation/tasks/video/"


async def knock(deployment: Deployment, job: dict[str, Any], body: dict[str, Any], status: int = 200) -> Any:
    """Post to the callback URL of a job without any proof."""
    answer = await deployment.client.post(deployment.callback(job)[0], content=json.write(body))
    assert answer.status_code == status
    return answer.json()


async def counted(deployment: Deployment, call: str) -> int:
    """Return the number of calls to a provider."""
    return deployment.front.count(call)


async def test_minimax_gets_its_challenge_echoed(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        job = await open_job(deployment, "minimax")
        before = await deployment.job(job["id"])
        assert await knock(deployment, job, {"challenge": "3f\u00e9 9"}) == {"challenge": "3f\u00e9 9"}
        told = await deployment.client.post(
            f"{deployment.url}/callbacks/minimax/a.b.c", content=json.write({"challenge": "x"})
        )
        assert "challenge" not in problem(told, 401, "unauthorized")
        assert await deployment.job(job["id"]) == before
        assert await outcomes(deployment, job["id"]) == []


async def test_a_hint_of_minimax_is_confirmed_by_one_poll(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=0.0, lost=1.0)) as deployment:
        job = await open_job(deployment, "minimax")
        assert deployment.front.count(QUERY) == 0
        hint = {"task_id": job["provider_job_id"], "status": "success", "file_id": "1"}
        assert await knock(deployment, job, hint) == {"received": True}
        done = await deployment.final(job["id"])
        assert (done["state"], done["completed_by"]) == ("succeeded", "poll")
        assert await outcomes(deployment, job["id"]) == ["hint"]
        await knock(deployment, job, hint)
        assert deployment.front.count(QUERY) == 1
        assert await event_types(deployment, job["id"]) == ["job.succeeded"]


async def test_a_forged_hint_ends_nothing(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        job = await open_job(deployment, "minimax")
        for status in ("success", "failed"):
            await knock(
                deployment, job, {"task_id": job["provider_job_id"], "status": status, "file_id": "1"}
            )
        await deployment.until(lambda: outcomes(deployment, job["id"], "poll"), bool)
        told = await deployment.job(job["id"])
        assert (told["state"], told["completed_at"], told["assets"]) == ("queued", None, [])


async def test_where_every_callback_is_confirmed_the_poll_decides(tmp_path: Path) -> None:
    always = {"confirm": "always"}
    async with deployed(tmp_path, SILENT, always) as deployment:
        job = await open_job(deployment)
        await ring(deployment, job, finished(job))
        await deployment.until(lambda: outcomes(deployment, job["id"], "poll"), bool)
        assert (await deployment.job(job["id"]))["completed_at"] is None
        made = deployment.world.jobs[job["provider_job_id"]]
        made.takes = 0.0
        await ring(deployment, job, finished(job, video_url="https://forged.example/0.mp4"))
        done = await deployment.final(job["id"])
        assert (done["state"], done["completed_by"]) == ("succeeded", "poll")
        assert done["assets"][0]["provider_url"] == made.file("0.mp4")
        assert await outcomes(deployment, job["id"]) == ["hint", "hint"]


async def test_a_success_without_a_file_is_asked_about_before_it_is_believed(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=0.0, lost=1.0)) as deployment:
        job = await open_job(deployment)
        await ring(deployment, job, finished(job, video_url=None))
        done = await deployment.final(job["id"])
        assert (done["state"], done["completed_by"]) == ("succeeded", "poll")
        assert await outcomes(deployment, job["id"]) == ["incomplete"]
        assert deployment.front.count(FETCH) == 1


async def test_a_success_that_never_shows_its_file_fails(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(
        tmp_path, Knobs(takes=0.0), {"poll_interval": 0.02}, clock=moving.clock
    ) as deployment:
        job = await deployment.submit(asking("aiml", "a tide, empty"))
        for _ in range(4):
            before = deployment.front.count(RESULT)
            await deployment.until(lambda: counted(deployment, RESULT), at_least(before + 2))
            assert (await deployment.job(job["id"]))["completed_at"] is None
            moving.wall += RESULT_GAP
        done = await deployment.final(job["id"])
        assert (done["state"], done["error"]["code"]) == ("failed", "result_missing")


async def test_an_unreadable_callback_makes_us_ask(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=0.0, lost=1.0)) as deployment:
        job = await open_job(deployment)
        await ring(deployment, job, b"\xff")
        done = await deployment.final(job["id"])
        assert (done["state"], done["completed_by"]) == ("succeeded", "poll")
        assert await outcomes(deployment, job["id"]) == ["unparsed"]


async def test_a_job_that_the_provider_keeps_denying_is_lost_in_the_end(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, SILENT, {"poll_interval": 0.01}, clock=moving.clock) as deployment:
        job = await open_job(deployment, "getimg")
        del deployment.world.jobs[job["provider_job_id"]]

        async def denials() -> int:
            return (await outcomes(deployment, job["id"], "poll")).count("error")

        await deployment.until(denials, at_least(10))
        assert (await deployment.job(job["id"]))["completed_at"] is None
        moving.wall += timedelta(minutes=2)
        done = await deployment.final(job["id"])
        assert (done["state"], done["error"]["code"], done["completed_by"]) == ("failed", "lost", "poll")
        assert await event_types(deployment, job["id"]) == ["job.running", "job.failed"]
