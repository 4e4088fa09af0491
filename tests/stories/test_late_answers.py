"""Answers that come after their endpoint was changed, and the state of endpoints and deliveries."""

import asyncio
import json as plain
import logging
from pathlib import Path
from typing import Any

import pytest

from receiver.cli.secrets import _reencrypt
from receiver.domain.clock import Clock
from receiver.security.tokens import MasterKeys
from receiver.store import endpoints as table
from tests.stories.deployment import Deployment, Hook, deployed
from tests.stories.tools import (
    SILENT,
    all_settled,
    asked,
    attempted,
    delivery_of,
    downstream,
    ended_job,
    listed,
    problem,
    settled,
    subscribe,
)

QUICK = "[0.05, 0.05, 0.05]"
ANSWERS: dict[str, tuple[int, dict[str, str]]] = {
    "gone": (410, {}),
    "disable": (500, {"webhook-delivery": "disable"}),
    "patience": (503, {"retry-after": "3600"}),
    "abort": (500, {"webhook-delivery": "abort-message"}),
}


async def under_way(deployment: Deployment, hook: Hook, **query: Any) -> None:
    """Wait until the downstream has a delivery that it has not answered."""
    await deployment.until(lambda: asyncio.sleep(0, len(hook.deliveries)), bool)


@pytest.mark.parametrize("change", ["patched", "resumed"])
@pytest.mark.parametrize("name", ANSWERS)
async def test_what_is_answered_before_a_change_counts_for_nobody_behind_it(
    tmp_path: Path, name: str, change: str
) -> None:
    async with deployed(tmp_path, SILENT, retry_schedule=QUICK) as deployment, downstream() as new:
        endpoint = await deployment.subscribe("job.canceled")
        new.secret = deployment.hook.secret
        deployment.hook.hold, deployment.hook.answers = asyncio.Event(), [ANSWERS[name]]
        job = await ended_job(deployment)
        await under_way(deployment, deployment.hook)
        path, fresh = f"/v1/endpoints/{endpoint['id']}", new
        if change == "patched":
            await asked(deployment, "PATCH", path, json={"url": new.url})
        else:
            await asked(deployment, "POST", f"{path}/resume")
            fresh = deployment.hook
        deployment.hook.hold.set()
        told = await settled(deployment, job=job["id"])
        assert (told["state"], told["reason"]) == ("delivered", None)
        statuses = [one["status"] for one in told["attempts"]]
        assert statuses == [ANSWERS[name][0], 204]
        assert fresh.events()[-1]["data"]["id"] == job["id"]
        shown = await asked(deployment, "GET", path)
        assert (shown["state"], shown["disabled_reason"]) == ("active", None)
        assert deployment.services.core.limits.held(endpoint["id"]) == 0


SECRET_URL = "/private/T000CANARY?sig=S000CANARY"


async def test_an_endpoints_url_is_told_to_nobody_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with deployed(tmp_path, SILENT) as deployment, downstream() as hook:
        star = await subscribe(deployment, hook, "*")
        body = {"url": deployment.hook.url + SECRET_URL, "events": ["job.canceled"]}
        made = await asked(deployment, "POST", "/v1/endpoints", 201, json=body)
        deployment.hook.secret, deployment.hook.status = made["secret"], 410
        await ended_job(deployment)
        [disabled] = await deployment.until(
            lambda: listed(deployment, "/v1/events", type="endpoint.disabled"), lambda found: len(found) == 1
        )
        assert (disabled["data"]["id"], disabled["data"]["url"]) == (made["id"], deployment.hook.url)
        await asked(deployment, "POST", f"/v1/endpoints/{made['id']}/test")
        await all_settled(deployment, endpoint=star["id"])
        told = [*hook.deliveries, *await listed(deployment, "/v1/events")]
        logged = [one.getMessage() for one in caplog.records if one.name.startswith("ringback")]
        assert logged
        assert "000CANARY" not in str([*told, *logged])
        assert (await asked(deployment, "GET", f"/v1/endpoints/{made['id']}"))["url"] == body["url"]


async def test_one_callback_url_that_is_held_holds_no_other_on_its_host(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        deployment.hook.answers = [(503, {"retry-after": "3600"})]
        first = await ended_job(deployment, callback_url=f"{deployment.hook.url}/one")
        await attempted(deployment, 1, job=first["id"])
        again = await ended_job(deployment, callback_url=f"{deployment.hook.url}/one")
        other = await ended_job(deployment, callback_url=f"{deployment.hook.url}/two")
        assert (await settled(deployment, job=other["id"]))["state"] == "delivered"
        waits = await deployment.until(
            lambda: delivery_of(deployment, job=again["id"]), lambda told: told["next_attempt_at"] is not None
        )
        assert (waits["state"], waits["attempts"]) == ("pending", [])
        assert waits["next_attempt_at"] > waits["created_at"]
        await asked(deployment, "POST", f"/v1/deliveries/{waits['id']}/retry", 202)
        assert (await settled(deployment, job=again["id"]))["state"] == "delivered"


async def test_what_is_retried_by_hand_while_it_is_sent_is_sent_again(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        await deployment.subscribe("job.canceled")
        deployment.hook.hold = asyncio.Event()
        job = await ended_job(deployment)
        await under_way(deployment, deployment.hook)
        [one] = await listed(deployment, "/v1/deliveries", job=job["id"])
        await asked(deployment, "POST", f"/v1/deliveries/{one['id']}/retry", 202)
        deployment.hook.hold.set()
        await attempted(deployment, 2, job=job["id"])
        assert (await settled(deployment, job=job["id"]))["state"] == "delivered"
        assert len({sent["webhook-id"] for sent, _ in deployment.hook.deliveries}) == 1


async def test_keys_that_are_not_here_yet_lose_no_delivery_and_no_secret(tmp_path: Path) -> None:
    old, new = "m" * 32, "n" * 32
    async with deployed(tmp_path, SILENT, secret_keys=plain.dumps([old])) as deployment:
        made = await deployment.subscribe("job.canceled", headers={"authorization": "Bearer theirs"})
        deployment.services.core.store.driver.shared = False  # no refusal for the replica without the key
        await _reencrypt(deployment.services.core.store, MasterKeys([new, old], Clock().entropy))
        await deployment.services.api.endpoints.refresh()
        job = await ended_job(deployment, callback_url=f"{deployment.hook.url}/own")
        path = f"/v1/endpoints/{made['id']}"
        await asked(deployment, "PATCH", path, json={"description": "x"})
        problem(await deployment.client.patch(path, json={"headers": {"x-own": "1"}}), 409, "conflict")
        for call in (("GET", f"{path}/secret"), ("POST", f"{path}/test")):
            problem(await deployment.client.request(*call), 409, "conflict")
        told = await delivery_of(deployment, job=job["id"], endpoint=made["id"])
        assert (told["state"], told["attempts"], told["reason"]) == ("pending", [], None)
    async with deployed(tmp_path, SILENT, secret_keys=plain.dumps([new, old])) as later:
        later.hook.secret = made["secret"]
        await asked(later, "PATCH", path, json={"url": later.hook.url})
        told = await settled(later, job=job["id"], endpoint=made["id"])
        assert told["state"] == "delivered"
        [(sent, _)] = later.hook.deliveries
        assert (sent["authorization"], len(later.hook.events())) == ("Bearer theirs", 1)


async def test_masked_values_leave_what_is_stored(deployment: Deployment) -> None:
    made = await deployment.subscribe("job.canceled", headers={"X-Env": "prod", "x-old": "1"})
    path = f"/v1/endpoints/{made['id']}"
    shown = await asked(deployment, "GET", path)
    changed = await asked(deployment, "PATCH", path, json={"headers": shown["headers"] | {"x-OLD": "2"}})
    assert changed["headers"] == {"X-Env": "***", "x-OLD": "***"}
    await settled(deployment, job=(await ended_job(deployment))["id"])
    sent = deployment.hook.deliveries[-1][0]
    assert (sent["x-env"], sent["x-old"]) == ("prod", "2")
    body = {"url": deployment.hook.url, "headers": {"x-env": "***"}}
    for answer in (
        await deployment.client.post("/v1/endpoints", json=body),
        await deployment.client.patch(path, json={"headers": {"x-new": "***"}}),
    ):
        told = problem(answer, 422, "validation")
        assert [one["pointer"].startswith("/headers/x-") for one in told["errors"]] == [True]


async def test_a_delivery_tells_how_it_stands(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with deployed(tmp_path, SILENT, retry_schedule="[3600]") as deployment, downstream() as bad:
        made = await subscribe(deployment, bad, "job.canceled")
        bad.answers = [(500, {}), (500, {"webhook-delivery": "abort-message"}), (204, {})]
        job = await ended_job(deployment)
        await attempted(deployment, 1, job=job["id"])
        [one] = await listed(deployment, "/v1/deliveries", job=job["id"])
        assert (one["last_status"], one["last_error"], one["state"]) == (500, None, "pending")
        assert one["next_attempt_at"] is not None
        await deployment.services.core.store.write(
            lambda: table.set_state(made["id"], "disabled", "by hand", deployment.services.core.clock.now())
        )
        [one] = await listed(deployment, "/v1/deliveries", job=job["id"])
        assert (one["state"], one["next_attempt_at"]) == ("pending", None)
        # What waits for a later attempt goes out at once.
        await asked(deployment, "POST", f"/v1/endpoints/{made['id']}/resume")
        one = await settled(deployment, job=job["id"])
        aborted = "the endpoint answered abort-message"
        assert (one["state"], one["reason"]) == ("canceled", aborted)
        later = await deployment.subscribe("job.canceled")
        event = await asked(deployment, "GET", f"/v1/events/{one['event']}")
        reasons = {place["endpoint"]: (place["status"], place["reason"]) for place in event["deliveries"]}
        assert reasons == {
            made["id"]: ("canceled", aborted),
            later["id"]: ("created-later", "it was created after the event"),
        }
        await settled(deployment, job=(await ended_job(deployment))["id"], endpoint=made["id"])
        said = [one for one in caplog.records if one.__dict__.get("endpoint") == made["id"]]
        assert [one.getMessage() for one in said] == [
            f"endpoint {made['id']} begins to fail: it answered 500",
            f"endpoint {made['id']} takes deliveries again",
        ]


async def test_what_is_exhausted_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with deployed(tmp_path, SILENT, retry_schedule="[]") as deployment:
        made = await deployment.subscribe("job.canceled")
        deployment.hook.status = 500
        told = await settled(deployment, job=(await ended_job(deployment))["id"])
        [said] = [one for one in caplog.records if "is exhausted" in one.getMessage()]
        assert (said.__dict__["delivery"], said.__dict__["endpoint"]) == (told["id"], made["id"])
        assert said.levelno == logging.WARNING


async def test_there_is_an_end_to_endpoints(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MOST", 1)
    await deployment.subscribe("job.canceled")
    answer = await deployment.client.post("/v1/endpoints", json={"url": deployment.hook.url})
    assert "1 endpoints already" in problem(answer, 409, "conflict")["detail"]
