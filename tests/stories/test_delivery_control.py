"""Deliveries in the operator's hands: retried, canceled, collected, found."""

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


async def test_what_is_exhausted_can_be_retried_by_hand(house: Deployment) -> None:
    await house.subscribe("job.canceled")
    house.hook.status = 500
    job = await ended_job(house)
    told = await settled(house, job=job["id"])
    assert (told["state"], told["attempts_made"], told["next_attempt_at"]) == ("exhausted", 3, None)
    house.hook.status = 204
    again = await asked(house, "POST", f"/v1/deliveries/{told['id']}/retry", 202)
    assert again["id"] == told["id"]
    after = await settled(house, job=job["id"])
    assert after["state"] == "delivered"
    assert [one["status"] for one in after["attempts"]] == [500, 500, 500, 204]
    assert len({(sent["webhook-id"], body) for sent, body in house.hook.deliveries}) == 1


async def test_what_was_delivered_or_canceled_can_be_sent_again(house: Deployment) -> None:
    await house.subscribe("job.canceled")
    house.hook.answers = [(204, {}), (204, {}), (500, {"webhook-delivery": "abort-message"})]
    job = await ended_job(house)
    told = await settled(house, job=job["id"])
    for attempts, state in ((2, "delivered"), (3, "canceled"), (4, "delivered")):
        await asked(house, "POST", f"/v1/deliveries/{told['id']}/retry", 202)
        await attempted(house, attempts, job=job["id"])
        assert (await settled(house, job=job["id"]))["state"] == state
    assert {event["id"] for event in house.hook.events()} == {told["event"]}


async def test_a_canceled_delivery_is_tried_no_more(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT, retry_schedule=PATIENT) as house:
        await house.subscribe("job.canceled")
        house.hook.answers = [(500, {})]
        job = await ended_job(house)
        told = await attempted(house, 1, job=job["id"])
        for _ in range(2):
            canceled = await asked(house, "POST", f"/v1/deliveries/{told['id']}/cancel")
            assert (canceled["state"], canceled["next_attempt_at"]) == ("canceled", None)
        other = await ended_job(house)
        delivered = await settled(house, job=other["id"])
        answer = await house.client.post(f"/v1/deliveries/{delivered['id']}/cancel")
        problem(answer, 409, "conflict")
        assert [one["status"] for one in (await delivery_of(house, job=job["id"]))["attempts"]] == [500]


async def test_deleting_an_endpoint_cancels_what_it_is_owed(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT, retry_schedule=PATIENT) as house:
        endpoint = await house.subscribe("job.canceled")
        house.hook.answers = [(204, {}), (500, {})]
        jobs = [await ended_job(house)]
        await settled(house, job=jobs[0]["id"])
        jobs.append(await ended_job(house))
        await attempted(house, 1, job=jobs[1]["id"])
        await asked(house, "DELETE", f"/v1/endpoints/{endpoint['id']}", 204)
        states = [(await delivery_of(house, job=job["id"]))["state"] for job in jobs]
        assert states == ["delivered", "canceled"]
        told = await delivery_of(house, job=jobs[1]["id"])
        assert told["reason"] == "the endpoint was deleted"
        problem(await house.client.post(f"/v1/deliveries/{told['id']}/retry"), 409, "conflict")
        for method in ("GET", "DELETE", "PATCH"):
            answer = await house.client.request(
                method, f"/v1/endpoints/{endpoint['id']}", json={} if method == "PATCH" else None
            )
            problem(answer, 404, "not-found")
        after = await ended_job(house)
        assert await listed(house, "/v1/deliveries", job=after["id"]) == []


async def test_a_disabled_endpoint_collects_and_resume_releases(house: Deployment) -> None:
    endpoint = await house.subscribe("job.canceled")
    house.hook.answers = [(410, {})]
    first = await ended_job(house)
    assert (await settled(house, job=first["id"]))["state"] == "canceled"
    jobs = [await ended_job(house) for _ in range(5)]
    owed = await listed(house, "/v1/deliveries", endpoint=endpoint["id"], state="pending")
    assert {one["job"] for one in owed} == {job["id"] for job in jobs}
    assert len(house.hook.deliveries) == 1
    resumed = await asked(house, "POST", f"/v1/endpoints/{endpoint['id']}/resume")
    assert (resumed["state"], resumed["disabled_reason"]) == ("active", None)
    told = await all_settled(house, endpoint=endpoint["id"])
    assert [one["state"] for one in told] == ["delivered"] * 5 + ["canceled"]
    sent = [event["data"]["id"] for event in house.hook.events()]
    assert sorted(sent[1:]) == sorted(job["id"] for job in jobs)


async def reasons(house: Deployment, event: str) -> dict[str | None, str]:
    """Why an event went or did not, by endpoint."""
    told = await asked(house, "GET", f"/v1/events/{event}")
    return {one["endpoint"]: one["status"] for one in told["deliveries"]}


async def test_an_event_tells_why_it_went_or_did_not(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT, retry_schedule="[]") as house, downstream() as bad:
        good = await house.subscribe("job.succeeded")
        deaf = await subscribe(house, house.hook, "job.failed")
        broken = await subscribe(house, bad, "job.succeeded")
        gone = await subscribe(house, bad, "job.canceled")
        bad.answers = [(410, {})]
        await settled(house, job=(await ended_job(house))["id"])
        await asked(house, "PATCH", f"/v1/endpoints/{gone['id']}", json={"events": ["job.succeeded"]})
        bad.status = 500
        job = await open_job(house, callback_url=f"{bad.url}/own")
        await ring(house, job, finished(job))
        await settled(house, job=job["id"], endpoint=good["id"])
        await settled(house, job=job["id"], endpoint=broken["id"])
        [event] = await listed(house, "/v1/events", job=job["id"])
        told = await house.until(lambda: reasons(house, event["id"]), lambda one: one[None] != "pending")
        assert told == {
            good["id"]: "delivered",
            deaf["id"]: "not-subscribed",
            broken["id"]: "exhausted",
            gone["id"]: "disabled",
            None: "exhausted",
        }
        owed = await delivery_of(house, job=job["id"], endpoint=gone["id"])
        await asked(house, "POST", f"/v1/deliveries/{owed['id']}/cancel")
        assert (await reasons(house, event["id"]))[gone["id"]] == "canceled"
        whole = await asked(house, "GET", f"/v1/events/{event['id']}")
        assert {name: whole[name] for name in event} == event


async def test_an_event_that_waits_is_pending(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT, retry_schedule=PATIENT) as house:
        endpoint = await house.subscribe("job.canceled")
        house.hook.answers = [(500, {})]
        job = await ended_job(house)
        told = await attempted(house, 1, job=job["id"])
        assert await reasons(house, told["event"]) == {endpoint["id"]: "pending"}
        problem(await house.client.get("/v1/events/evt_" + "0" * 32), 404, "not-found")


async def walk(house: Deployment, **query: Any) -> list[dict[str, Any]]:
    """Every delivery that fits, page by page."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        told = await asked(house, "GET", "/v1/deliveries", params={"limit": 2, **query, **cursor})
        assert len(told["data"]) <= 2
        found += told["data"]
        if told["next_cursor"] is None:
            return found
        cursor = {"cursor": told["next_cursor"]}


async def test_deliveries_are_found_by_what_they_are(house: Deployment) -> None:
    first = await house.subscribe("job.canceled")
    second = await subscribe(house, house.hook, "job.canceled")
    house.hook.answers = [(500, {"webhook-delivery": "abort-message"})]
    jobs = [await ended_job(house) for _ in range(3)]
    every = await all_settled(house)
    assert len(every) == 6
    assert [one["id"] for one in every] == sorted((one["id"] for one in every), reverse=True)
    assert await walk(house) == every
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
        assert await walk(house, **query) == expected
        sizes.append(len(expected))
    assert sizes == [3, 3, 2, 5, 1, 0, 2, 1]
    for wrong in ({"state": "sleeping"}, {"cursor": "x"}, {"limit": "0"}, {"limit": "201"}, {"kind": "x"}):
        problem(await house.client.get("/v1/deliveries", params=wrong), 422, "validation")


async def test_what_a_paused_endpoint_is_owed_for_too_long_is_taken_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moving = Moving()
    async with (
        deployed(tmp_path, SILENT, clock=moving.clock, retention_days="1") as house,
        downstream() as hook,
    ):
        endpoint = await subscribe(house, hook, "job.canceled")
        hook.status = 410
        await ended_job(house)
        await house.until(
            lambda: asked(house, "GET", f"/v1/endpoints/{endpoint['id']}"),
            lambda told: told["state"] == "disabled",
        )
        await ended_job(house)
        moving.wall += timedelta(days=3)
        await house.services.retention.sweep()
        assert await listed(house, "/v1/deliveries", endpoint=endpoint["id"]) == []
        [taken] = await house.services.core.store.read(lost_deliveries.list_all())
        assert (taken.target, taken.reason, taken.count) == (endpoint["id"], "older than retention_days", 1)
        assert f"{endpoint['id']} lost 1 deliveries" in caplog.text
        told = [one.what for one in await examined(house.services.core.settings.database_url)]
        assert f"endpoint {endpoint['id']}" in told
