"""A provider of the operator's own: its description lies outside the package and is named in the settings."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from receiver.domain.event_types import JOB_FINAL
from receiver.sandbox.world import Knobs
from tests.stories.command_line import run
from tests.stories.deployment import Deployment, deployed

ACME = """
name = "acme"
title = "Acme"
base_url = "https://api.acme.example"
checked = 2026-11-29
sources = ["https://docs.acme.example/api, read 2026-11-29"]
confidence = { all = "unconfirmed" }
auth = "header:x-acme-key"
words = { WAITING = "queued", WORKING = "running", READY = "succeeded", BROKEN = "failed", OFF = "canceled" }
fields = { id = "/task/id", status = "/task/state", progress = "/task/done" }
submit = { callback = "body:/notify/url", secret = "body:/notify/secret" }
poll = { path = "/v1/tasks", query = { task = "{id}" } }
cancel = { method = "DELETE", path = "/v1/tasks/{id}" }
resolve = { path = "/v1/files", query = { file = "{source}" }, url = "/url", kind = "video", life = "1h" }
failure = { error = "/task/problem" }
usage = { credits = "/task/credits" }
example = { prompt = "a tide" }
files = [{ at = "/task/file", kind = "video", source = true }]
operations = [
  { names = "video", path = "/v1/tasks", kind = "video" },
]
rules = [{ types = { text = "prompt" }, required = ["prompt"] }]

[callback.proof]
scheme = "hmac"
header = "x-acme-signature"
time = "header:x-acme-time"
message = "{time}.{body}"
encoding = "base64"

[settings.region]
kind = "choice"
choices = ["eu", "us"]
default = "eu"
sets = "/headers/x-acme-region"
say = "the region"
"""
SHORT = ACME.replace("words = { WAITING", "words = { NEVER").replace("cancel =", "# cancel =")
"""The description after a change: one word and one call less."""


@contextlib.asynccontextmanager
async def serving(
    folder: Path, text: str = ACME, knobs: Knobs | None = None, **settings: Any
) -> AsyncIterator[Deployment]:
    """Yield a deployment with one more account, `acme`, described by a file of its own."""
    path = folder / "acme.toml"
    path.write_text(text)
    own = {"acme": {"description": str(path), "region": "us"} | settings}
    async with deployed(folder, knobs, own=own) as deployment:
        yield deployment


def asking(words: str = "a tide", operation: str | None = None) -> dict[str, Any]:
    """Return a request for a job of the own provider."""
    return {"provider": "acme", "operation": operation or "video", "input": {"prompt": words}}


async def test_a_job_of_an_own_description_ends_by_its_proved_callback(tmp_path: Path) -> None:
    async with serving(tmp_path) as deployment:
        await deployment.subscribe("job.*")
        job = await deployment.submit(asking())
        done = await deployment.final(job["id"])
        assert (done["state"], done["completed_by"]) == ("succeeded", "callback")
        [event] = await deployment.delivered(job["id"], *JOB_FINAL)
        assert event["data"]["assets"] == done["assets"]
        [asset] = done["assets"]
        # The file is a source: the service asks the provider for a fresh link.
        link = await deployment.client.get(asset["url"])
        assert (link.status_code, deployment.front.count("GET /acme/v1/files")) == (307, 1)
        assert link.headers["location"].endswith(f"/acme/files/{done['provider_job_id']}/0.mp4")
        assert deployment.world.accepted["acme"] == 1


async def test_a_proof_over_the_path_holds_for_a_short_callback_and_a_long_one(tmp_path: Path) -> None:
    text = ACME.replace('"{time}.{body}"', '"{method} {path} {time}.{body}"')
    async with serving(tmp_path, text) as deployment:
        for words in ("a tide", "a tide " + "~" * 70_000):
            done = await deployment.final((await deployment.submit(asking(words)))["id"])
            assert (done["state"], done["completed_by"]) == ("succeeded", "callback")
        accounts = (await deployment.client.get("/v1/providers")).json()["data"]
        [acme] = [one for one in accounts if one["id"] == "acme"]
        assert acme["health"]["callbacks_refused"] == 0


async def test_one_real_job_shows_every_message_without_its_secrets(tmp_path: Path) -> None:
    async with serving(tmp_path) as deployment:
        setup = deployment.services.core.accounts.setups["acme"]
        account = {"acme": {"description": str(tmp_path / "acme.toml"), "api_key": "key-acme"}}
        account["acme"]["base_url"] = setup.base_url
        variables = {
            "RINGBACK_PROVIDERS": json.dumps(account),
            "RINGBACK_EGRESS_ALLOW": '["127.0.0.0/8"]',
            "RINGBACK_SECRET_KEYS": json.dumps(["m" * 32]),
        }
        said = await run(tmp_path, "providers", "try", "acme", "--yes", **variables)
        assert (said.code, "Traceback" in said.err) == (0, False), said.err
        lines = said.out.splitlines()
        assert lines[0].startswith("> POST http://127.0.0.1:")
        assert '  "prompt": "a tide"' in lines
        assert "< HTTP 200" in lines
        assert "key-acme" not in said.out
        assert deployment.world.accepted["acme"] == 1


async def test_a_forged_callback_is_refused_and_a_lost_one_made_good_by_a_poll(tmp_path: Path) -> None:
    async with serving(tmp_path, backstop_after=0.2) as deployment:
        forged, lost = [await deployment.submit(asking(f"a tide, {word}")) for word in ("forged", "lost")]
        assert (await deployment.final(forged["id"]))["state"] == "succeeded"
        assert (await deployment.final(lost["id"]))["completed_by"] == "poll"
        accounts = (await deployment.client.get("/v1/providers")).json()["data"]
        [acme] = [one for one in accounts if one["id"] == "acme"]
        assert (acme["handler"], acme["health"]["callbacks_refused"]) == ("acme", 1)


async def test_a_failure_and_a_refusal_keep_the_provider_s_words(tmp_path: Path) -> None:
    async with serving(tmp_path) as deployment:
        failed, refused = [await deployment.submit(asking(f"a tide, {word}")) for word in ("fail", "refused")]
        error = (await deployment.final(failed["id"]))["error"]
        assert (error["code"], error["message"]) == ("generation_failed", "this job was asked to fail")
        error = (await deployment.final(refused["id"]))["error"]
        assert (error["code"], error["message"]) == ("rejected", "the input was refused")
        problem = await deployment.submit(asking(""), 422)
        assert problem["errors"][0]["pointer"] == "/input/prompt"


async def test_a_job_is_canceled_at_the_provider(tmp_path: Path) -> None:
    async with serving(tmp_path, knobs=Knobs(takes=3600.0)) as deployment:
        job = await deployment.submit(asking())
        await deployment.until(lambda: deployment.job(job["id"]), lambda told: told["provider_job_id"])
        await deployment.client.post(f"/v1/jobs/{job['id']}/cancel")
        done = await deployment.final(job["id"])
        assert done["state"] == "canceled"
        theirs = f"DELETE /acme/v1/tasks/{done['provider_job_id']}"
        await deployment.until(lambda: _counted(deployment, theirs), lambda count: count == 1)


async def _counted(deployment: Deployment, call: str) -> int:
    return deployment.front.count(call)


async def test_jobs_go_on_under_a_description_that_changed(tmp_path: Path) -> None:
    async with serving(tmp_path, knobs=Knobs(takes=3600.0), backstop_after=0.1) as deployment:
        job = await deployment.submit(asking())
        told = await deployment.until(lambda: deployment.job(job["id"]), lambda one: one["provider_job_id"])
        jobs = dict(deployment.world.jobs)
    async with serving(tmp_path, SHORT, Knobs(takes=0.2), backstop_after=0.1) as deployment:
        deployment.world.jobs.update(jobs)
        for one in jobs.values():
            one.takes = 0.0
        done = await deployment.final(job["id"])
        assert (done["state"], done["provider_job_id"]) == ("succeeded", told["provider_job_id"])
