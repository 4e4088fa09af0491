"""Stable links: resolved when they are read, once for all readers, as long as there is a file to read."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.responses import JSONResponse

from receiver.domain.clock import Clock
from receiver.sandbox.world import Knobs
from receiver.security.tokens import MasterKeys
from tests.stories.asset_steps import QUICK, REPOLL, RESOLVE, done, follow, keys, link
from tests.stories.deployment import Deployment, asking, deployed
from tests.stories.tools import Moving, asked, open_job, problem, ring


async def test_a_link_leads_to_the_file(deployment: Deployment) -> None:
    job = await done(deployment, "apiframe")
    for method in ("GET", "HEAD"):
        answer = await follow(deployment, job, method)
        assert (answer.status_code, answer.content) == (307, b"")
        assert answer.headers["location"] == job["assets"][0]["provider_url"]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-request-id"].startswith("req_")
    file = await deployment.client.get((await follow(deployment, job)).headers["location"])
    assert (file.status_code, file.headers["content-type"]) == (200, "video/mp4")
    problem(await deployment.client.post(link(job)), 405, "method-not-allowed")


@pytest.mark.parametrize("query", ["utm=1", "utm=1&utm=2", "%ff", "&".join("a" for _ in range(99))])
async def test_a_link_that_others_made_longer_still_leads_to_the_file(
    deployment: Deployment, query: str
) -> None:
    job = await done(deployment, "apiframe")
    answer = await deployment.client.get(f"{link(job)}?{query}")
    assert answer.status_code == 307
    assert answer.headers["location"] == job["assets"][0]["provider_url"]


async def test_a_forged_link_leads_nowhere(deployment: Deployment) -> None:
    job = await done(deployment, "apiframe")
    token = link(job).rsplit("/", 1)[-1]
    kid, job_id, index, ends, signature = token.split(".")
    master_keys = MasterKeys(["f" * 32], Clock().entropy)
    forged = [
        "x",
        "....",
        token[:-1],
        token + "x",
        f"{kid}.{job_id}.1.{ends}.{signature}",
        f"{kid}.{job_id}.{index}.{int(ends) + 1}.{signature}",
        f"{kid}.{job_id}.-{index}.{ends}.{signature}",
        f"{kid}.{job_id}.{index}.{'9' * 40}.{signature}",
        f"{kid}.{job_id}.%D9%A0.{ends}.{signature}",
        f"{kid[::-1]}.{job_id}.{index}.{ends}.{signature}",
        master_keys.asset_token(job["id"], 0, Clock().now() + timedelta(days=1)),
        deployment.callback(job)[0].rsplit("/", 1)[-1],
        "%00" * 100,
        "a" * 10_000,
    ]
    for text in forged:
        answer = await deployment.client.get(f"/assets/{text}")
        problem(answer, 404, "not-found")


async def test_a_link_ends(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, QUICK, clock=moving.clock, asset_link_days="3") as deployment:
        job = await done(deployment, "apiframe")
        moving.wall += timedelta(days=2)
        assert (await follow(deployment, job)).status_code == 307
        moving.wall += timedelta(days=2)
        problem(await follow(deployment, job), 410, "gone")


async def test_a_link_ends_with_its_job(deployment: Deployment) -> None:
    job = await done(deployment, "apiframe")
    assert (await follow(deployment, job)).status_code == 307
    await asked(deployment, "DELETE", f"/v1/jobs/{job['id']}", 204)
    problem(await follow(deployment, job), 410, "gone")


async def test_an_erased_job_s_resolved_link_is_over_too(deployment: Deployment) -> None:
    job = await done(deployment, "aiml")
    assert (await follow(deployment, job)).status_code == 307
    await asked(deployment, "DELETE", f"/v1/jobs/{job['id']}", 204)
    problem(await follow(deployment, job), 410, "gone")


async def test_a_file_that_the_provider_deletes_is_gone(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, QUICK, clock=moving.clock) as deployment:
        job = await done(deployment, "getimg")
        assert (await follow(deployment, job)).status_code == 307
        moving.wall += timedelta(days=2, minutes=1)
        calls = len(deployment.front.calls)
        problem(await follow(deployment, job), 410, "gone")
        assert len(deployment.front.calls) == calls


@pytest.mark.parametrize("provider", RESOLVE)
async def test_many_readers_are_one_question(tmp_path: Path, provider: str) -> None:
    async with deployed(tmp_path, QUICK) as deployment:
        deployment.world.set(every_answer=0.05)
        job = await done(deployment, provider)
        assert job["assets"][0]["provider_url"] is None
        answers = await asyncio.gather(*(deployment.client.get(link(job)) for _ in range(40)))
        made = deployment.world.jobs[job["provider_job_id"]]
        assert {(one.status_code, one.headers["location"]) for one in answers} == {(307, made.file("0.mp4"))}
        assert (await follow(deployment, job, "HEAD")).status_code == 307
        assert deployment.front.count(RESOLVE[provider]) == 1


@pytest.mark.parametrize("provider", RESOLVE)
async def test_a_resolved_link_is_asked_for_again_when_it_may_be_over(tmp_path: Path, provider: str) -> None:
    moving = Moving()
    async with deployed(tmp_path, QUICK, clock=moving.clock) as deployment:
        job = await done(deployment, provider)
        for count in (1, 2):
            assert (await follow(deployment, job)).status_code == 307
            assert deployment.front.count(RESOLVE[provider]) == count
            moving.wall += timedelta(minutes=6)


@pytest.mark.parametrize("provider", RESOLVE)
async def test_a_provider_that_is_away_is_no_reason_to_give_up(tmp_path: Path, provider: str) -> None:
    moving = Moving()
    async with deployed(tmp_path, QUICK, clock=moving.clock) as deployment:
        job = await done(deployment, provider)
        moving.stop()
        for status in (500, 503, 429, 401, 200):
            deployment.front.away = status
            before = deployment.front.count(RESOLVE[provider])
            for _ in range(3):
                answer = await follow(deployment, job)
                problem(answer, 503, "provider-unavailable")
                assert 1 <= int(answer.headers["retry-after"]) <= 5
            assert deployment.front.count(RESOLVE[provider]) == before + 1
            moving.wall += timedelta(seconds=6)
        deployment.front.away = None
        assert (await follow(deployment, job)).status_code == 307


@pytest.mark.parametrize("provider", RESOLVE)
async def test_what_the_provider_no_longer_knows_is_gone(tmp_path: Path, provider: str) -> None:
    moving = Moving()
    async with deployed(tmp_path, QUICK, clock=moving.clock) as deployment:
        job = await done(deployment, provider)
        moving.stop()
        made = deployment.world.jobs.pop(job["provider_job_id"])
        for _ in range(3):
            problem(await follow(deployment, job), 410, "gone")
        assert deployment.front.count(RESOLVE[provider]) == 1
        deployment.world.jobs[job["provider_job_id"]] = made
        moving.wall += timedelta(seconds=61)
        assert (await follow(deployment, job)).status_code == 307


async def test_the_provider_s_own_wish_holds_a_link(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, QUICK, clock=moving.clock) as deployment:
        job = await done(deployment, "aiml")
        moving.stop()
        inner, deployment.front.app = deployment.front.app, JSONResponse({}, 429, {"retry-after": "600"})
        for _ in range(5):
            answer = await follow(deployment, job)
            problem(answer, 503, "provider-unavailable")
            assert 590 <= int(answer.headers["retry-after"]) <= 600
        assert deployment.front.count(RESOLVE["aiml"]) == 1
        deployment.front.app = inner
        moving.wall += timedelta(seconds=590)
        problem(await follow(deployment, job), 503, "provider-unavailable")
        moving.wall += timedelta(seconds=11)
        assert (await follow(deployment, job)).status_code == 307


async def test_links_take_slots_of_their_account(tmp_path: Path) -> None:
    async with deployed(tmp_path, QUICK, {"max_in_flight": 1}) as deployment:
        made = [await done(deployment, "aiml") for _ in range(8)]
        deployment.world.set(every_answer=0.05)
        deployment.front.most = 0
        answers = await asyncio.gather(*(follow(deployment, job) for job in made))
        assert {one.status_code for one in answers} == {307}
        assert deployment.front.most == 1


async def test_a_link_that_is_about_to_end_is_fetched_afresh(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, QUICK, clock=moving.clock) as deployment:
        job = await done(deployment, "getimg")
        polls = deployment.front.count(REPOLL)
        assert (await follow(deployment, job)).headers["location"] == job["assets"][0]["provider_url"]
        assert deployment.front.count(REPOLL) == polls
        moving.wall += timedelta(minutes=59, seconds=30)
        fresh = (await follow(deployment, job)).headers["location"]
        assert fresh.startswith(deployment.world.jobs[job["provider_job_id"]].file("0.mp4"))
        assert deployment.front.count(REPOLL) == polls + 1
        del deployment.world.jobs[job["provider_job_id"]]
        problem(await follow(deployment, job), 410, "gone")


async def test_links_and_callbacks_survive_the_rotation_of_master_keys(tmp_path: Path) -> None:
    async with deployed(tmp_path, QUICK, secret_keys=keys("a")) as deployment:
        job = await done(deployment, "apiframe")
        deployment.world.set(takes=3600)
        open_one = await deployment.submit(asking("apiframe"))
        await deployment.in_state(open_one["id"], "queued")
        old_url, old_secret = deployment.callback(open_one)
    path = old_url.removeprefix(deployment.url)
    body = b'{"status": "finished", "video_url": "https://cdn.example/0.mp4"}'
    async with deployed(tmp_path, QUICK, secret_keys=keys("b", "a")) as deployment:
        assert deployment.callback(open_one)[1] != old_secret
        assert (await follow(deployment, job)).status_code == 307
        wrong = {"x-webhook-secret": deployment.callback(open_one)[1]}
        assert (await deployment.client.post(path, content=body, headers=wrong)).status_code == 401
        right = {"x-webhook-secret": old_secret}
        assert (await deployment.client.post(path, content=body, headers=right)).status_code == 200
        assert (await deployment.job(open_one["id"]))["state"] == "succeeded"
    async with deployed(tmp_path, QUICK, secret_keys=keys("b")) as deployment:
        problem(await follow(deployment, job), 404, "not-found")
        assert (await deployment.client.post(path, content=body, headers=right)).status_code == 401
        again = await deployment.job(job["id"])
        assert link(again) != link(job)
        assert (await follow(deployment, again)).status_code == 307


async def test_a_link_of_a_late_result_works(deployment: Deployment) -> None:
    deployment.world.set(takes=3600)
    job = await deployment.submit(asking("apiframe"))
    job = await deployment.in_state(job["id"], "queued")
    await asked(deployment, "POST", f"/v1/jobs/{job['id']}/cancel")
    file = "https://cdn.example/late.mp4"
    await ring(deployment, job, {"task_id": job["provider_job_id"], "status": "finished", "video_url": file})
    late = await deployment.job(job["id"])
    assert (await follow(deployment, late)).headers["location"] == file


@pytest.mark.parametrize("url", ["https://elsewhere.example/x", "//elsewhere.example/x", "x/y", "/a\\b"])
async def test_a_link_that_can_never_be_followed_is_gone(tmp_path: Path, url: str) -> None:
    async with deployed(tmp_path, Knobs(takes=3600)) as deployment:
        job = await open_job(deployment, "aiml")
        told = {"uuid": job["provider_job_id"], "status": "succeeded", "videoUrl": url}
        deployment.front.app = JSONResponse({"data": told})
        assert (await deployment.final(job["id"]))["state"] == "succeeded"
        before = len(deployment.front.calls)
        problem(await follow(deployment, await deployment.job(job["id"])), 410, "gone")
        assert deployment.front.calls[before:] == []
