"""Secrecy: no secret appears in the logs or in any response."""

import contextlib
import io
import logging
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from receiver import observability
from receiver.sandbox.providers import SPEAKERS
from receiver.sandbox.world import Knobs
from tests.receiver.sandbox.simulated import handler_of
from tests.stories.deployment import KEY, MASTER, Deployment, asking, deployed
from tests.stories.tools import PROOF, all_settled, asked, finished, open_job, ring, says

GIVEN = "whsec_" + b64encode(b"given for a job of its own").decode()
LISTS = ("/v1/jobs", "/v1/events", "/v1/deliveries", "/v1/endpoints", "/v1/keys", "/v1/providers")


async def everything_said(deployment: Deployment) -> str:
    """Return the API's responses about everything that is stored, as one text."""
    answers: list[str] = []
    for path in LISTS:
        answer = await deployment.client.get(path)
        answers.append(answer.text)
        if path == "/v1/providers":
            continue
        paths = [f"{path}/{item['id']}" for item in answer.json()["data"]]
        paths += [f"{one}/timeline" for one in paths if path == "/v1/jobs"]
        answers += [(await deployment.client.get(one)).text for one in paths]
    return "\n".join(answers)


@pytest.fixture(params=["json", "text"])
def log(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """Yield the log of the service, at the level `debug`."""
    handlers, level, ours = logging.root.handlers[:], logging.root.level, observability.LOGGER.level
    written = io.StringIO()
    with contextlib.redirect_stderr(written):
        observability.set_up("debug", request.param)
    yield written
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    observability.LOGGER.setLevel(ours)


async def busy_house(deployment: Deployment) -> dict[str, str]:
    """Let everything happen that handles a secret. Returns the secrets by name."""
    endpoint = await deployment.subscribe("*", headers={"authorization": "Bearer custom-header-value"})
    key = await asked(deployment, "POST", "/v1/keys", 201, json={"name": "x", "scopes": ["admin"]})
    job = await open_job(deployment, callback_url=deployment.hook.url + "/own", callback_secret=GIVEN)
    url, secret = deployment.callback(job)
    for proof in ("wrong", secret + "x"):
        await deployment.client.post(url, content=b"{}", headers={PROOF: proof})
    await ring(deployment, job, b"\xff")
    echo = {"webhook_secret": secret, "deep": [{"webhook_url": url, secret: "name"}], "key": "key-apiframe"}
    await ring(deployment, job, says(job, "processing", message=f"calling {url} with {secret}"))
    await ring(deployment, job, finished(job, **echo))
    failed = await open_job(deployment)
    await ring(
        deployment, failed, says(failed, "failed", message=f"{deployment.callback(failed)[1]} key-apiframe")
    )
    await deployment.submit(asking("apiframe", "a tide, refused"))
    await deployment.submit(asking("aiml", "a tide, lost-answer"))
    await all_settled(deployment)
    made = deployment.folder / "ringback-secret-keys"
    return {
        "a job's secret": secret,
        "another job's secret": deployment.callback(failed)[1],
        "a callback's token": url.rsplit("/", 1)[-1],
        "our key": KEY,
        "a made key": key["key"],
        "the provider's key": "key-apiframe",
        "the endpoint's secret": endpoint["secret"],
        "a one-off secret": GIVEN,
        "a header's value": "custom-header-value",
        "a master key": made.read_text("ascii").strip() if made.exists() else MASTER,
    }


async def test_nothing_secret_is_logged_or_told(tmp_path: Path, log: io.StringIO) -> None:
    async with deployed(tmp_path, Knobs(takes=3600)) as deployment:
        secrets = await busy_house(deployment)
        said = await everything_said(deployment)
        logged = log.getvalue()
        assert "[redacted]" in said
        assert "cannot be read" in logged
        assert "POST /callbacks/apiframe/" in logged
        for name, secret in secrets.items():
            assert secret not in said, f"{name} is told"
            assert secret not in logged, f"{name} is logged"


async def test_an_echo_is_hidden_however_json_spells_it(tmp_path: Path) -> None:
    accounts: dict[str, Any] = {"api_key": "key/with/slashes"}
    async with deployed(tmp_path, Knobs(takes=3600), accounts) as deployment:
        job = await open_job(deployment)
        body = '{"task_id":"%s","status":"finished","video_url":"%s","actions":["%s"]}'
        spelled = body % (job["provider_job_id"], "https://cdn.example/0.mp4", r"key\/with\/slashes")
        await ring(deployment, job, spelled.encode())
        told = await deployment.job(job["id"])
        assert told["state"] == "succeeded"
        assert "key/with/slashes" not in str(told)


@pytest.mark.parametrize("provider", [name for name in SPEAKERS if handler_of(name).poll is not None])
async def test_what_a_poll_echoes_is_hidden_in_the_result(tmp_path: Path, provider: str) -> None:
    async with deployed(tmp_path, Knobs(takes=3600), {"backstop_after": 0.1}) as deployment:
        job = await open_job(deployment, provider)
        url, secret = deployment.callback(job)
        secrets = [url.rsplit("/", 1)[-1], secret, f"key-{provider}"]
        speaker = deployment.front.app

        async def echoing(scope: Scope, receive: Receive, send: Send) -> None:
            asked_for = Request(scope, receive)
            transport = httpx.ASGITransport(speaker)
            async with httpx.AsyncClient(transport=transport) as client:
                answer = await client.request(
                    asked_for.method,
                    str(asked_for.url),
                    headers=dict(asked_for.headers),
                    content=await asked_for.body(),
                )
            told = answer.json()
            await JSONResponse({**told, "echo": [url, *secrets]})(scope, receive, send)

        deployment.front.app = echoing
        for one in deployment.world.jobs.values():
            one.takes = 0.0
        done = await deployment.final(job["id"])
        assert (done["state"], done["completed_by"]) == ("succeeded", "poll")
        assert len(done["result"]["echo"]) == 4
        assert not [secret for secret in secrets if secret in str(done)]
