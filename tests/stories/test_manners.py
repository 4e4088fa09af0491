"""Headers of responses: secrets are not cached, repeated answers are marked, faults are reported."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from receiver.config.settings import Settings
from receiver.events import long_polling
from receiver.providers.callbacks import CallbackReceiver
from receiver.providers.status import ProviderStatus
from tests.stories.deployment import PATIENCE, Deployment, asking, deployed
from tests.stories.tools import SILENT, asked, finished, open_job, problem, ring

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOOK = "http://127.0.0.1:1024/hook"
KEY = {"name": "k", "scopes": ["jobs:read"]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """Yield one deployment for all tests."""
    async with deployed(tmp_path_factory.mktemp("manners"), SILENT) as made:
        yield made


async def test_an_answer_that_shows_a_secret_is_stored_by_nobody(deployment: Deployment) -> None:
    endpoint = await deployment.client.post("/v1/endpoints", json={"url": HOOK, "events": ["*"]})
    assert endpoint.status_code == 201, endpoint.text
    place = f"/v1/endpoints/{endpoint.json()['id']}"
    with_secret = [
        endpoint,
        await deployment.client.get(f"{place}/secret"),
        await deployment.client.post("/v1/keys", json=KEY),
        await deployment.client.post("/v1/jobs", json=asking("aiml", callback_url=HOOK)),
    ]
    for answer in with_secret:
        assert answer.is_success
        assert "secret" in answer.text or "rb_" in answer.text
        assert answer.headers["cache-control"] == "no-store"
    without = [
        await deployment.client.get(place),
        await deployment.client.post("/v1/jobs", json=asking("aiml")),
    ]
    for answer in without:
        assert answer.is_success
        assert "cache-control" not in answer.headers


async def test_no_answer_of_json_is_guessed_at(deployment: Deployment) -> None:
    job = await open_job(deployment)
    url, _ = deployment.callback(job)
    answers = [
        *[
            await deployment.client.get(path)
            for path in ("/healthz", "/readyz", "/openapi.json", "/v1/jobs", "/x")
        ],
        await deployment.client.post("/v1/jobs", content=b"{"),
        await deployment.client.post(url, content=b"{}"),
        await ring(deployment, job, finished(job)),
    ]
    assert {answer.headers["x-content-type-options"] for answer in answers} == {"nosniff"}
    assert all("json" in answer.headers["content-type"] for answer in answers)


async def test_an_answer_that_repeats_a_key_says_so(deployment: Deployment) -> None:
    headers = {"idempotency-key": "once", "prefer": "wait=0"}
    first, second, third = [
        await deployment.client.post("/v1/jobs", json=asking("aiml"), headers=headers) for _ in range(3)
    ]
    assert "idempotent-replayed" not in first.headers
    for answer in (second, third):
        assert answer.headers["idempotent-replayed"] == "true"
        assert answer.json()["id"] == first.json()["id"]


async def test_a_fault_of_ours_is_told_as_that_and_logged(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: Any) -> Any:
        raise ValueError("a bug")

    def fails_at_once(*_: Any) -> Any:
        raise ValueError("a bug")

    monkeypatch.setattr(ProviderStatus, "view", fails_at_once)
    monkeypatch.setattr(CallbackReceiver, "take", fails)
    url, _ = deployment.callback(await open_job(deployment))
    for answer in (
        await deployment.client.get("/v1/providers"),
        await deployment.client.post(url, content=b"{}"),
    ):
        told = problem(answer, 500, "internal")
        assert "a bug" not in answer.text
        assert told["request_id"] in {getattr(one, "request_id", None) for one in caplog.records}


@pytest.mark.parametrize("end", ["/", "/?a=1", ""])
async def test_one_slash_behind_a_callback_token_is_taken(deployment: Deployment, end: str) -> None:
    job = await open_job(deployment)
    url, secret = deployment.callback(job)
    body = finished(job)
    answer = await deployment.client.post(url + end, json=body, headers={"x-webhook-secret": secret})
    assert answer.status_code == 200
    assert (await deployment.job(job["id"]))["state"] == "succeeded"


async def test_more_calls_than_may_wait_are_told_to_come_later(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_polling, "AT_MOST", 0)
    job = await deployment.submit(asking("aiml"))
    for path in (f"/v1/jobs/{job['id']}?wait=30", "/v1/events?wait=30&after=0&job=job_none"):
        answer = await deployment.client.get(path)
        problem(answer, 429, "too-many-requests")
        assert int(answer.headers["retry-after"]) > 0
    answer = await deployment.client.post("/v1/jobs", json=asking("aiml"), headers={"prefer": "wait=30"})
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


async def test_without_a_public_address_links_lead_to_the_one_that_was_asked(tmp_path: Path) -> None:
    async with deployed(tmp_path) as deployment:
        settings = deployment.services.core.settings
        deployment.services.api.settings = settings.model_copy(update={"public_url": None})
        job = await deployment.final((await deployment.submit(asking("apiframe")))["id"])
        token = job["assets"][0]["url"].rpartition("/")[2]
        assert job["assets"][0]["url"] == f"{deployment.url}/assets/{token}"
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            assert (await client.get(job["assets"][0]["url"])).status_code == 307
        for host in ("hooks.example:8443", "[::1]:8080", "my_host"):
            told = await asked(deployment, "GET", f"/v1/jobs/{job['id']}", headers={"host": host})
            assert told["assets"][0]["url"] == f"http://{host}/assets/{token}"


@pytest.mark.parametrize(
    ("host", "port", "base"),
    [
        ("0.0.0.0", 8080, "http://127.0.0.1:8080"),  # noqa: S104  # no socket is bound to it
        ("::", 80, "http://[::1]"),
        ("127.0.0.1", 1, "http://127.0.0.1:1"),
        ("::1", 1, "http://[::1]:1"),
        ("hooks.example", 1, "http://hooks.example:1"),
    ],
)
async def test_links_that_nobody_asked_for_lead_to_this_machine(host: str, port: int, base: str) -> None:
    assert Settings(host=host, port=port).link_base == base


async def test_a_job_that_ends_wakes_the_call_that_waits_at_once(deployment: Deployment) -> None:
    job = await open_job(deployment)
    waiting = asyncio.create_task(deployment.job(job["id"], wait=60))
    place = (await asked(deployment, "GET", "/v1/events", params={"limit": 200}))["next_cursor"]
    feed = asyncio.create_task(asked(deployment, "GET", "/v1/events", params={"wait": 60, "after": place}))

    async def waiters() -> int:
        return deployment.services.core.waiting_calls._by_owner.total()

    await deployment.until(waiters, lambda count: count == 2)
    await ring(deployment, job, finished(job))
    assert (await waiting)["state"] == "succeeded"
    assert (await feed)["data"][0]["data"]["id"] == job["id"]
    assert await waiters() == 0
