"""The effect of proved callbacks: however often, late or out of order they come, a job ends once."""

import asyncio
import hashlib
import hmac
import itertools
from pathlib import Path
from typing import Any

import pytest

from handlers import json
from receiver.domain.event_types import JOB_FINAL
from receiver.sandbox.world import Knobs
from tests.stories.deployment import Deployment, asking, deployed
from tests.stories.tools import (
    LINK,
    SILENT,
    asked,
    downstream,
    event_types,
    finished,
    gated,
    listed,
    open_job,
    outcomes,
    ring,
    says,
    settled,
    subscribe,
)

PERSONAL = {"id", "provider_job_id", "created_at", "updated_at", "completed_at", "deadline_at", "result"}


async def test_fifty_copies_at_once_make_one_event(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        await deployment.subscribe("job.*")
        job = await open_job(deployment)
        await asyncio.gather(*(ring(deployment, job, finished(job)) for _ in range(50)))
        assert (await settled(deployment, job=job["id"]))["state"] == "delivered"
        assert await event_types(deployment, job["id"]) == ["job.succeeded"]
        assert [event["data"]["state"] for event in deployment.hook.about(job["id"])] == ["succeeded"]
        told = await outcomes(deployment, job["id"])
        assert (told.count("applied"), told.count("duplicate")) == (1, 49)


def final_view(job: dict[str, Any]) -> dict[str, Any]:
    """Return a final job without the values that differ for every job."""
    [asset] = job["assets"]
    return {name: value for name, value in job.items() if name not in PERSONAL} | {
        "assets": [asset | {"url": ""}]
    }


async def test_every_order_of_one_script_ends_in_the_same_state(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:

        async def play(order: tuple[int, ...]) -> dict[str, Any]:
            job = await open_job(deployment)
            script = [
                says(job, "pending"),
                says(job, "processing", percentage="30"),
                says(job, "processing", percentage=60),
                finished(job, percentage=100),
            ]
            for step in order:
                await ring(deployment, job, script[step])
            return await deployment.job(job["id"])

        orders = list(itertools.permutations(range(4)))
        jobs = await asyncio.gather(*map(play, orders))
        assert all(final_view(job) == final_view(jobs[0]) for job in jobs)
        assert (jobs[0]["state"], jobs[0]["progress"]) == ("succeeded", 100)
        for job in jobs:
            types = await event_types(deployment, job["id"])
            assert [one for one in types if one in JOB_FINAL] == types[-1:] == ["job.succeeded"]
            events = await listed(deployment, "/v1/events", job=job["id"])
            assert [event["data"]["sequence"] for event in events] == list(range(1, len(events) + 1))


async def test_progress_never_falls(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        job = await open_job(deployment)
        seen = []
        for percentage in (10, "40%", 30, "nonsense", 101, 45):
            await ring(deployment, job, says(job, "processing", percentage=percentage))
            seen.append((await deployment.job(job["id"]))["progress"])
        assert seen == [10, 40, 40, 40, 100, 100]
        await ring(deployment, job, says(job, "pending"))
        assert (await deployment.job(job["id"]))["state"] == "running"


CONTRADICTIONS = {"failed": ("failed", "finished"), "succeeded": ("finished", "failed")}


@pytest.mark.parametrize("state", CONTRADICTIONS)
async def test_the_first_end_stands_and_the_other_is_kept_as_evidence(tmp_path: Path, state: str) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        job = await open_job(deployment)
        for status in CONTRADICTIONS[state]:
            await ring(deployment, job, says(job, status, video_url=LINK, message="no luck"))
        told = await deployment.job(job["id"])
        assert (told["state"], told["completed_by"]) == (state, "callback")
        assert await event_types(deployment, job["id"]) == [f"job.{state}"]
        assert await outcomes(deployment, job["id"]) == ["applied", "contradiction"]


async def test_opposite_ends_at_once_make_one_event(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        job = await open_job(deployment)
        both = [says(job, "failed"), finished(job)] * 10
        await asyncio.gather(*(ring(deployment, job, body) for body in both))
        types = await event_types(deployment, job["id"])
        assert types == [f"job.{(await deployment.job(job['id']))['state']}"]
        told = await outcomes(deployment, job["id"])
        assert (told.count("applied"), told.count("duplicate"), told.count("contradiction")) == (1, 9, 10)


async def test_a_callback_may_overtake_the_answer_to_the_submission(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=0.1)) as deployment:
        gate = gated(deployment)
        job = await deployment.submit(asking("apiframe"))
        done = await deployment.final(job["id"])
        assert (done["state"], done["completed_by"]) == ("succeeded", "callback")
        assert await outcomes(deployment, job["id"], "submission") == []
        gate.open.set()
        told = await deployment.until(lambda: outcomes(deployment, job["id"], "submission"), bool)
        assert told == ["late"]
        after = await deployment.job(job["id"])
        assert after == done
        assert (await event_types(deployment, job["id"]))[-1] == "job.succeeded"


async def test_news_of_another_job_under_our_token_changes_nothing(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        job, other = await open_job(deployment), await open_job(deployment)
        await ring(deployment, job, finished(job, task_id="somebody-elses"))
        await ring(deployment, job, finished(other))
        assert await deployment.job(job["id"]) == job
        assert await outcomes(deployment, job["id"]) == ["mismatch", "mismatch"]
        assert await deployment.job(other["id"]) == other


async def test_a_callback_for_an_erased_job_is_taken(deployment: Deployment) -> None:
    job = await deployment.submit(asking("apiframe"))
    done = await deployment.final(job["id"])
    await asked(deployment, "DELETE", f"/v1/jobs/{job['id']}", 204)
    answer = await ring(deployment, job, finished(done))
    assert answer.json() == {"received": True}
    await ring(deployment, job, b"{}", 200)
    assert (await deployment.client.get(f"/v1/jobs/{job['id']}")).status_code == 404
    assert await listed(deployment, "/v1/events", job=job["id"]) == []


async def test_a_result_after_cancel_is_told_only_where_it_was_asked_for(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment, downstream() as hook:
        star = await subscribe(deployment, hook, "*")
        prefix = await subscribe(deployment, hook, "job.*")
        named = await deployment.subscribe("job.late_result")
        job = await open_job(deployment)
        await asked(deployment, "POST", f"/v1/jobs/{job['id']}/cancel")
        await ring(deployment, job, finished(job))
        await ring(deployment, job, finished(job))
        told = await deployment.job(job["id"])
        assert (told["state"], told["completed_by"]) == ("canceled", "cancel")
        assert [asset["provider_url"] for asset in told["assets"]] == [LINK]
        assert await event_types(deployment, job["id"]) == ["job.canceled", "job.late_result"]
        owed = {(one["endpoint"], one["type"]) for one in await listed(deployment, "/v1/deliveries")}
        assert owed == {
            (star["id"], "job.canceled"),
            (prefix["id"], "job.canceled"),
            (named["id"], "job.late_result"),
        }
        [event] = await deployment.delivered(job["id"], "job.late_result")
        assert event["data"]["assets"] == told["assets"]


def signed(body: bytes, key: bytes) -> dict[str, str]:
    """Return the headers that prove a callback of apiframe v2."""
    return {"x-webhook-signature": f"sha256={hmac.digest(key, body, 'sha256').hex()}"}


async def test_a_signed_body_proves_itself_only_as_it_was_signed(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT, {"previous_api_keys": ["key-of-last-year"]}) as deployment:
        job = await open_job(deployment, "apiframe-v2")
        url, _ = deployment.callback(job)
        body = json.write({"jobId": job["provider_job_id"], "status": "COMPLETED", "result": LINK})
        digest = hashlib.sha256(b"key-apiframe-v2").digest()
        forgeries: list[tuple[bytes, dict[str, str]]] = [
            (body, {}),
            (body + b" ", signed(body, digest)),
            (body.replace(b"0.mp4", b"1.mp4"), signed(body, digest)),
            (body, signed(body, b"key-apiframe-v2")),
            (body, signed(body, hashlib.sha256(b"key-apiframe").digest())),
            (body, {"x-webhook-secret": deployment.callback(job)[1]}),
            (body, {"x-webhook-signature": "sha256="}),
        ]
        for sent, headers in forgeries:
            assert (await deployment.client.post(url, content=sent, headers=headers)).status_code == 401
        assert await deployment.job(job["id"]) == job
        old = signed(body, hashlib.sha256(b"key-of-last-year").digest())
        assert (await deployment.client.post(url, content=body, headers=old)).status_code == 200
        assert (await deployment.job(job["id"]))["state"] == "succeeded"
