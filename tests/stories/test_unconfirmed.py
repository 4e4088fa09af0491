"""Submissions with a lost answer: never sent twice without a decision, and never forgotten."""

import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.sandbox.world import Knobs
from tests.stories.deployment import Deployment, asking, deployed
from tests.stories.tools import (
    LINK,
    Moving,
    asked,
    event_types,
    listed,
    open_job,
    outcomes,
    passed_by,
    problem,
    ring,
)

LOST = "a tide, lost-answer, lost"
SUBMIT = "POST /apiframe/runway-imagine"


async def unconfirmed(deployment: Deployment, provider: str = "apiframe", **others: Any) -> dict[str, Any]:
    """Return a job that lost its submission's answer and its callback."""
    job = await deployment.submit(asking(provider, LOST, **others))
    return await deployment.in_state(job["id"], "unconfirmed")


async def test_a_lost_answer_is_told_and_held(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, Knobs(takes=0.0), clock=moving.clock) as deployment:
        await deployment.subscribe("job.*")
        job = await unconfirmed(deployment)
        [event] = await deployment.delivered(job["id"], "job.unconfirmed")
        assert (event["data"]["state"], event["data"]["provider_job_id"]) == ("unconfirmed", None)
        moving.wall += timedelta(hours=1)
        await passed_by(deployment)
        assert (await deployment.job(job["id"]))["state"] == "unconfirmed"
        assert (deployment.world.accepted["apiframe"], deployment.front.count(SUBMIT)) == (1, 1)
        assert await event_types(deployment, job["id"]) == ["job.unconfirmed"]


async def test_a_failing_provider_is_not_asked_again(tmp_path: Path) -> None:
    async with deployed(tmp_path) as deployment:
        deployment.front.away = 502
        job = await deployment.submit(asking("apiframe"))
        await deployment.in_state(job["id"], "unconfirmed")
        deployment.front.away = None
        await passed_by(deployment)
        assert (await deployment.job(job["id"]))["state"] == "unconfirmed"
        assert deployment.front.count(SUBMIT) == 1


async def test_a_provider_that_cannot_be_reached_took_nothing(tmp_path: Path) -> None:
    moving = Moving()
    away = {"base_url": "http://127.0.0.1:1024"}
    async with deployed(tmp_path, accounts_with=away, clock=moving.clock) as deployment:
        moving.stop()
        job = await deployment.submit(asking("apiframe"))
        await deployment.until(lambda: outcomes(deployment, job["id"], "submission"), bool)
        assert (await deployment.job(job["id"]))["state"] == "pending"
        assert await event_types(deployment, job["id"]) == []


async def test_a_callback_confirms_a_lost_answer(deployment: Deployment) -> None:
    await deployment.subscribe("job.*")
    job = await deployment.submit(asking("apiframe", "a tide, lost-answer"))
    done = await deployment.final(job["id"])
    assert (done["state"], done["completed_by"]) == ("succeeded", "callback")
    assert done["provider_job_id"] in deployment.world.jobs
    assert deployment.world.accepted["apiframe"] == 1
    await deployment.delivered(job["id"], "job.succeeded")
    assert "job.failed" not in await event_types(deployment, job["id"])


async def test_progress_confirms_a_lost_answer_and_polls_finish_it(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=0.0), {"backstop_after": 0.1}) as deployment:
        job = await unconfirmed(deployment)
        [made] = deployment.world.jobs
        await ring(deployment, job, {"task_id": made, "status": "processing", "percentage": 5})
        done = await deployment.final(job["id"])
        assert (done["completed_by"], done["provider_job_id"]) == ("poll", made)
        assert await event_types(deployment, job["id"]) == ["job.unconfirmed", "job.running", "job.succeeded"]


async def test_giving_up_waits_for_the_callback_first(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(
        tmp_path, Knobs(takes=0.0), clock=moving.clock, on_unconfirmed="fail", unconfirmed_after="600"
    ) as deployment:
        job = await unconfirmed(deployment)
        moving.wall += timedelta(seconds=300)
        await passed_by(deployment)
        assert (await deployment.job(job["id"]))["state"] == "unconfirmed"
        moving.wall += timedelta(seconds=301)
        done = await deployment.final(job["id"])
        assert (done["state"], done["completed_by"]) == ("failed", "submit")
        assert done["error"]["code"] == "lost"
        assert await event_types(deployment, job["id"]) == ["job.unconfirmed", "job.failed"]
        assert deployment.world.accepted["apiframe"] == 1


async def test_a_policy_may_pay_twice(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(
        tmp_path, Knobs(takes=0.1, lost_answer=1.0), clock=moving.clock, on_unconfirmed="resubmit"
    ) as deployment:
        job = await deployment.submit(asking("aiml"))
        await deployment.until(lambda: event_types(deployment, job["id"]), bool)
        deployment.world.set(lost_answer=0.0)
        moving.wall += timedelta(seconds=601)
        await deployment.until(lambda: outcomes(deployment, job["id"], "note"), bool)
        moving.wall += timedelta(seconds=5)
        done = await deployment.final(job["id"])
        assert (done["state"], deployment.world.accepted["aiml"]) == ("succeeded", 2)
        types = await event_types(deployment, job["id"])
        assert (types[0], types[-1]) == ("job.unconfirmed", "job.succeeded")


async def test_an_idempotent_provider_is_asked_again_and_paid_once(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(
        tmp_path, Knobs(takes=0.1), {"backstop_after": 0.2}, clock=moving.clock
    ) as deployment:
        moving.stop()
        job = await deployment.submit(asking("apiframe-v2", LOST))
        await deployment.until(lambda: outcomes(deployment, job["id"], "submission"), bool)
        assert (await deployment.job(job["id"]))["state"] == "submitting"
        moving.wait(5)
        moving.go()
        done = await deployment.final(job["id"])
        assert (done["state"], deployment.world.accepted["apiframe-v2"]) == ("succeeded", 1)
        assert deployment.front.count("POST /apiframe-v2/videos/generate") == 2
        assert "job.unconfirmed" not in await event_types(deployment, job["id"])


async def test_the_operator_may_know_the_provider_s_id(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=0.0)) as deployment:
        job = await unconfirmed(deployment)
        [made] = deployment.world.jobs
        told = await asked(
            deployment, "POST", f"/v1/jobs/{job['id']}/resolve", json={"provider_job_id": made}
        )
        assert (told["state"], told["provider_job_id"]) == ("queued", made)
        done = await deployment.final(job["id"])
        assert (done["state"], done["completed_by"]) == ("succeeded", "poll")
        assert deployment.world.accepted["apiframe"] == 1


async def test_the_operator_may_submit_again(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=0.1, lost_answer=1.0)) as deployment:
        job = await deployment.submit(asking("aiml"))
        await deployment.in_state(job["id"], "unconfirmed")
        deployment.world.set(lost_answer=0.0)
        told = await asked(deployment, "POST", f"/v1/jobs/{job['id']}/resolve", json={"resubmit": True})
        assert told["state"] == "pending"
        assert (await deployment.final(job["id"]))["state"] == "succeeded"
        assert deployment.world.accepted["aiml"] == 2


async def test_the_operator_may_give_up(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=0.0)) as deployment:
        job = await unconfirmed(deployment)
        told = await asked(deployment, "POST", f"/v1/jobs/{job['id']}/resolve", json={"fail": True})
        assert (told["state"], told["completed_by"]) == ("failed", "operator")
        assert told["error"]["code"] == "lost"
        assert await event_types(deployment, job["id"]) == ["job.unconfirmed", "job.failed"]
        [made] = deployment.world.jobs
        await ring(deployment, job, {"task_id": made, "status": "finished", "video_url": LINK})
        assert (await deployment.job(job["id"])) == told | {"input": job["input"]}
        assert await outcomes(deployment, job["id"]) == ["contradiction"]


async def test_what_cannot_be_resolved_is_refused(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=3600)) as deployment:
        job, other = await unconfirmed(deployment), await open_job(deployment)
        path = f"/v1/jobs/{job['id']}/resolve"
        wrong: list[tuple[Any, str]] = [
            ({}, ""),
            ({"fail": True, "resubmit": True}, ""),
            ({"fail": False}, "/fail"),
            ({"resubmit": "yes"}, "/resubmit"),
            ({"resubmit": 1}, "/resubmit"),
            ({"fail": 1.0}, "/fail"),
            ({"provider_job_id": ""}, "/provider_job_id"),
            ({"provider_job_id": 7}, "/provider_job_id"),
            ({"provider_job_id": "x" * 501}, "/provider_job_id"),
            ({"provider_job_id": "."}, "/provider_job_id"),
            ({"provider_job_id": ".."}, "/provider_job_id"),
            ({"provider_job_id": other["provider_job_id"]}, "/provider_job_id"),
            ({"fail": True, "why": "x"}, "/why"),
        ]
        for body, pointer in wrong:
            told = problem(await deployment.client.post(path, json=body), 422, "validation")
            assert [one["pointer"] for one in told["errors"]] == [pointer], body
        assert await deployment.job(job["id"]) == job
        answer = await deployment.client.post(f"/v1/jobs/{other['id']}/resolve", json={"fail": True})
        problem(answer, 409, "conflict")
        answer = await deployment.client.post("/v1/jobs/job_none/resolve", json={"fail": True})
        problem(answer, 404, "not-found")
        assert await deployment.job(other["id"]) == other


async def test_an_id_that_another_job_holds_confirms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with deployed(tmp_path, Knobs(takes=3600)) as deployment:
        same = uuid.uuid4()
        monkeypatch.setattr("receiver.sandbox.app.uuid.uuid4", lambda: same)
        first = await open_job(deployment)
        second = await deployment.submit(asking("apiframe"))
        told = await deployment.in_state(second["id"], "unconfirmed")
        assert (first["provider_job_id"], told["provider_job_id"]) == (str(same), None)
        assert await outcomes(deployment, second["id"], "submission") == ["mismatch"]


async def test_open_jobs_expire_whatever_their_state(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, Knobs(takes=3600), clock=moving.clock) as deployment:
        moving.stop()
        await deployment.subscribe("job.expired")
        soon: dict[str, Any] = {"deadline_seconds": 60}
        jobs = {
            "unconfirmed": await deployment.submit(asking("apiframe", LOST, **soon)),
            "queued": await deployment.submit(asking("imagineo", **soon)),
            "polled": await deployment.submit(asking("aiml", **soon)),
            "blocked": await deployment.submit(asking("minimax", "a tide, blocked", **soon)),
        }
        await deployment.in_state(jobs["unconfirmed"]["id"], "unconfirmed")
        for name in ("queued", "polled"):
            await deployment.in_state(jobs[name]["id"], "queued")
        await deployment.until(lambda: listed(deployment, "/v1/events", type="provider.blocked"), bool)
        moving.wall += timedelta(seconds=60)
        for job in jobs.values():
            done = await deployment.final(job["id"])
            assert (done["state"], done["completed_by"]) == ("expired", "deadline")
            assert (done["error"]["code"], done["assets"]) == ("deadline", [])
            assert done["completed_at"] >= done["deadline_at"]
            await deployment.delivered(job["id"], "job.expired")
        assert deployment.world.accepted["apiframe"] == 1
        late = await deployment.job(jobs["queued"]["id"])
        body = {"run_id": late["provider_job_id"], "status": "completed", "video_url": LINK}
        await ring(deployment, late, body)
        told = await deployment.job(late["id"])
        assert (told["state"], told["assets"][0]["provider_url"]) == ("expired", LINK)
        assert (await event_types(deployment, late["id"]))[-2:] == ["job.expired", "job.late_result"]


async def test_an_unconfirmed_job_can_be_canceled(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=0.0)) as deployment:
        job = await unconfirmed(deployment)
        for _ in range(2):
            told = await asked(deployment, "POST", f"/v1/jobs/{job['id']}/cancel")
            assert (told["state"], told["completed_by"]) == ("canceled", "cancel")
        assert await event_types(deployment, job["id"]) == ["job.unconfirmed", "job.canceled"]
        answer = await deployment.client.post(f"/v1/jobs/{job['id']}/resolve", json={"resubmit": True})
        problem(answer, 409, "conflict")
        assert [one["state"] for one in await listed(deployment, "/v1/jobs")] == ["canceled"]


async def test_a_restart_between_sending_and_the_answer_is_a_lost_answer(tmp_path: Path) -> None:
    slow = Knobs(takes=3600, latency=30)
    async with deployed(tmp_path, slow, shutdown_grace="0") as deployment:
        job = await deployment.submit(asking("apiframe", "a tide, slow"))
        again = await deployment.submit(asking("apiframe-v2", "a tide, slow"))

        async def accepted() -> int:
            return deployment.world.accepted.total()

        await deployment.until(accepted, lambda count: count == 2)
    async with deployed(tmp_path, Knobs(takes=0.1)) as deployment:
        await deployment.in_state(job["id"], "unconfirmed")
        assert (await deployment.final(again["id"]))["state"] == "succeeded"
        assert deployment.world.accepted == {"apiframe-v2": 1}
