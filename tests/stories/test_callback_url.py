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
    async with deployed(tmp_path, SILENT) as house:
        url = f"{house.hook.url}/one-off?order=42"
        job = await house.submit(asking("apiframe", callback_url=url))
        house.hook.secret = job["callback_secret"]
        job = await house.until(lambda: house.job(job["id"]), lambda one: one["provider_job_id"])
        assert "callback_secret" not in job
        await ring(house, job, finished(job))
        [event] = await house.delivered(job["id"])
        assert (event["type"], event["data"]["state"]) == ("job.succeeded", "succeeded")
        [delivery] = await all_settled(house, job=job["id"])
        assert (delivery["endpoint"], delivery["url"], delivery["state"]) == (None, url, "delivered")
        assert delivery["event"] == event["id"]


async def test_a_given_secret_signs_and_is_not_told(house: Deployment) -> None:
    job = await ended_job(house, callback_url=house.hook.url, callback_secret=GIVEN)
    await settled(house, job=job["id"])
    [(headers, body)] = house.hook.deliveries
    assert Webhook(GIVEN).verify(body, headers)["data"]["id"] == job["id"]
    again = await house.submit(
        asking("aiml", callback_url=house.hook.url, callback_secret=GIVEN),
        headers={"idempotency-key": "x"},
    )
    assert "callback_secret" not in again


async def test_a_made_secret_is_shown_once(house: Deployment) -> None:
    body, key = asking("aiml", callback_url=house.hook.url), {"idempotency-key": "once"}
    first = await house.submit(body, headers=key)
    second = (await house.client.post("/v1/jobs", json=body, headers=key)).json()
    assert first["callback_secret"].startswith("whsec_")
    assert (second["id"], "callback_secret" in second) == (first["id"], False)
    assert first["callback_secret"] not in str(await house.job(first["id"]))


async def test_a_failing_callback_url_is_tried_again_and_then_by_hand(house: Deployment) -> None:
    house.hook.status = 500
    job = await ended_job(house, callback_url=house.hook.url, callback_secret=GIVEN)
    told = await settled(house, job=job["id"])
    assert (told["state"], [one["status"] for one in told["attempts"]]) == ("exhausted", [500] * 3)
    house.hook.status, house.hook.secret = 204, GIVEN
    await asked(house, "POST", f"/v1/deliveries/{told['id']}/retry", 202)
    assert (await settled(house, job=job["id"]))["state"] == "delivered"
    assert len({event["id"] for event in house.hook.events()}) == 1


async def test_gone_ends_a_job_s_own_deliveries_and_no_others(house: Deployment) -> None:
    house.hook.answers, house.hook.secret = [(410, {})], GIVEN
    own = {"callback_url": house.hook.url, "callback_secret": GIVEN}
    job = await house.submit(asking("apiframe", "a tide, lost-answer, lost", **own))
    await house.in_state(job["id"], "unconfirmed")
    assert (await settled(house, job=job["id"]))["state"] == "canceled"
    await asked(house, "POST", f"/v1/jobs/{job['id']}/resolve", json={"fail": True})
    [only] = await listed(house, "/v1/deliveries", job=job["id"])
    assert only["type"] == "job.unconfirmed"
    other = await ended_job(house, **own)
    assert (await settled(house, job=other["id"]))["state"] == "delivered"


async def test_an_unconfirmed_job_is_told_to_its_own_url_too(house: Deployment) -> None:
    house.hook.secret = GIVEN
    job = await house.submit(
        asking("aiml", "a tide, lost-answer", callback_url=house.hook.url, callback_secret=GIVEN)
    )
    await house.delivered(job["id"], "job.unconfirmed")
    await asked(house, "POST", f"/v1/jobs/{job['id']}/cancel")
    await house.delivered(job["id"], "job.canceled")
    assert [event["data"]["sequence"] for event in house.hook.about(job["id"])] == [1, 2]


async def test_a_callback_url_that_cannot_be_called_is_refused(house: Deployment) -> None:
    rows: dict[str, dict[str, Any]] = {
        "/callback_url": {"callback_url": "http://10.1.2.3/"},
        "/callback_url#1": {"callback_url": "gopher://h.example/"},
        "/callback_url#2": {"callback_url": "https://u:p@h.example/"},
        "/callback_url#3": {"callback_url": 7},
        "/callback_secret": {"callback_secret": GIVEN},
        "/callback_secret#1": {"callback_url": house.hook.url, "callback_secret": "whsec_"},
    }
    for place, wrong in rows.items():
        answer = await house.client.post("/v1/jobs", json=asking("aiml", **wrong))
        told = problem(answer, 422, "validation")
        assert [one["pointer"] for one in told["errors"]] == [place.partition("#")[0]]
    assert await listed(house, "/v1/jobs") == []


async def test_a_caller_that_is_gone_when_its_write_is_stored_costs_no_delivery(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as house:
        job = await house.submit(asking("apiframe", callback_url=house.hook.url))
        house.hook.secret = job["callback_secret"]
        now = house.services.core.clock.now()
        word = Command(job_id=job["id"], source=Source.NOTE, at=now, action=Action.CANCEL)
        caller = asyncio.create_task(house.services.core.recorder.record(word))
        await asyncio.sleep(0)  # the write is queued
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        [event] = await house.delivered(job["id"])
        assert event["type"] == "job.canceled"
        await all_settled(house, job=job["id"])

        async def under_way() -> int:
            return house.services.core.limits.lane(Work.DELIVER, house.hook.url).in_flight

        await house.until(under_way, lambda count: count == 0)
