"""Files that are downloaded through the service, and links that are revoked."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from receiver.sandbox.generated_files import content
from tests.stories.asset_steps import QUICK, REPOLL, RESOLVE, done, follow, keys, link
from tests.stories.deployment import PATIENCE, Deployment, asking, deployed
from tests.stories.tools import LINK, Moving, asked, listed, problem, ring


async def save(deployment: Deployment, job: dict[str, Any], **headers: str) -> httpx.Response:
    """Return the response of the download of a job's first file, called without any key."""
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        return await client.get(f"{deployment.url}{link(job)}?download=1", headers=headers)


@pytest.mark.parametrize("provider", ["apiframe", "aiml", "getimg", "minimax"])
async def test_a_file_is_downloaded_through_the_service(deployment: Deployment, provider: str) -> None:
    job = await done(deployment, provider)
    answer = await save(deployment, job)
    assert (answer.status_code, answer.content) == (200, content("mp4"))
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-length"] == str(len(content("mp4")))
    name = f"{job['id']}-0-{job['assets'][0]['kind']}.mp4"
    assert answer.headers["content-disposition"] == f'inline; filename="{name}"'


async def test_a_link_that_is_about_to_end_is_replaced_for_a_download(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, QUICK, clock=moving.clock) as deployment:
        job = await done(deployment, "getimg")
        polls = deployment.front.count(REPOLL)
        moving.wall += timedelta(minutes=59, seconds=30)
        assert (await save(deployment, job)).content == content("mp4")
        assert deployment.front.count(REPOLL) == polls + 1


async def test_a_file_that_its_server_refuses_under_every_link_is_gone(deployment: Deployment) -> None:
    job = await done(deployment, "aiml")
    inner = deployment.front.app

    async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
        refused = Response("<html>no</html>", 403)
        await (refused if "/files/" in scope["path"] else inner)(scope, receive, send)

    deployment.front.app = refusing
    for _ in range(3):
        problem(await save(deployment, job), 410, "gone")
    # One call for the link, and one for a fresh one after the refusal.
    assert deployment.front.count(RESOLVE["aiml"]) == 2


async def test_an_erased_job_has_no_download(deployment: Deployment) -> None:
    job = await done(deployment, "apiframe")
    await asked(deployment, "DELETE", f"/v1/jobs/{job['id']}", 204)
    problem(await save(deployment, job), 410, "gone")


# Revoked links.


async def revoke(deployment: Deployment, job: dict[str, Any], status: int = 200) -> dict[str, Any]:
    """Revoke the links of a job. Returns the job."""
    return await asked(deployment, "POST", f"/v1/jobs/{job['id']}/revoke-assets", status)


async def test_revoked_links_lead_nowhere(deployment: Deployment) -> None:
    job = await done(deployment, "apiframe")
    assert (await follow(deployment, job)).status_code == 307
    revoked = await revoke(deployment, job)
    assert (revoked["id"], revoked["state"]) == (job["id"], "succeeded")
    [asset] = revoked["assets"]
    assert asset == {**job["assets"][0], "url": None}
    for method in ("GET", "HEAD"):
        assert (await follow(deployment, job, method)).status_code == 410
    assert "were revoked" in problem(await follow(deployment, job), 410, "gone")["detail"]
    problem(await save(deployment, job), 410, "gone")
    assert (await deployment.job(job["id"]))["assets"] == [asset]
    assert [one["assets"] for one in (await listed(deployment, "/v1/jobs"))] == [[asset]]


async def test_links_are_revoked_once(deployment: Deployment) -> None:
    job = await done(deployment, "apiframe")
    first, again = await revoke(deployment, job), await revoke(deployment, job)
    assert first == again
    notes = [one for one in await deployment.timeline(job["id"]) if one["kind"] == "note"]
    told = [one["note"] for one in notes if "documented to need" not in one["note"]]
    assert told == ["the links to the job's files were revoked"]
    await asked(deployment, "POST", "/v1/jobs/job_00000000000000000000000000000000/revoke-assets", 404)


async def test_revoking_needs_the_scope_to_write(deployment: Deployment) -> None:
    job = await done(deployment, "apiframe")
    made = await asked(deployment, "POST", "/v1/keys", 201, json={"name": "r", "scopes": ["jobs:read"]})
    headers = {"authorization": f"Bearer {made['key']}"}
    answer = await deployment.client.post(f"/v1/jobs/{job['id']}/revoke-assets", headers=headers)
    problem(answer, 403, "forbidden")
    assert (await follow(deployment, job)).status_code == 307


async def test_links_of_other_jobs_stay(deployment: Deployment) -> None:
    job, other = await done(deployment, "apiframe"), await done(deployment, "apiframe")
    await revoke(deployment, job)
    assert (await follow(deployment, other)).status_code == 307


async def test_links_under_an_older_master_key_are_revoked_too(tmp_path: Path) -> None:
    async with deployed(tmp_path, QUICK, secret_keys=keys("a")) as deployment:
        job = await done(deployment, "aiml")
    async with deployed(tmp_path, QUICK, secret_keys=keys("b", "a")) as deployment:
        newer = await deployment.job(job["id"])
        assert link(newer) != link(job)
        await revoke(deployment, job)
        for one in (job, newer):
            problem(await follow(deployment, one), 410, "gone")


async def test_files_that_come_after_a_revocation_have_no_links(deployment: Deployment) -> None:
    deployment.world.set(takes=3600)
    await deployment.subscribe("job.*", "job.late_result")
    job = await deployment.submit(asking("apiframe"))
    job = await deployment.in_state(job["id"], "queued")
    await asked(deployment, "POST", f"/v1/jobs/{job['id']}/cancel")
    await revoke(deployment, job)
    await ring(deployment, job, {"task_id": job["provider_job_id"], "status": "finished", "video_url": LINK})
    [event] = await deployment.delivered(job["id"], "job.late_result")
    assert [(one["url"], one["provider_url"]) for one in event["data"]["assets"]] == [(None, LINK)]
    assert (await deployment.job(job["id"]))["assets"][0]["url"] is None


async def test_links_of_an_open_job_are_revoked_and_the_job_goes_on(deployment: Deployment) -> None:
    deployment.world.set(takes=3600)
    job = await deployment.submit(asking("apiframe"))
    job = await deployment.in_state(job["id"], "queued")
    assert (await revoke(deployment, job))["state"] == "queued"
    await ring(deployment, job, {"task_id": job["provider_job_id"], "status": "finished", "video_url": LINK})
    ended = await deployment.final(job["id"])
    assert (ended["state"], ended["assets"][0]["url"]) == ("succeeded", None)
