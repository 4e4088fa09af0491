"""Replays: old events sent again to one endpoint, counted before, followed and canceled."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.store import replays
from tests.stories.deployment import Deployment, deployed
from tests.stories.tools import SILENT, Moving, all_settled, asked, ended_job, listed, problem, settled

MANY = 14


pytestmark = pytest.mark.providers(SILENT)


async def replay(deployment: Deployment, endpoint: dict[str, Any], **body: Any) -> dict[str, Any]:
    """Start a replay. Returns it."""
    return await asked(deployment, "POST", f"/v1/endpoints/{endpoint['id']}/replay", 202, json=body)


async def count(deployment: Deployment, endpoint: dict[str, Any], **body: Any) -> int:
    """Return the number of events of a replay that is not started."""
    path = f"/v1/endpoints/{endpoint['id']}/replay"
    told = await asked(deployment, "POST", path, json={**body, "dry_run": True})
    assert (told["id"], told["state"]) == (None, "dry-run")
    return int(told["total"])


async def ended(deployment: Deployment, replay_id: str) -> dict[str, Any]:
    """Return a replay once it is no longer running."""
    found: dict[str, Any] = await deployment.until(
        lambda: asked(deployment, "GET", f"/v1/replays/{replay_id}"), lambda told: told["state"] != "running"
    )
    return found


def later(stamp: str) -> str:
    """Return a stamp a millisecond later."""
    moment = datetime.fromisoformat(stamp) + timedelta(milliseconds=1)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def test_each_kind_of_replay_chooses_its_events(deployment: Deployment) -> None:
    missed = await ended_job(deployment)
    made = await deployment.subscribe("job.canceled", retry_schedule=[])
    delivered = await ended_job(deployment)
    await settled(deployment, job=delivered["id"])
    deployment.hook.status = 500
    failed = await ended_job(deployment)
    [lost] = await all_settled(deployment, job=failed["id"])
    assert lost["state"] == "exhausted"
    deployment.hook.status = 204
    rows = {"failed": [failed], "missing": [missed], "all": [missed, delivered, failed]}
    for kind, jobs in rows.items():
        assert await count(deployment, made, only=kind) == len(jobs)
    for kind, jobs in rows.items():
        deployment.hook.deliveries.clear()
        started = await replay(deployment, made, only=kind)
        assert (started["state"], started["total"]) == ("running", len(jobs))
        done = await ended(deployment, started["id"])
        found = {name: done[name] for name in ("state", "made", "delivered", "failed", "pending")}
        many = len(jobs)
        assert found == {"state": "done", "made": many, "delivered": many, "failed": 0, "pending": 0}
        assert {event["data"]["id"] for event in deployment.hook.events()} == {job["id"] for job in jobs}
    assert await count(deployment, made, only="failed") == await count(deployment, made, only="missing") == 0
    assert len(await listed(deployment, "/v1/replays")) == 3


async def test_a_replay_sends_the_same_event_signed_with_the_present_secret(deployment: Deployment) -> None:
    made = await deployment.subscribe("job.canceled")
    job = await ended_job(deployment)
    await settled(deployment, job=job["id"])
    path = f"/v1/endpoints/{made['id']}/rotate-secret"
    deployment.hook.secret = (await asked(deployment, "POST", path, json={"overlap_seconds": 0}))["secret"]
    first, body = deployment.hook.deliveries.pop()
    await ended(deployment, (await replay(deployment, made, only="all"))["id"])
    again, same = deployment.hook.deliveries[0]
    assert (again["webhook-id"], same) == (first["webhook-id"], body)
    assert deployment.hook.events()[0]["data"]["id"] == job["id"]


async def test_a_replay_keeps_to_a_time_and_to_types(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, clock=moving.clock) as deployment:
        moving.stop()
        stamps = []
        for _ in range(3):
            await ended_job(deployment)
            stamps.append((await listed(deployment, "/v1/events", type="job.canceled"))[-1]["timestamp"])
            moving.wait(3600)
        made = await deployment.subscribe("job.*")
        rows: list[tuple[dict[str, Any], int]] = [
            ({}, 3),
            ({"since": stamps[1]}, 2),
            ({"until": stamps[1]}, 1),
            ({"since": stamps[1], "until": stamps[2]}, 1),
            ({"since": stamps[1], "until": later(stamps[2])}, 2),
            ({"since": later(stamps[2])}, 0),
            ({"until": stamps[0]}, 0),
            ({"events": ["job.failed"]}, 0),
            ({"events": ["job.failed", "job.canceled"]}, 3),
        ]
        for body, many in rows:
            assert await count(deployment, made, only="missing", **body) == many, body


async def test_a_canceled_replay_sends_no_more(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "UNDER_WAY", 2)
    for _ in range(5):
        await ended_job(deployment)
    made = await deployment.subscribe("job.canceled", state="paused")
    started = await replay(deployment, made, only="missing")
    await deployment.until(
        lambda: asked(deployment, "GET", f"/v1/replays/{started['id']}"), lambda told: told["pending"] == 2
    )
    again = await deployment.client.post(f"/v1/endpoints/{made['id']}/replay", json={"only": "all"})
    assert "has a replay that is running" in problem(again, 409, "conflict")["detail"]
    for _ in range(2):
        canceled = await asked(deployment, "POST", f"/v1/replays/{started['id']}/cancel")
        assert (canceled["state"], canceled["pending"], canceled["canceled"]) == ("canceled", 0, 2)
    reasons = {one["reason"] for one in await listed(deployment, "/v1/deliveries", endpoint=made["id"])}
    assert reasons == {"the replay was canceled"}
    await asked(deployment, "POST", f"/v1/endpoints/{made['id']}/resume")
    done = await ended(deployment, (await replay(deployment, made, only="all"))["id"])
    assert done["delivered"] == 5
    over = await deployment.client.post(f"/v1/replays/{done['id']}/cancel")
    assert problem(over, 409, "conflict")["detail"] == "the replay is already done"


async def test_the_replay_of_a_removed_endpoint_ends(deployment: Deployment) -> None:
    await ended_job(deployment)
    made = await deployment.subscribe("job.canceled", state="paused")
    started = await replay(deployment, made, only="missing")
    await asked(deployment, "DELETE", f"/v1/endpoints/{made['id']}", 204)
    assert (await ended(deployment, started["id"]))["state"] == "canceled"


async def test_a_failing_replay_does_not_count_for_the_health_of_its_endpoint(deployment: Deployment) -> None:
    await ended_job(deployment)
    made = await deployment.subscribe("job.canceled", retry_schedule=[])
    deployment.hook.status = 500
    done = await ended(deployment, (await replay(deployment, made, only="missing"))["id"])
    assert (done["delivered"], done["failed"]) == (0, 1)
    shown = await asked(deployment, "GET", f"/v1/endpoints/{made['id']}")
    assert (shown["failing_since"], shown["last_attempt"]["status"]) == (None, 500)
    for endpoint, found in ((made["id"], [done["id"]]), ("ep_other", [])):
        listed = await asked(deployment, "GET", f"/v1/replays?endpoint={endpoint}")
        assert [one["id"] for one in listed["data"]] == found


async def test_many_events_are_replayed_a_few_at_a_time(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "UNDER_WAY", 4)
    monkeypatch.setattr(replays, "CHUNK", 3)
    for _ in range(MANY):
        await ended_job(deployment)
    made = await deployment.subscribe("job.canceled")
    done = await ended(deployment, (await replay(deployment, made, only="missing"))["id"])
    assert (done["total"], done["made"], done["delivered"]) == (MANY, MANY, MANY)
    assert len({event["id"] for event in deployment.hook.events()}) == len(deployment.hook.deliveries) == MANY


async def test_a_replay_that_cannot_be_is_refused(deployment: Deployment) -> None:
    made = await deployment.subscribe("job.canceled")
    path = f"/v1/endpoints/{made['id']}/replay"
    rows: list[tuple[dict[str, Any], str]] = [
        ({"only": "lost"}, "/only"),
        ({"since": "yesterday"}, "/since"),
        ({"since": "2026-11-22T00:00:00Z", "until": "2026-11-22T00:00:00Z"}, "/until"),
        ({"events": ["job.exploded"]}, "/events/0"),
        ({"events": []}, "/events"),
    ]
    for body, pointer in rows:
        answer = await deployment.client.post(path, json=body)
        assert problem(answer, 422, "validation")["errors"][0]["pointer"] == pointer
    problem(await deployment.client.post("/v1/endpoints/ep_none/replay", json={}), 404, "not-found")
    problem(await deployment.client.get("/v1/replays/rpl_none"), 404, "not-found")
