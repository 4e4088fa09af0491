"""A single delivery: the meaning of its answers, and the parts that stay the same on every attempt."""

import asyncio
import base64
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from standardwebhooks import Webhook

from receiver.domain.clock import Clock
from receiver.domain.model import Work
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
    ring,
    settled,
    subscribe,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """Yield one deployment for the whole table. It tries a delivery three times."""
    async with deployed(tmp_path_factory.mktemp("deliveries"), SILENT) as made:
        yield made


Answer = tuple[int, dict[str, str]]
ASKED, GONE = "the endpoint asked to be disabled", "the endpoint answered 410 Gone"
ANSWERS: dict[str, tuple[Answer, str, str | None]] = {
    "200": ((200, {}), "delivered", None),
    "202": ((202, {}), "delivered", None),
    "204": ((204, {}), "delivered", None),
    "299": ((299, {}), "delivered", None),
    "300": ((300, {"location": "/elsewhere"}), "retried", None),
    "301": ((301, {"location": "/elsewhere"}), "retried", None),
    "302": ((302, {"location": "/elsewhere"}), "retried", None),
    "303": ((303, {"location": "/elsewhere"}), "retried", None),
    "304": ((304, {}), "retried", None),
    "307": ((307, {"location": "/elsewhere"}), "retried", None),
    "308": ((308, {"location": "/elsewhere"}), "retried", None),
    "400": ((400, {}), "retried", None),
    "401": ((401, {}), "retried", None),
    "404": ((404, {}), "retried", None),
    "408": ((408, {}), "retried", None),
    "418": ((418, {}), "retried", None),
    "429": ((429, {}), "retried", None),
    "500": ((500, {}), "retried", None),
    "502": ((502, {}), "retried", None),
    "503": ((503, {}), "retried", None),
    "504": ((504, {}), "retried", None),
    "599": ((599, {}), "retried", None),
    "200 and disable": ((200, {"webhook-delivery": "disable"}), "delivered", ASKED),
    "200 and abort-message": ((200, {"webhook-delivery": "abort-message"}), "delivered", None),
    "410": ((410, {}), "canceled", GONE),
    "500 and abort-message": ((500, {"webhook-delivery": "abort-message"}), "canceled", None),
    "429 and abort-message": ((429, {"webhook-delivery": " Abort-Message "}), "canceled", None),
    "500 and disable": ((500, {"webhook-delivery": "disable"}), "canceled", ASKED),
    "404 and an unknown word": ((404, {"webhook-delivery": "sing"}), "retried", None),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_what_an_answer_means(deployment: Deployment, name: str) -> None:
    (status, headers), means, disabled = ANSWERS[name]
    endpoint = await deployment.subscribe("job.canceled")
    deployment.hook.deliveries.clear()
    deployment.hook.answers = [(status, headers)]
    job = await ended_job(deployment)
    told = await settled(deployment, job=job["id"], endpoint=endpoint["id"])
    again = [204] if means == "retried" else []
    assert [one["status"] for one in told["attempts"]] == [status, *again]
    assert told["state"] == ("delivered" if means == "retried" else means)
    assert len(deployment.hook.deliveries) == 1 + len(again)
    assert len({(sent["webhook-id"], body) for sent, body in deployment.hook.deliveries}) == 1
    shown = ("disabled" if disabled else "active", disabled)
    after = await deployment.until(partial(standing, deployment, endpoint), lambda seen: seen == shown)
    assert after == shown
    await asked(deployment, "DELETE", f"/v1/endpoints/{endpoint['id']}", 204)


async def standing(deployment: Deployment, endpoint: dict[str, Any]) -> tuple[str, str | None]:
    """Return the state of an endpoint, and the reason."""
    told = await asked(deployment, "GET", f"/v1/endpoints/{endpoint['id']}")
    return told["state"], told["disabled_reason"]


async def test_an_answer_is_kept_up_to_a_kibibyte(deployment: Deployment) -> None:
    endpoint = await deployment.subscribe("job.canceled")
    deployment.hook.answers = [(500, {"content-type": "text/plain"})]
    job = await ended_job(deployment)
    told = await settled(deployment, job=job["id"], endpoint=endpoint["id"])
    first, second = told["attempts"]
    assert (first["status"], first["answer"], first["error"]) == (500, "thanks", None)
    assert (second["status"], second["answer"]) == (204, "")
    assert first["latency_ms"] > 0
    assert told["attempts_made"] == 2
    await asked(deployment, "DELETE", f"/v1/endpoints/{endpoint['id']}", 204)


async def test_an_endpoint_that_says_gone_many_times_is_disabled_once(deployment: Deployment) -> None:
    async with downstream() as hook:
        endpoint = await subscribe(deployment, hook, "job.canceled")
        hook.hold, hook.status = asyncio.Event(), 410
        jobs = [await ended_job(deployment) for _ in range(3)]

        async def arrived() -> int:
            return len(hook.deliveries)

        await deployment.until(arrived, lambda count: count == 3)
        hook.hold.set()

        async def under_way() -> int:
            return deployment.services.core.limits.lane(Work.DELIVER, endpoint["id"]).in_flight

        await deployment.until(under_way, lambda count: count == 0)
        told = await listed(deployment, "/v1/deliveries", endpoint=endpoint["id"])
        assert [one["state"] for one in told] == ["canceled"] * 3
        assert {one["job"] for one in told} == {job["id"] for job in jobs}
        events = await listed(deployment, "/v1/events", type="endpoint.disabled")
        assert len([one for one in events if one["data"]["id"] == endpoint["id"]]) == 1


HOUR, DAY = timedelta(hours=1), timedelta(hours=24)
PATIENCE: dict[str, tuple[int, str, timedelta, timedelta]] = {
    "seconds": (429, "3600", HOUR, HOUR + timedelta(minutes=2)),
    "seconds of a busy one": (503, "3600", HOUR, HOUR + timedelta(minutes=2)),
    "more than a day": (429, "999999999", DAY, DAY + timedelta(minutes=2)),
    "any failure": (500, "3600", HOUR, HOUR + timedelta(minutes=2)),
}


async def asked_for_patience(
    deployment: Deployment, status: int, hint: str
) -> tuple[dict[str, Any], timedelta]:
    """Return a delivery after one such answer, and the wait until its next attempt."""
    endpoint = await deployment.subscribe("job.canceled")
    deployment.hook.answers = [(status, {"retry-after": hint})]
    job = await ended_job(deployment)
    told = await attempted(deployment, 1, job=job["id"], endpoint=endpoint["id"])
    wait = datetime.fromisoformat(told["next_attempt_at"]) - datetime.fromisoformat(told["attempts"][0]["at"])
    return told, wait


@pytest.mark.parametrize("name", PATIENCE)
async def test_a_wish_for_patience_is_honoured(deployment: Deployment, name: str) -> None:
    status, hint, least, most = PATIENCE[name]
    told, wait = await asked_for_patience(deployment, status, hint)
    assert least <= wait <= most
    assert (told["state"], len(told["attempts"])) == ("pending", 1)
    await asked(deployment, "DELETE", f"/v1/endpoints/{told['endpoint']}", 204)


async def test_a_wish_for_patience_may_be_a_date(deployment: Deployment) -> None:
    until = datetime.now(UTC) + HOUR
    told, wait = await asked_for_patience(deployment, 503, format_datetime(until, usegmt=True))
    assert HOUR - timedelta(minutes=2) <= wait <= HOUR + timedelta(minutes=2)
    await asked(deployment, "DELETE", f"/v1/endpoints/{told['endpoint']}", 204)


@pytest.mark.parametrize("hint", ["-5", "nan", "1e3", "soon", "", "Mon, 32 Foo 2026 99:00:00 GMT", "0"])
async def test_a_wish_that_cannot_be_read_is_none(deployment: Deployment, hint: str) -> None:
    endpoint = await deployment.subscribe("job.canceled")
    deployment.hook.answers = [(429, {"retry-after": hint})]
    job = await ended_job(deployment)
    told = await settled(deployment, job=job["id"], endpoint=endpoint["id"])
    assert [one["status"] for one in told["attempts"]] == [429, 204]
    await asked(deployment, "DELETE", f"/v1/endpoints/{endpoint['id']}", 204)


async def test_a_wish_for_patience_holds_the_whole_endpoint_and_no_other(deployment: Deployment) -> None:
    told, _ = await asked_for_patience(deployment, 429, "3600")
    async with downstream() as hook:
        other = await subscribe(deployment, hook, "job.canceled")
        job = await ended_job(deployment)
        assert (await settled(deployment, job=job["id"], endpoint=other["id"]))["state"] == "delivered"
        held = await delivery_of(deployment, job=job["id"], endpoint=told["endpoint"])
        assert (held["state"], held["attempts"]) == ("pending", [])
        await asked(deployment, "DELETE", f"/v1/endpoints/{other['id']}", 204)
    await asked(deployment, "DELETE", f"/v1/endpoints/{told['endpoint']}", 204)


async def test_a_retry_by_hand_goes_now_although_patience_was_asked_for(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        told, _ = await asked_for_patience(deployment, 429, "3600")
        await asked(deployment, "POST", f"/v1/deliveries/{told['id']}/retry", 202)
        after = await attempted(deployment, 2, job=told["job"])
        assert after["state"] == "delivered"


async def test_every_attempt_says_the_same_at_its_own_time(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, SILENT, clock=moving.clock, retry_schedule="[60, 60]") as deployment:
        moving.stop()
        await deployment.subscribe("job.succeeded")
        deployment.hook.answers = [(500, {}), (503, {})]
        job = await open_job(deployment)
        await ring(deployment, job, finished(job))
        for times in (1, 2):
            await attempted(deployment, times, job=job["id"])
            moving.wait(67)
        told = await settled(deployment, job=job["id"])
        assert [one["status"] for one in told["attempts"]] == [500, 503, 204]
        headers = [sent for sent, _ in deployment.hook.deliveries]
        assert len({body for _, body in deployment.hook.deliveries}) == 1
        assert {one["webhook-id"] for one in headers} == {told["event"]}
        assert len({int(one["webhook-timestamp"]) for one in headers}) == 3
        assert len({one["webhook-signature"] for one in headers}) == 3
        assert {one["content-type"] for one in headers} == {"application/json"}
        assert len(deployment.hook.events()) == 3


async def test_a_delivery_is_verified_by_openssl(deployment: Deployment) -> None:
    endpoint = await deployment.subscribe("job.canceled")
    job = await ended_job(deployment, metadata={"name": "T\u00eate \U0001f30a"})
    await settled(deployment, job=job["id"], endpoint=endpoint["id"])
    headers, body = deployment.hook.deliveries[-1]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(endpoint["secret"].removeprefix("whsec_")).hex()
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}", "-binary"]
    digest = await asyncio.to_thread(subprocess.run, command, input=signed, capture_output=True, check=True)
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest.stdout).decode()
    assert Webhook(endpoint["secret"]).verify(body, headers)["data"]["id"] == job["id"]
    await asked(deployment, "DELETE", f"/v1/endpoints/{endpoint['id']}", 204)


async def test_an_endpoint_that_hangs_costs_its_time_and_is_tried_again(tmp_path: Path) -> None:
    async with (
        deployed(tmp_path, SILENT, delivery_timeout="1", retry_schedule="[0.05]") as deployment,
        downstream() as hook,
    ):
        hanging = await subscribe(deployment, hook, "job.canceled")
        quick = await deployment.subscribe("job.canceled")
        hook.hold = asyncio.Event()
        job = await ended_job(deployment)
        assert (await settled(deployment, job=job["id"], endpoint=quick["id"]))["state"] == "delivered"
        told = await settled(deployment, job=job["id"], endpoint=hanging["id"])
        assert [(one["status"], one["error"]) for one in told["attempts"]] == [(None, "read: timed out")] * 2
        assert (told["state"], told["reason"]) == ("exhausted", "read: timed out")
        hook.hold.set()


async def test_an_endpoint_where_nobody_listens_is_tried_again(deployment: Deployment) -> None:
    async with downstream() as hook:
        gone = hook.url
    told = await asked(
        deployment, "POST", "/v1/endpoints", 201, json={"url": f"{gone}/x", "events": ["job.canceled"]}
    )
    job = await ended_job(deployment)
    after = await settled(deployment, job=job["id"], endpoint=told["id"])
    assert after["state"] == "exhausted"
    assert [one["error"] for one in after["attempts"]] == ["connect: connection refused"] * 3
    await asked(deployment, "DELETE", f"/v1/endpoints/{told['id']}", 204)


@pytest.mark.parametrize("answers", [[], [(503, {})] * 7], ids=["all is well", "some fail once"])
async def test_a_free_slot_never_waits_for_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[tuple[int, dict[str, str]]]
) -> None:
    clock = Clock(chance=lambda: 0.0)
    async with deployed(tmp_path, SILENT, clock=clock, retry_schedule=str([0.05] * 7)) as deployment:
        monkeypatch.setattr(deployment.services.core.store.driver, "scan", 3600.0)
        await deployment.subscribe("job.canceled", max_in_flight=2)
        deployment.hook.answers = list(answers)
        for burst in (5, 1, 2, 3, 1, 8, 2, 1):
            await asyncio.gather(*(ended_job(deployment) for _ in range(burst)))
            told = await all_settled(deployment)
            assert {one["state"] for one in told} == {"delivered"}


async def test_what_waits_for_the_end_of_a_hold_does_not_wait_for_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with deployed(tmp_path, SILENT, retry_schedule="[]") as deployment:
        monkeypatch.setattr(deployment.services.core.store.driver, "scan", 3600.0)
        await deployment.subscribe("job.canceled")
        deployment.hook.answers = [(503, {"retry-after": "1"})]
        for state in ("exhausted", "delivered"):
            job = await ended_job(deployment)
            [told] = [one for one in await all_settled(deployment) if one["job"] == job["id"]]
            assert told["state"] == state
