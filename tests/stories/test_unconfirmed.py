"""Submissions whose answer was lost: never sent twice by themselves, and never forgotten."""

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


async def unconfirmed(house: Deployment, provider: str = "apiframe", **others: Any) -> dict[str, Any]:
    """A job whose answer was lost, and whose callback too."""
    job = await house.submit(asking(provider, LOST, **others))
    return await house.in_state(job["id"], "unconfirmed")


async def test_a_lost_answer_is_told_and_held(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, Knobs(takes=0.0), clock=moving.clock) as house:
        await house.subscribe("job.*")
        job = await unconfirmed(house)
        [event] = await house.delivered(job["id"], "job.unconfirmed")
        assert (event["data"]["state"], event["data"]["provider_job_id"]) == ("unconfirmed", None)
        moving.wall += timedelta(hours=1)
        await passed_by(house)
        assert (await house.job(job["id"]))["state"] == "unconfirmed"
        assert (house.world.accepted["apiframe"], house.front.count(SUBMIT)) == (1, 1)
        assert await event_types(house, job["id"]) == ["job.unconfirmed"]


async def test_a_failing_provider_is_not_asked_again(tmp_path: Path) -> None:
    async with deployed(tmp_path) as house:
        house.front.away = 502
        job = await house.submit(asking("apiframe"))
        await house.in_state(job["id"], "unconfirmed")
        house.front.away = None
        await passed_by(house)
        assert (await house.job(job["id"]))["state"] == "unconfirmed"
        assert house.front.count(SUBMIT) == 1


async def test_a_provider_that_cannot_be_reached_took_nothing(tmp_path: Path) -> None:
    moving = Moving()
    away = {"base_url": "http://127.0.0.1:1024"}
    async with deployed(tmp_path, accounts_with=away, clock=moving.clock) as house:
        moving.stop()
        job = await house.submit(asking("apiframe"))
        await house.until(lambda: outcomes(house, job["id"], "submission"), bool)
        assert (await house.job(job["id"]))["state"] == "pending"
        assert await event_types(house, job["id"]) == []


async def test_a_callback_confirms_a_lost_answer(house: Deployment) -> None:
    await house.subscribe("job.*")
    job = await house.submit(asking("apiframe", "a tide, lost-answer"))
    done = await house.final(job["id"])
    assert (done["state"], done["completed_by"]) == ("succeeded", "callback")
    assert done["provider_job_id"] in house.world.jobs
    assert house.world.accepted["apiframe"] == 1
    await house.delivered(job["id"], "job.succeeded")
    assert "job.failed" not in await event_types(house, job["id"])


async def test_progress_confirms_a_lost_answer_and_polls_finish_it(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=0.0), {"backstop_after": 0.1}) as house:
        job = await unconfirmed(house)
        [made] = house.world.jobs
        await ring(house, job, {"task_id": made, "status": "processing", "percentage": 5})
        done = await house.final(job["id"])
        assert (done["completed_by"], done["provider_job_id"]) == ("poll", made)
        assert await event_types(house, job["id"]) == ["job.unconfirmed", "job.running", "job.succeeded"]


async def test_giving_up_waits_for_the_callback_first(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(
        tmp_path, Knobs(takes=0.0), clock=moving.clock, on_unconfirmed="fail", unconfirmed_after="600"
    ) as house:
        job = await unconfirmed(house)
        moving.wall += timedelta(seconds=300)
        await passed_by(house)
        assert (await house.job(job["id"]))["state"] == "unconfirmed"
        moving.wall += timedelta(seconds=301)
        done = await house.final(job["id"])
        assert (done["state"], done["completed_by"]) == ("failed", "submit")
        assert done["error"]["code"] == "lost"
        assert await event_types(house, job["id"]) == ["job.unconfirmed", "job.failed"]
        assert house.world.accepted["apiframe"] == 1


async def test_a_policy_may_pay_twice(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(
        tmp_path, Knobs(takes=0.1, lost_answer=1.0), clock=moving.clock, on_unconfirmed="resubmit"
    ) as house:
        job = await house.submit(asking("aiml"))
        await house.until(lambda: event_types(house, job["id"]), bool)
        house.world.set(lost_answer=0.0)
        moving.wall += timedelta(seconds=601)
        await house.until(lambda: outcomes(house, job["id"], "note"), bool)
        moving.wall += timedelta(seconds=5)
        done = await house.final(job["id"])
        assert (done["state"], house.world.accepted["aiml"]) == ("succeeded", 2)
        types = await event_types(house, job["id"])
        assert (types[0], types[-1]) == ("job.unconfirmed", "job.succeeded")


async def test_an_idempotent_provider_is_asked_again_and_paid_once(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, Knobs(takes=0.1), {"backstop_after": 0.2}, clock=moving.clock) as house:
        moving.stop()
        job = await house.submit(asking("apiframe-v2", LOST))
        await house.until(lambda: outcomes(house, job["id"], "submission"), bool)
        assert (await house.job(job["id"]))["state"] == "submitting"
        moving.wait(5)
        moving.go()
        done = await house.final(job["id"])
        assert (done["state"], house.world.accepted["apiframe-v2"]) == ("succeeded", 1)
        assert house.front.count("POST /apiframe-v2/videos/generate") == 2
        assert "job.unconfirmed" not in await event_types(house, job["id"])


async def test_the_operator_may_know_the_provider_s_id(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=0.0)) as house:
        job = await unconfirmed(house)
        [made] = house.world.jobs
        told = await asked(house, "POST", f"/v1/jobs/{job['id']}/resolve", json={"provider_job_id": made})
        assert (told["state"], told["provider_job_id"]) == ("queued", made)
        done = await house.final(job["id"])
        assert (done["state"], done["completed_by"]) == ("succeeded", "poll")
        assert house.world.accepted["apiframe"] == 1


async def test_the_operator_may_submit_again(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=0.1, lost_answer=1.0)) as house:
        job = await house.submit(asking("aiml"))
        await house.in_state(job["id"], "unconfirmed")
        house.world.set(lost_answer=0.0)
        told = await asked(house, "POST", f"/v1/jobs/{job['id']}/resolve", json={"resubmit": True})
        assert told["state"] == "pending"
        assert (await house.final(job["id"]))["state"] == "succeeded"
        assert house.world.accepted["aiml"] == 2


async def test_the_operator_may_give_up(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=0.0)) as house:
        job = await unconfirmed(house)
        told = await asked(house, "POST", f"/v1/jobs/{job['id']}/resolve", json={"fail": True})
        assert (told["state"], told["completed_by"]) == ("failed", "operator")
        assert told["error"]["code"] == "lost"
        assert await event_types(house, job["id"]) == ["job.unconfirmed", "job.failed"]
        [made] = house.world.jobs
        await ring(house, job, {"task_id": made, "status": "finished", "video_url": LINK})
        assert (await house.job(job["id"])) == told | {"input": job["input"]}
        assert await outcomes(house, job["id"]) == ["contradiction"]


async def test_what_cannot_be_resolved_is_refused(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=3600)) as house:
        job, other = await unconfirmed(house), await open_job(house)
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
            told = problem(await house.client.post(path, json=body), 422, "validation")
            assert [one["pointer"] for one in told["errors"]] == [pointer], body
        assert await house.job(job["id"]) == job
        answer = await house.client.post(f"/v1/jobs/{other['id']}/resolve", json={"fail": True})
        problem(answer, 409, "conflict")
        answer = await house.client.post("/v1/jobs/job_none/resolve", json={"fail": True})
        problem(answer, 404, "not-found")
        assert await house.job(other["id"]) == other


async def test_an_id_that_another_job_holds_confirms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with deployed(tmp_path, Knobs(takes=3600)) as house:
        same = uuid.uuid4()
        monkeypatch.setattr("receiver.sandbox.app.uuid.uuid4", lambda: same)
        first = await open_job(house)
        second = await house.submit(asking("apiframe"))
        told = await house.in_state(second["id"], "unconfirmed")
        assert (first["provider_job_id"], told["provider_job_id"]) == (str(same), None)
        assert await outcomes(house, second["id"], "submission") == ["mismatch"]


async def test_open_jobs_expire_whatever_their_state(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, Knobs(takes=3600), clock=moving.clock) as house:
        moving.stop()
        await house.subscribe("job.expired")
        soon: dict[str, Any] = {"deadline_seconds": 60}
        jobs = {
            "unconfirmed": await house.submit(asking("apiframe", LOST, **soon)),
            "queued": await house.submit(asking("imagineo", **soon)),
            "polled": await house.submit(asking("aiml", **soon)),
            "blocked": await house.submit(asking("minimax", "a tide, blocked", **soon)),
        }
        await house.in_state(jobs["unconfirmed"]["id"], "unconfirmed")
        for name in ("queued", "polled"):
            await house.in_state(jobs[name]["id"], "queued")
        await house.until(lambda: listed(house, "/v1/events", type="provider.blocked"), bool)
        moving.wall += timedelta(seconds=60)
        for job in jobs.values():
            done = await house.final(job["id"])
            assert (done["state"], done["completed_by"]) == ("expired", "deadline")
            assert (done["error"]["code"], done["assets"]) == ("deadline", [])
            assert done["completed_at"] >= done["deadline_at"]
            await house.delivered(job["id"], "job.expired")
        assert house.world.accepted["apiframe"] == 1
        late = await house.job(jobs["queued"]["id"])
        body = {"run_id": late["provider_job_id"], "status": "completed", "video_url": LINK}
        await ring(house, late, body)
        told = await house.job(late["id"])
        assert (told["state"], told["assets"][0]["provider_url"]) == ("expired", LINK)
        assert (await event_types(house, late["id"]))[-2:] == ["job.expired", "job.late_result"]


async def test_an_unconfirmed_job_can_be_canceled(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=0.0)) as house:
        job = await unconfirmed(house)
        for _ in range(2):
            told = await asked(house, "POST", f"/v1/jobs/{job['id']}/cancel")
            assert (told["state"], told["completed_by"]) == ("canceled", "cancel")
        assert await event_types(house, job["id"]) == ["job.unconfirmed", "job.canceled"]
        answer = await house.client.post(f"/v1/jobs/{job['id']}/resolve", json={"resubmit": True})
        problem(answer, 409, "conflict")
        assert [one["state"] for one in await listed(house, "/v1/jobs")] == ["canceled"]


async def test_a_restart_between_sending_and_the_answer_is_a_lost_answer(tmp_path: Path) -> None:
    slow = Knobs(takes=3600, latency=30)
    async with deployed(tmp_path, slow, shutdown_grace="0") as house:
        job = await house.submit(asking("apiframe", "a tide, slow"))
        again = await house.submit(asking("apiframe-v2", "a tide, slow"))

        async def accepted() -> int:
            return house.world.accepted.total()

        await house.until(accepted, lambda count: count == 2)
    async with deployed(tmp_path, Knobs(takes=0.1)) as house:
        await house.in_state(job["id"], "unconfirmed")
        assert (await house.final(again["id"]))["state"] == "succeeded"
        assert house.world.accepted == {"apiframe-v2": 1}
