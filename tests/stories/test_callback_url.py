"""A job's own callback URL: signed, retried and ended like an endpoint."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from receiver.domain.model import Source, Work
from receiver.domain.reports import Action, Command
from tests.stories.deployment import Deployment, asking, deployed
from tests.stories.tools import (
    SILENT,
    all_settled,
    asked,
    ended_job,
    finished,
    listed,
    problem,
    ring,
    settled,
)

GIVEN = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


async def test_the_terminal_event_goes_to_the_job_s_own_url(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        url = f"{deployment.hook.url}/one-off?order=42"
        job = await deployment.submit(asking("apiframe", callback_url=url))
        deployment.hook.secret = job["callback_secret"]
        job = await deployment.until(lambda: deployment.job(job["id"]), lambda one: one["provider_job_id"])
        assert "callback_secret" not in job
        await ring(deployment, job, finished(job))
        [event] = await deployment.delivered(job["id"])
        assert (event["type"], event["data"]["state"]) == ("job.succeeded", "succeeded")
        [delivery] = await all_settled(deployment, job=job["id"])
        assert (delivery["endpoint"], delivery["url"], delivery["state"]) == (None, url, "delivered")
        assert delivery["event"] == event["id"]


async def test_a_given_secret_signs_and_is_not_told(deployment: Deployment) -> None:
    job = await ended_job(deployment, callback_url=deployment.hook.url, callback_secret=GIVEN)
    await settled(deployment, job=job["id"])
    [(headers, body)] = deployment.hook.deliveries
    assert Webhook(GIVEN).verify(body, headers)["data"]["id"] == job["id"]
    again = await deployment.submit(
        asking("aiml", callback_url=deployment.hook.url, callback_secret=GIVEN),
        headers={"idempotency-key": "x"},
    )
    assert "callback_secret" not in again


async def test_a_made_secret_is_shown_once(deployment: Deployment) -> None:
    body, key = asking("aiml", callback_url=deployment.hook.url), {"idempotency-key": "once"}
    first = await deployment.submit(body, headers=key)
    second = (await deployment.client.post("/v1/jobs", json=body, headers=key)).json()
    assert first["callback_secret"].startswith("whsec_")
    assert (second["id"], "callback_secret" in second) == (first["id"], False)
    assert first["callback_secret"] not in str(await deployment.job(first["id"]))


async def test_a_failing_callback_url_is_tried_again_and_then_by_hand(deployment: Deployment) -> None:
    deployment.hook.status = 500
    job = await ended_job(deployment, callback_url=deployment.hook.url, callback_secret=GIVEN)
    told = await settled(deployment, job=job["id"])
    assert (told["state"], [one["status"] for one in told["attempts"]]) == ("exhausted", [500] * 3)
    deployment.hook.status, deployment.hook.secret = 204, GIVEN
    await asked(deployment, "POST", f"/v1/deliveries/{told['id']}/retry", 202)
    assert (await settled(deployment, job=job["id"]))["state"] == "delivered"
    assert len({event["id"] for event in deployment.hook.events()}) == 1


async def test_gone_ends_a_job_s_own_deliveries_and_no_others(deployment: Deployment) -> None:
    deployment.hook.answers, deployment.hook.secret = [(410, {})], GIVEN
    own = {"callback_url": deployment.hook.url, "callback_secret": GIVEN}
    job = await deployment.submit(asking("apiframe", "a tide, lost-answer, lost", **own))
    await deployment.in_state(job["id"], "unconfirmed")
    assert (await settled(deployment, job=job["id"]))["state"] == "canceled"
    await asked(deployment, "POST", f"/v1/jobs/{job['id']}/resolve", json={"fail": True})
    [only] = await listed(deployment, "/v1/deliveries", job=job["id"])
    assert only["type"] == "job.unconfirmed"
    other = await ended_job(deployment, **own)
    assert (await settled(deployment, job=other["id"]))["state"] == "delivered"


async def test_an_unconfirmed_job_is_told_to_its_own_url_too(deployment: Deployment) -> None:
    deployment.hook.secret = GIVEN
    job = await deployment.submit(
        asking("aiml", "a tide, lost-answer", callback_url=deployment.hook.url, callback_secret=GIVEN)
    )
    await deployment.delivered(job["id"], "job.unconfirmed")
    await asked(deployment, "POST", f"/v1/jobs/{job['id']}/cancel")
    await deployment.delivered(job["id"], "job.canceled")
    assert [event["data"]["sequence"] for event in deployment.hook.about(job["id"])] == [1, 2]


async def test_a_callback_url_that_cannot_be_called_is_refused(deployment: Deployment) -> None:
    rows: dict[str, dict[str, Any]] = {
        "/callback_url": {"callback_url": "http://10.1.2.3/"},
        "/callback_url#1": {"callback_url": "gopher://h.example/"},
        "/callback_url#2": {"callback_url": "https://u:p@h.example/"},
        "/callback_url#3": {"callback_url": 7},
        "/callback_secret": {"callback_secret": GIVEN},
        "/callback_secret#1": {"callback_url": deployment.hook.url, "callback_secret": "whsec_"},
    }
    for place, wrong in rows.items():
        answer = await deployment.client.post("/v1/jobs", json=asking("aiml", **wrong))
        told = problem(answer, 422, "validation")
        assert [one["pointer"] for one in told["errors"]] == [place.partition("#")[0]]
    assert await listed(deployment, "/v1/jobs") == []


async def test_a_caller_that_is_gone_when_its_write_is_stored_costs_no_delivery(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        job = await deployment.submit(asking("apiframe", callback_url=deployment.hook.url))
        deployment.hook.secret = job["callback_secret"]
        now = deployment.services.core.clock.now()
        word = Command(job_id=job["id"], source=Source.NOTE, at=now, action=Action.CANCEL)
        caller = asyncio.create_task(deployment.services.core.recorder.record(word))
        await asyncio.sleep(0)  # so that the write is queued
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        [event] = await deployment.delivered(job["id"])
        assert event["type"] == "job.canceled"
        await all_settled(deployment, job=job["id"])

        async def under_way() -> int:
            return deployment.services.core.limits.lane(Work.DELIVER, deployment.hook.url).in_flight

        await deployment.until(under_way, lambda count: count == 0)
