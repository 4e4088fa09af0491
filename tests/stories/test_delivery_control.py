"""Deliveries under an operator's control: retried, canceled, collected, found."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.cli.doctor import examined
from receiver.store import lost_deliveries
from tests.stories.deployment import Deployment, deployed
from tests.stories.tools import (
    SILENT,
    Moving,
    all_settled,
    asked,
    attempted,
    delivery_of,
    downstream,
    ended_job,
    finished,
    listed,
    open_job,
    problem,
    ring,
    settled,
    subscribe,
)

PATIENT = "[3600]"


async def test_what_is_exhausted_can_be_retried_by_hand(deployment: Deployment) -> None:
    await deployment.subscribe("job.canceled")
    deployment.hook.status = 500
    job = await ended_job(deployment)
    told = await settled(deployment, job=job["id"])
    assert (told["state"], told["attempts_made"], told["next_attempt_at"]) == ("exhausted", 3, None)
    deployment.hook.status = 204
    again = await asked(deployment, "POST", f"/v1/deliveries/{told['id']}/retry", 202)
    assert again["id"] == told["id"]
    after = await settled(deployment, job=job["id"])
    assert after["state"] == "delivered"
    assert [one["status"] for one in after["attempts"]] == [500, 500, 500, 204]
    assert len({(sent["webhook-id"], body) for sent, body in deployment.hook.deliveries}) == 1


async def test_what_was_delivered_or_canceled_can_be_sent_again(deployment: Deployment) -> None:
    await deployment.subscribe("job.canceled")
    deployment.hook.answers = [(204, {}), (204, {}), (500, {"webhook-delivery": "abort-message"})]
    job = await ended_job(deployment)
    told = await settled(deployment, job=job["id"])
    for attempts, state in ((2, "delivered"), (3, "canceled"), (4, "delivered")):
        await asked(deployment, "POST", f"/v1/deliveries/{told['id']}/retry", 202)
        await attempted(deployment, attempts, job=job["id"])
        assert (await settled(deployment, job=job["id"]))["state"] == state
    assert {event["id"] for event in deployment.hook.events()} == {told["event"]}


async def test_a_canceled_delivery_is_tried_no_more(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT, retry_schedule=PATIENT) as deployment:
        await deployment.subscribe("job.canceled")
        deployment.hook.answers = [(500, {})]
        job = await ended_job(deployment)
        told = await attempted(deployment, 1, job=job["id"])
        for _ in range(2):
            canceled = await asked(deployment, "POST", f"/v1/deliveries/{told['id']}/cancel")
            assert (canceled["state"], canceled["next_attempt_at"]) == ("canceled", None)
        other = await ended_job(deployment)
        delivered = await settled(deployment, job=other["id"])
        answer = await deployment.client.post(f"/v1/deliveries/{delivered['id']}/cancel")
        problem(answer, 409, "conflict")
        assert [one["status"] for one in (await delivery_of(deployment, job=job["id"]))["attempts"]] == [500]


async def test_deleting_an_endpoint_cancels_what_it_is_owed(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT, retry_schedule=PATIENT) as deployment:
        endpoint = await deployment.subscribe("job.canceled")
        deployment.hook.answers = [(204, {}), (500, {})]
        jobs = [await ended_job(deployment)]
        await settled(deployment, job=jobs[0]["id"])
        jobs.append(await ended_job(deployment))
        await attempted(deployment, 1, job=jobs[1]["id"])
        await asked(deployment, "DELETE", f"/v1/endpoints/{endpoint['id']}", 204)
        states = [(await delivery_of(deployment, job=job["id"]))["state"] for job in jobs]
        assert states == ["delivered", "canceled"]
        told = await delivery_of(deployment, job=jobs[1]["id"])
        assert told["reason"] == "the endpoint was deleted"
        problem(await deployment.client.post(f"/v1/deliveries/{told['id']}/retry"), 409, "conflict")
        for method in ("GET", "DELETE", "PATCH"):
            answer = await deployment.client.request(
                method, f"/v1/endpoints/{endpoint['id']}", json={} if method == "PATCH" else None
            )
            problem(answer, 404, "not-found")
        after = await ended_job(deployment)
        assert await listed(deployment, "/v1/deliveries", job=after["id"]) == []


async def test_a_disabled_endpoint_collects_and_resume_releases(deployment: Deployment) -> None:
    endpoint = await deployment.subscribe("job.canceled")
    deployment.hook.answers = [(410, {})]
    first = await ended_job(deployment)
    assert (await settled(deployment, job=first["id"]))["state"] == "canceled"
    jobs = [await ended_job(deployment) for _ in range(5)]
    owed = await listed(deployment, "/v1/deliveries", endpoint=endpoint["id"], state="pending")
    assert {one["job"] for one in owed} == {job["id"] for job in jobs}
    assert len(deployment.hook.deliveries) == 1
    resumed = await asked(deployment, "POST", f"/v1/endpoints/{endpoint['id']}/resume")
    assert (resumed["state"], resumed["disabled_reason"]) == ("active", None)
    told = await all_settled(deployment, endpoint=endpoint["id"])
    assert [one["state"] for one in told] == ["delivered"] * 5 + ["canceled"]
    sent = [event["data"]["id"] for event in deployment.hook.events()]
    assert sorted(sent[1:]) == sorted(job["id"] for job in jobs)


async def reasons(deployment: Deployment, event: str) -> dict[str | None, str]:
    """Return the status of an event's delivery for each endpoint."""
    told = await asked(deployment, "GET", f"/v1/events/{event}")
    return {one["endpoint"]: one["status"] for one in told["deliveries"]}


async def test_an_event_tells_why_it_went_or_did_not(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT, retry_schedule="[]") as deployment, downstream() as bad:
        good = await deployment.subscribe("job.succeeded")
        deaf = await subscribe(deployment, deployment.hook, "job.failed")
        broken = await subscribe(deployment, bad, "job.succeeded")
        gone = await subscribe(deployment, bad, "job.canceled")
        bad.answers = [(410, {})]
        await settled(deployment, job=(await ended_job(deployment))["id"])
        await asked(deployment, "PATCH", f"/v1/endpoints/{gone['id']}", json={"events": ["job.succeeded"]})
        bad.status = 500
        job = await open_job(deployment, callback_url=f"{bad.url}/own")
        await ring(deployment, job, finished(job))
        await settled(deployment, job=job["id"], endpoint=good["id"])
        await settled(deployment, job=job["id"], endpoint=broken["id"])
        [event] = await listed(deployment, "/v1/events", job=job["id"])
        told = await deployment.until(
            lambda: reasons(deployment, event["id"]), lambda one: one[None] != "pending"
        )
        assert told == {
            good["id"]: "delivered",
            deaf["id"]: "not-subscribed",
            broken["id"]: "exhausted",
            gone["id"]: "disabled",
            None: "exhausted",
        }
        owed = await delivery_of(deployment, job=job["id"], endpoint=gone["id"])
        await asked(deployment, "POST", f"/v1/deliveries/{owed['id']}/cancel")
        assert (await reasons(deployment, event["id"]))[gone["id"]] == "canceled"
        whole = await asked(deployment, "GET", f"/v1/events/{event['id']}")
        assert {name: whole[name] for name in event} == event


async def test_an_event_that_waits_is_pending(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT, retry_schedule=PATIENT) as deployment:
        endpoint = await deployment.subscribe("job.canceled")
        deployment.hook.answers = [(500, {})]
        job = await ended_job(deployment)
        told = await attempted(deployment, 1, job=job["id"])
        assert await reasons(deployment, told["event"]) == {endpoint["id"]: "pending"}
        problem(await deployment.client.get("/v1/events/evt_" + "0" * 32), 404, "not-found")


async def walk(deployment: Deployment, **query: Any) -> list[dict[str, Any]]:
    """Return every matching delivery, page by page."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        told = await asked(deployment, "GET", "/v1/deliveries", params={"limit": 2, **query, **cursor})
        assert len(told["data"]) <= 2
        found += told["data"]
        if told["next_cursor"] is None:
            return found
        cursor = {"cursor": told["next_cursor"]}


async def test_deliveries_are_found_by_what_they_are(deployment: Deployment) -> None:
    first = await deployment.subscribe("job.canceled")
    second = await subscribe(deployment, deployment.hook, "job.canceled")
    deployment.hook.answers = [(500, {"webhook-delivery": "abort-message"})]
    jobs = [await ended_job(deployment) for _ in range(3)]
    every = await all_settled(deployment)
    assert len(every) == 6
    assert [one["id"] for one in every] == sorted((one["id"] for one in every), reverse=True)
    assert await walk(deployment) == every
    queries: tuple[dict[str, str], ...] = (
        {"endpoint": first["id"]},
        {"endpoint": second["id"]},
        {"job": jobs[1]["id"]},
        {"state": "delivered"},
        {"state": "canceled"},
        {"state": "exhausted"},
        {"event": every[0]["event"]},
        {"job": jobs[2]["id"], "endpoint": first["id"]},
    )
    sizes = []
    for query in queries:
        expected = [one for one in every if all(one[name] == value for name, value in query.items())]
        assert await walk(deployment, **query) == expected
        sizes.append(len(expected))
    assert sizes == [3, 3, 2, 5, 1, 0, 2, 1]
    for wrong in ({"state": "sleeping"}, {"cursor": "x"}, {"limit": "0"}, {"limit": "201"}, {"kind": "x"}):
        problem(await deployment.client.get("/v1/deliveries", params=wrong), 422, "validation")


async def test_what_a_paused_endpoint_is_owed_for_too_long_is_taken_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moving = Moving()
    async with (
        deployed(tmp_path, SILENT, clock=moving.clock, retention_days="1") as deployment,
        downstream() as hook,
    ):
        endpoint = await subscribe(deployment, hook, "job.canceled")
        hook.status = 410
        await ended_job(deployment)
        await deployment.until(
            lambda: asked(deployment, "GET", f"/v1/endpoints/{endpoint['id']}"),
            lambda told: told["state"] == "disabled",
        )
        await ended_job(deployment)
        moving.wall += timedelta(days=3)
        await deployment.services.retention.sweep()
        assert await listed(deployment, "/v1/deliveries", endpoint=endpoint["id"]) == []
        [taken] = await deployment.services.core.store.read(lost_deliveries.list_all())
        assert (taken.target, taken.reason, taken.count) == (endpoint["id"], "older than retention_days", 1)
        assert f"{endpoint['id']} lost 1 deliveries" in caplog.text
        told = [one.what for one in await examined(deployment.services.core.settings.database_url)]
        assert f"endpoint {endpoint['id']}" in told
