"""Jobs over the API: submitted once, waited for, found again, canceled and erased."""

import asyncio
import json as plain
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from receiver.sandbox.world import Knobs
from tests.stories.deployment import Deployment, asking, deployed
from tests.stories.tools import (
    SILENT,
    asked,
    ended_job,
    finished,
    gated,
    listed,
    open_job,
    problem,
    ring,
)


async def test_a_new_job_is_as_the_contract_shows_it(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        body = asking("apiframe", metadata={"order": "42"}, deadline_seconds=1800)
        answer = await deployment.client.post("/v1/jobs", json=body)
        job = answer.json()
        assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{job['id']}")
        empty = ["provider_job_id", "progress", "result", "error", "usage", "waiting"]
        empty += ["completed_by", "completed_at"]
        times = {name: job[name] for name in ("created_at", "updated_at", "deadline_at")}
        assert job == {
            "object": "job",
            "id": job["id"],
            "provider": "apiframe",
            "operation": "runway-imagine",
            "state": "pending",
            "metadata": {"order": "42"},
            "assets": [],
            **dict.fromkeys(empty),
            **times,
        }
        assert all(len(one) == 24 and one.endswith("Z") for one in times.values())
        created, deadline = (datetime.fromisoformat(job[name]) for name in ("created_at", "deadline_at"))
        assert deadline - created == timedelta(seconds=1800)


KEYED = {"idempotency-key": "order-42"}


async def test_one_key_makes_one_job(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        body = asking("apiframe", metadata={"b": "2", "a": "\u00e9"})
        answers = await asyncio.gather(
            *(deployment.client.post("/v1/jobs", json=body, headers=KEYED) for _ in range(50))
        )
        assert {answer.status_code for answer in answers} == {202}
        [job_id] = {answer.json()["id"] for answer in answers}
        other_order = plain.dumps(dict(reversed(body.items())), indent=2, ensure_ascii=True)
        again = await deployment.client.post(
            "/v1/jobs", content=other_order, headers={**KEYED, "content-type": "application/json"}
        )
        assert (again.status_code, again.json()["id"]) == (202, job_id)
        job = await deployment.in_state(job_id, "queued")
        assert deployment.world.accepted["apiframe"] == 1
        await ring(deployment, job, finished(job))
        told = await deployment.submit(body, 200, headers=KEYED)
        assert (told["id"], told["state"]) == (job_id, "succeeded")
        assert len(await listed(deployment, "/v1/jobs")) == 1


async def test_one_key_with_another_body_is_a_mistake(deployment: Deployment) -> None:
    first = await deployment.submit(asking("aiml"), headers=KEYED)
    for other in (asking("aiml", "another"), asking("aiml", metadata={}), asking("aiml", deadline_seconds=9)):
        answer = await deployment.client.post("/v1/jobs", json=other, headers=KEYED)
        problem(answer, 422, "idempotency-mismatch")
    made = await asked(deployment, "POST", "/v1/keys", 201, json={"name": "x", "scopes": ["jobs:write"]})
    theirs = {**KEYED, "authorization": f"Bearer {made['key']}"}
    second = await deployment.submit(asking("aiml", "another"), headers=theirs)
    assert second["id"] != first["id"]


async def test_a_refusal_is_not_remembered_and_a_key_ends_with_its_job(deployment: Deployment) -> None:
    answer = await deployment.client.post("/v1/jobs", json=asking("aiml") | {"input": {}}, headers=KEYED)
    problem(answer, 422, "validation")
    first = await deployment.submit(asking("aiml"), headers=KEYED)
    await deployment.final(first["id"])
    await asked(deployment, "DELETE", f"/v1/jobs/{first['id']}", 204)
    second = await deployment.submit(asking("aiml", "another"), headers=KEYED)
    assert second["id"] != first["id"]


async def test_a_key_that_cannot_be_one_is_refused(deployment: Deployment) -> None:
    for key in (b"", b"a b", b"x" * 256, b"\xe9", b"a\tb"):
        headers = [(b"idempotency-key", key)]
        told = problem(
            await deployment.client.post("/v1/jobs", json=asking("aiml"), headers=headers), 422, "validation"
        )
        assert [(one["in"], one["name"]) for one in told["errors"]] == [("header", "idempotency-key")]
    doubled = [(b"idempotency-key", b"a"), (b"idempotency-key", b"a")]
    problem(await deployment.client.post("/v1/jobs", json=asking("aiml"), headers=doubled), 422, "validation")
    assert await listed(deployment, "/v1/jobs") == []
    await deployment.submit(asking("aiml"), headers={"idempotency-key": "!" + "~" * 254})


async def preferring(
    deployment: Deployment, prefer: str, words: str = "a tide"
) -> tuple[int, str | None, str]:
    """Return the response to a submission that prefers to wait: status, applied preference, state."""
    answer = await deployment.client.post(
        "/v1/jobs", json=asking("apiframe", words), headers={"prefer": prefer}
    )
    return answer.status_code, answer.headers.get("preference-applied"), answer.json()["state"]


async def test_a_submission_may_wait_for_the_provider_s_word(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        assert await preferring(deployment, "wait=30") == (202, "wait=30", "queued")
        assert await preferring(deployment, "wait=99", "a tide, refused") == (200, "wait=60", "failed")
        assert await preferring(deployment, "respond-async, wait=55") == (202, "wait=55", "queued")
        assert await preferring(deployment, 'respond-async; wait="55"') == (202, "wait=55", "queued")
        gate = gated(deployment)
        status, applied, state = await preferring(deployment, "wait=0")
        assert (status, applied) == (202, "wait=0")
        assert state in {"pending", "submitting"}
        gate.open.set()
        for prefer in ("wait=soon", "wait=-1", "await=3", "return=minimal"):
            status, applied, _ = await preferring(deployment, prefer)
            assert (status, applied) == (202, None)


async def test_a_reader_may_wait_for_the_end(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        job = await open_job(deployment)
        waiting = [asyncio.create_task(deployment.job(job["id"], wait=30)) for _ in range(5)]
        assert (await deployment.job(job["id"], wait=0.05))["state"] == "queued"
        await ring(deployment, job, finished(job))
        assert {told["state"] for told in await asyncio.gather(*waiting)} == {"succeeded"}
        assert (await deployment.job(job["id"], wait=60))["state"] == "succeeded"


async def walk(deployment: Deployment, path: str, limit: int, **query: str) -> list[dict[str, Any]]:
    """Return every item of a list, page by page."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        told = await asked(deployment, "GET", path, params={"limit": limit, **query, **cursor})
        assert len(told["data"]) <= limit
        found += told["data"]
        if told["next_cursor"] is None:
            return found
        assert len(told["data"]) == limit
        cursor = {"cursor": told["next_cursor"]}


async def test_jobs_are_found_by_what_they_are(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        for order, shop in (("1", "a"), ("2", "a"), ("3", "b")):
            await ended_job(deployment, metadata={"order": order, "shop": shop})
        job = await open_job(deployment, metadata={"shop": "a"})
        other = await open_job(deployment, "imagineo", metadata={"a.b c": "d&e"})
        every = await listed(deployment, "/v1/jobs")
        assert [one["id"] for one in every] == sorted((one["id"] for one in every), reverse=True)
        assert every[0]["id"] == other["id"]
        first = every[-1]["created_at"]
        queries: list[tuple[dict[str, str], int]] = [
            ({}, 5),
            ({"state": "canceled"}, 3),
            ({"state": "queued"}, 2),
            ({"state": "expired"}, 0),
            ({"provider": "imagineo"}, 1),
            ({"provider_job_id": job["provider_job_id"]}, 1),
            ({"metadata.shop": "a"}, 3),
            ({"metadata.shop": "a", "metadata.order": "2"}, 1),
            ({"metadata.shop": "b", "metadata.order": "2"}, 0),
            ({"metadata.a.b c": "d&e"}, 1),
            ({"metadata.shop": "a", "state": "canceled"}, 2),
            ({"created_before": first}, 0),
            ({"created_after": "2126-01-01T00:00:00Z"}, 0),
            ({"created_after": "2020-01-01T00:00:00+02:00", "created_before": "2126-01-01T00:00:00Z"}, 5),
        ]
        for query, count in queries:
            found = await walk(deployment, "/v1/jobs", 2, **query)
            assert len(found) == count, query
            assert found == [one for one in every if one in found]
        later = await walk(deployment, "/v1/jobs", 2, created_after=first)
        assert later == [one for one in every if one["created_at"] > first]


async def test_a_long_text_is_shown_cut_and_sent_whole(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        body = asking("apiframe", "a tide \U0001f30a" * 400)
        body["input"]["deep"] = [{"text": "x" * 1024, "long": "y" * 1025}]
        job = await open_job(deployment, words=body["input"]["prompt"])
        made = await deployment.submit(body)
        made = await deployment.until(
            lambda: deployment.job(made["id"]), lambda told: told["provider_job_id"]
        )
        assert deployment.world.jobs[made["provider_job_id"]].input["prompt"] == body["input"]["prompt"]
        shown = made["input"]
        assert shown["prompt"].startswith("a tide")
        assert len(shown["prompt"]) < 1100
        assert shown["deep"][0]["text"] == "x" * 1024
        assert "1025" in shown["deep"][0]["long"]
        assert job["input"]["prompt"] == shown["prompt"]


async def test_cancel_and_erase_keep_to_the_state(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        await deployment.subscribe("job.*")
        job = await open_job(deployment)
        path = f"/v1/jobs/{job['id']}"
        problem(await deployment.client.delete(path), 409, "conflict")
        problem(await deployment.client.post(f"{path}/resolve", json={"fail": True}), 409, "conflict")
        await ring(deployment, job, finished(job))
        answer = await deployment.client.post(f"{path}/cancel")
        assert "succeeded" in problem(answer, 409, "conflict")["detail"]
        assert (await deployment.job(job["id"]))["state"] == "succeeded"
        await deployment.delivered(job["id"])
        await asked(deployment, "DELETE", path, 204)
        for gone in (path, f"{path}/timeline"):
            problem(await deployment.client.get(gone), 404, "not-found")
        problem(await deployment.client.delete(path), 404, "not-found")
        problem(await deployment.client.post(f"{path}/cancel"), 404, "not-found")
        for rest in ("/v1/jobs", "/v1/events", "/v1/deliveries"):
            assert await listed(deployment, rest) == []


async def test_a_timeline_tells_everything_in_order(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=0.5), {"poll_interval": 0.02}) as deployment:
        await deployment.subscribe("job.succeeded")
        job = await deployment.submit(asking("aiml"))
        await deployment.final(job["id"])
        await deployment.delivered(job["id"])
        await deployment.until(lambda: kinds(deployment, job["id"]), lambda told: "attempt" in told)
        every = await deployment.timeline(job["id"])
        assert [one["at"] for one in every] == sorted(one["at"] for one in every)
        assert every[0]["kind"] == "submission"
        assert [one["kind"] for one in every][-3:] == ["event", "delivery", "attempt"]
        assert (every[-2]["state"], every[-1]["status"]) == ("delivered", 204)
        for limit in (1, 2, 3):
            assert await walk(deployment, f"/v1/jobs/{job['id']}/timeline", limit) == every
        quiet = [one for one in every if one["kind"] == "poll" and one["outcome"] == "unchanged"]
        polls = deployment.front.count("GET /aiml/v1/generation/tasks/video/")
        assert sum(one.get("count", 1) for one in quiet) + 2 == polls
        assert len(quiet) <= 2
        moves = [(one["from"], one["to"]) for one in every if one["kind"] == "update"]
        assert moves == [("submitting", "queued"), ("queued", "running"), ("running", "succeeded")]
        wrong = await deployment.client.get(f"/v1/jobs/{job['id']}/timeline", params={"cursor": "x"})
        problem(wrong, 422, "validation")


async def kinds(deployment: Deployment, job_id: str) -> list[str]:
    """Return the kinds of a timeline's entries."""
    return [one["kind"] for one in await deployment.timeline(job_id)]


async def test_providers_tell_what_they_can(deployment: Deployment) -> None:
    told = {one["id"]: one for one in (await asked(deployment, "GET", "/v1/providers"))["data"]}
    assert set(told) == set(deployment.services.core.accounts.setups)
    job = await deployment.submit({"provider": "apiframe", "input": asking("apiframe", "a tide")["input"]})
    assert job["operation"] == told["apiframe"]["default_operation"]
    assert (await deployment.final(job["id"]))["state"] == "succeeded"
    after = {one["id"]: one for one in (await asked(deployment, "GET", "/v1/providers"))["data"]}
    health = after["apiframe"]["health"]
    assert (health["submissions"], health["callbacks"], health["callbacks_missed"]) == (1, 2, 0)
    assert health["seconds_to_finish"]["p50"] > 0
    assert not told["aiml"]["can"]["callback"]
    assert told["minimax"]["can"]["resolve"]
