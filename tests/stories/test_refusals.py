"""Refusals, throttling and failures of a provider, for one job or its account, and the retries."""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from receiver.sandbox.world import Knobs
from tests.stories.deployment import Deployment, asking, deployed
from tests.stories.tools import SILENT, Moving, at_least, listed, open_job, outcomes, passed_by, ring

POLL_V2 = "GET /apiframe-v2/jobs/"
AIML = "POST /aiml"
SECOND = timedelta(seconds=1)


def answering(deployment: Deployment, which: Callable[[Request, bytes], Response | None]) -> None:
    """Let `which` answer calls to the providers. Calls for which it returns None go on to them."""
    inner: ASGIApp = deployment.front.app

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()

        async def again() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        told = which(Request(scope), body)
        await (inner if told is None else told)(scope, again, send)

    deployment.front.app = front


def refusing(word: bytes, status: int, told: dict[str, Any]) -> Callable[[Request, bytes], Response | None]:
    """Return a function that refuses submissions with a word in their body."""

    def answer(request: Request, body: bytes) -> Response | None:
        return JSONResponse(told, status) if request.method == "POST" and word in body else None

    return answer


def failing(deployment: Deployment, status: int) -> set[int]:
    """Answer every submission to aiml with a status, until the returned set is empty."""
    away = {status}

    def answer(request: Request, _body: bytes) -> Response | None:
        submitted = request.method == "POST" and request.url.path.startswith("/aiml")
        return Response(status_code=status) if submitted and away else None

    answering(deployment, answer)
    return away


async def announced(deployment: Deployment) -> list[dict[str, Any]]:
    """Return the events about accounts, oldest first."""
    return await listed(deployment, "/v1/events", type="provider.*")


@pytest.mark.parametrize("provider", ["aiml", "imagineo", "apiframe"])
async def test_a_job_that_is_forbidden_by_itself_holds_nobody_up(tmp_path: Path, provider: str) -> None:
    moving = Moving()
    async with deployed(tmp_path, Knobs(takes=0.1), clock=moving.clock) as deployment:
        answering(deployment, refusing(b"forbidden", 403, {"detail": "You may not do this."}))
        bad = await deployment.submit(asking(provider, "a tide, forbidden"))
        for count in range(1, 4):
            await deployment.until(lambda: outcomes(deployment, bad["id"], "submission"), longer(count))
            good = await deployment.submit(asking(provider))
            assert (await deployment.final(good["id"]))["state"] == "succeeded"
            moving.passed += 400.0
            moving.wall += 400 * SECOND
        assert (await deployment.job(bad["id"]))["state"] == "pending"
        assert await announced(deployment) == []


async def test_a_model_that_is_not_in_the_plan_fails_its_job_alone(tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=0.1)) as deployment:
        told = {"base_resp": {"status_code": 2061, "status_msg": "your plan does not support this model"}}
        answering(deployment, refusing(b"forbidden", 200, told))
        bad = await deployment.submit(asking("minimax", "a tide, forbidden"))
        good = await deployment.submit(asking("minimax"))
        done = await deployment.final(bad["id"])
        assert (done["state"], done["error"]["code"]) == ("failed", "rejected")
        assert done["error"]["provider_code"] == "2061"
        assert (await deployment.final(good["id"]))["state"] == "succeeded"
        assert await announced(deployment) == []


async def test_an_account_that_pays_for_the_others_is_closed_and_opened_once(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, Knobs(takes=0.1), clock=moving.clock) as deployment:
        answering(deployment, refusing(b"dear", 402, {"error": {"code": "x", "message": "no credit left"}}))
        bad = await deployment.submit(asking("aiml", "a tide, dear"))
        await deployment.until(lambda: announced(deployment), lambda events: len(events) == 1)
        good = await deployment.submit(asking("aiml"))
        for _ in range(4):
            moving.passed += 400.0
            moving.wall += 400 * SECOND
            assert (await deployment.final(good["id"]))["state"] == "succeeded"
            good = await deployment.submit(asking("aiml"))
        assert (await deployment.job(bad["id"]))["state"] == "pending"
        events = await announced(deployment)
        told = [(event["type"], event["data"]["reason"]) for event in events]
        assert told == [("provider.blocked", "no credit left"), ("provider.unblocked", None)]


async def test_a_poll_that_is_forbidden_for_one_job_blocks_no_account(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT, {"poll_interval": 0.05}) as deployment:
        bad = await open_job(deployment, "aiml")
        theirs = bad["provider_job_id"]
        forbidden = JSONResponse({"error": "not your task"}, 403)
        answering(
            deployment,
            lambda request, _body: forbidden if theirs in str(request.url) else None,
        )
        await open_job(deployment, "aiml")
        await deployment.until(lambda: outcomes(deployment, bad["id"], "poll"), lambda told: "error" in told)
        last = await open_job(deployment, "aiml")
        assert last["state"] == "queued"
        assert await announced(deployment) == []
        assert (await deployment.job(bad["id"]))["completed_at"] is None


async def test_a_throttled_queue_is_not_spent_on_the_wall(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, Knobs(takes=0.1), clock=moving.clock) as deployment:
        away = failing(deployment, 429)
        first = await deployment.submit(asking("aiml"))
        await deployment.until(lambda: outcomes(deployment, first["id"], "submission"), bool)
        jobs = [first, *[await deployment.submit(asking("aiml")) for _ in range(40)]]
        for _ in range(7):
            before = deployment.front.count(AIML)
            moving.passed += 61.0
            moving.wall += 61 * SECOND
            await deployment.until(lambda: calls(deployment), at_least(before + 1))
        await passed_by(deployment)
        assert deployment.front.count(AIML) <= 20
        assert {(await deployment.job(job["id"]))["state"] for job in jobs} <= {"pending", "submitting"}
        away.clear()
        moving.passed += 61.0
        moving.wall += 61 * SECOND
        for job in jobs:
            assert (await deployment.final(job["id"]))["state"] == "succeeded"


async def calls(deployment: Deployment) -> int:
    """Return the number of submissions to aiml."""
    return deployment.front.count(AIML)


async def test_a_failing_provider_is_not_given_the_whole_queue(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, Knobs(takes=0.1), {"max_in_flight": 1}, clock=moving.clock) as deployment:
        away = failing(deployment, 503)
        jobs = [await deployment.submit(asking("aiml")) for _ in range(20)]
        await deployment.until(lambda: calls(deployment), lambda count: count >= 3)
        await passed_by(deployment)
        assert deployment.front.count(AIML) <= 4
        away.clear()
        moving.passed += 301.0
        moving.wall += 301 * SECOND
        states = [
            (await deployment.until(partial(deployment.job, job["id"]), ended))["state"] for job in jobs
        ]
        assert states.count("succeeded") >= 16
        assert set(states) == {"succeeded", "unconfirmed"}


def longer(count: int) -> Callable[[list[str]], bool]:
    """Return a function that checks whether a list has at least `count` items."""
    return lambda told: len(told) >= count


def ended(job: dict[str, Any]) -> bool:
    """Return whether a job succeeded, or is unconfirmed."""
    return job["state"] in {"succeeded", "unconfirmed"}


async def test_a_redirect_fails_a_job_and_names_the_setting(tmp_path: Path) -> None:
    async with deployed(tmp_path) as deployment:
        moved = Response(status_code=308, headers={"location": "https://www.api.example/v1/x?key=abc"})
        answering(deployment, lambda request, _body: moved if request.method == "POST" else None)
        done = await deployment.final((await deployment.submit(asking("getimg")))["id"])
        assert (done["state"], done["error"]["code"]) == ("failed", "rejected")
        told = "the provider redirects to https://www.api.example/v1/x: correct base_url"
        assert done["error"]["message"] == told


async def test_a_conflict_under_the_same_key_is_asked_again(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, Knobs(takes=0.1), clock=moving.clock) as deployment:
        keys: list[str] = []

        def answer(request: Request, _body: bytes) -> Response | None:
            if request.method == "POST":
                keys.append(request.headers["idempotency-key"])
            return JSONResponse({"error": "in progress"}, 409) if len(keys) == 1 else None

        answering(deployment, answer)
        job = await deployment.submit(asking("apiframe-v2"))
        await deployment.until(lambda: outcomes(deployment, job["id"], "submission"), bool)
        moving.wall += 10 * SECOND
        moving.passed += 10.0
        assert (await deployment.final(job["id"]))["state"] == "succeeded"
        assert keys == [job["id"]] * 2


async def test_a_pending_job_whose_operation_went_away_fails_before_a_byte_is_sent(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, clock=moving.clock) as deployment:
        deployment.front.away = 429
        job = await deployment.submit(asking("apiframe"))
        await deployment.until(lambda: outcomes(deployment, job["id"], "submission"), bool)
        sent = deployment.front.count("POST /apiframe/")
        setups: Any = deployment.services.core.accounts.setups
        handler = setups["apiframe"].handler
        left = {"imagine": handler.operations["imagine"]}
        setups["apiframe"] = replace(setups["apiframe"], handler=replace(handler, operations=left))
        moving.wall += 10 * SECOND
        moving.passed += 10.0
        done = await deployment.final(job["id"])
        assert (done["state"], done["error"]["code"]) == ("failed", "rejected")
        told = "apiframe has no operation runway-imagine: the account's handler was changed"
        assert done["error"]["message"] == told
        assert deployment.front.count("POST /apiframe/") == sent


async def test_an_open_job_whose_operation_went_away_is_asked_about_until_it_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with deployed(tmp_path, SILENT, {"poll_interval": 0.05}) as deployment:
        job = await open_job(deployment, "aiml")
        setups: Any = deployment.services.core.accounts.setups
        setups["aiml"] = replace(setups["aiml"], handler=replace(setups["aiml"].handler, operations={}))
        polls = deployment.front.count("GET /aiml")
        await deployment.until(
            lambda: asyncio.sleep(0, deployment.front.count("GET /aiml")), at_least(polls + 2)
        )
        deployment.world.jobs[job["provider_job_id"]].takes = 0.0
        assert (await deployment.final(job["id"]))["state"] == "succeeded"
        assert "Traceback" not in caplog.text


async def test_a_start_names_the_open_jobs_that_no_account_serves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        await asyncio.gather(open_job(deployment), open_job(deployment))
    caplog.set_level(logging.WARNING, "ringback")
    async with deployed(tmp_path, accounts_with={"api_key": None}):
        told = "2 open jobs belong to account apiframe, which is off: it has no api_key"
        assert told in caplog.messages


async def test_a_signed_callback_that_names_no_job_ends_none(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        job = await open_job(deployment, "apiframe-v2")
        polls = deployment.front.count(POLL_V2)
        await sign(deployment, job, b'{"status": "FAILED", "error": "no"}')
        await deployment.until(lambda: polled(deployment), lambda count: count > polls)
        assert (await deployment.job(job["id"]))["completed_at"] is None
        await sign(deployment, job, b'{"status": "FAILED", "jobId": "%s"}' % job["provider_job_id"].encode())
        assert (await deployment.final(job["id"]))["state"] == "failed"


async def sign(deployment: Deployment, job: dict[str, Any], body: bytes) -> None:
    """Post a callback of apiframe-v2, signed with the key of the account."""
    signature = hmac.digest(hashlib.sha256(b"key-apiframe-v2").digest(), body, "sha256").hex()
    path = deployment.callback(job)[0].removeprefix(deployment.url)
    answer = await deployment.client.post(path, content=body, headers={"x-webhook-signature": signature})
    assert answer.status_code == 200


async def polled(deployment: Deployment) -> int:
    """Return the number of polls at apiframe-v2."""
    return deployment.front.count(POLL_V2)


async def test_a_file_whose_link_holds_a_secret_is_left_out_and_noted(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        job = await open_job(deployment)
        url, secret = deployment.callback(job)
        leaky = [f"https://cdn.example/1.mp4?hook={url}", f"https://x.example/{secret}"]
        links = ["https://cdn.example/0.mp4", *leaky]
        body = {"task_id": job["provider_job_id"], "status": "finished", "video_urls": links}
        await ring(deployment, job, body)
        done = await deployment.job(job["id"])
        assert (done["state"], [one["provider_url"] for one in done["assets"]]) == ("succeeded", links[:1])
        secrets = [secret, url.rsplit("/", 1)[-1]]
        assert not [one for one in secrets if one in str(done)]
        notes = [entry.get("note") for entry in await deployment.timeline(job["id"])]
        assert "a file's link holds a secret of ours, so the file is left out" in notes


async def test_what_a_failing_poll_echoes_is_hidden(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT, {"backstop_after": 0.1}) as deployment:
        job = await open_job(deployment)
        url, secret = deployment.callback(job)
        secrets = [url.rsplit("/", 1)[-1], secret, "key-apiframe"]
        echo = JSONResponse({"error": {"code": "x", "message": f"no: {' '.join(secrets)}"}}, 500)
        answering(deployment, lambda request, _body: echo if "fetch" in request.url.path else None)
        await deployment.until(lambda: outcomes(deployment, job["id"], "poll"), lambda told: "error" in told)
        told = str(await deployment.timeline(job["id"])) + str(await deployment.job(job["id"]))
        assert "no: [redacted] [redacted] [redacted]" in told
        assert not [one for one in secrets if one in told]
