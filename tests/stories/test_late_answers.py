"""Answers that come after their endpoint was changed; endpoints and deliveries as answers tell them."""

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


async def under_way(house: Deployment, hook: Hook, **query: Any) -> None:
    """Once the downstream has a delivery and has not answered."""
    await house.until(lambda: asyncio.sleep(0, len(hook.deliveries)), bool)


@pytest.mark.parametrize("change", ["patched", "resumed"])
@pytest.mark.parametrize("name", ANSWERS)
async def test_what_is_answered_before_a_change_counts_for_nobody_behind_it(
    tmp_path: Path, name: str, change: str
) -> None:
    async with deployed(tmp_path, SILENT, retry_schedule=QUICK) as house, downstream() as new:
        endpoint = await house.subscribe("job.canceled")
        new.secret = house.hook.secret
        house.hook.hold, house.hook.answers = asyncio.Event(), [ANSWERS[name]]
        job = await ended_job(house)
        await under_way(house, house.hook)
        path, fresh = f"/v1/endpoints/{endpoint['id']}", new
        if change == "patched":
            await asked(house, "PATCH", path, json={"url": new.url})
        else:
            await asked(house, "POST", f"{path}/resume")
            fresh = house.hook
        house.hook.hold.set()
        told = await settled(house, job=job["id"])
        assert (told["state"], told["reason"]) == ("delivered", None)
        statuses = [one["status"] for one in told["attempts"]]
        assert statuses == [ANSWERS[name][0], 204]
        assert fresh.events()[-1]["data"]["id"] == job["id"]
        shown = await asked(house, "GET", path)
        assert (shown["state"], shown["disabled_reason"]) == ("active", None)
        assert house.services.core.limits.held(endpoint["id"]) == 0


SECRET_URL = "/private/T000CANARY?sig=S000CANARY"


async def test_an_endpoints_url_is_told_to_nobody_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with deployed(tmp_path, SILENT) as house, downstream() as hook:
        star = await subscribe(house, hook, "*")
        body = {"url": house.hook.url + SECRET_URL, "events": ["job.canceled"]}
        made = await asked(house, "POST", "/v1/endpoints", 201, json=body)
        house.hook.secret, house.hook.status = made["secret"], 410
        await ended_job(house)
        [disabled] = await house.until(
            lambda: listed(house, "/v1/events", type="endpoint.disabled"), lambda found: len(found) == 1
        )
        assert (disabled["data"]["id"], disabled["data"]["url"]) == (made["id"], house.hook.url)
        await asked(house, "POST", f"/v1/endpoints/{made['id']}/test")
        await all_settled(house, endpoint=star["id"])
        told = [*hook.deliveries, *await listed(house, "/v1/events")]
        logged = [one.getMessage() for one in caplog.records if one.name.startswith("ringback")]
        assert logged
        assert "000CANARY" not in str([*told, *logged])
        assert (await asked(house, "GET", f"/v1/endpoints/{made['id']}"))["url"] == body["url"]


async def test_one_callback_url_that_is_held_holds_no_other_on_its_host(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as house:
        house.hook.answers = [(503, {"retry-after": "3600"})]
        first = await ended_job(house, callback_url=f"{house.hook.url}/one")
        await attempted(house, 1, job=first["id"])
        again = await ended_job(house, callback_url=f"{house.hook.url}/one")
        other = await ended_job(house, callback_url=f"{house.hook.url}/two")
        assert (await settled(house, job=other["id"]))["state"] == "delivered"
        waits = await house.until(
            lambda: delivery_of(house, job=again["id"]), lambda told: told["next_attempt_at"] is not None
        )
        assert (waits["state"], waits["attempts"]) == ("pending", [])
        assert waits["next_attempt_at"] > waits["created_at"]
        await asked(house, "POST", f"/v1/deliveries/{waits['id']}/retry", 202)
        assert (await settled(house, job=again["id"]))["state"] == "delivered"


async def test_what_is_retried_by_hand_while_it_is_sent_is_sent_again(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as house:
        await house.subscribe("job.canceled")
        house.hook.hold = asyncio.Event()
        job = await ended_job(house)
        await under_way(house, house.hook)
        [one] = await listed(house, "/v1/deliveries", job=job["id"])
        await asked(house, "POST", f"/v1/deliveries/{one['id']}/retry", 202)
        house.hook.hold.set()
        await attempted(house, 2, job=job["id"])
        assert (await settled(house, job=job["id"]))["state"] == "delivered"
        assert len({sent["webhook-id"] for sent, _ in house.hook.deliveries}) == 1


async def test_keys_that_are_not_here_yet_lose_no_delivery_and_no_secret(tmp_path: Path) -> None:
    old, new = "m" * 32, "n" * 32
    async with deployed(tmp_path, SILENT, secret_keys=plain.dumps([old])) as house:
        made = await house.subscribe("job.canceled", headers={"authorization": "Bearer theirs"})
        house.services.core.store.driver.shared = False  # what a replica that lacks the key would stop
        await _reencrypt(house.services.core.store, MasterKeys([new, old], Clock().entropy))
        await house.services.api.endpoints.refresh()
        job = await ended_job(house, callback_url=f"{house.hook.url}/own")
        path = f"/v1/endpoints/{made['id']}"
        await asked(house, "PATCH", path, json={"description": "x"})
        problem(await house.client.patch(path, json={"headers": {"x-own": "1"}}), 409, "conflict")
        for call in (("GET", f"{path}/secret"), ("POST", f"{path}/test")):
            problem(await house.client.request(*call), 409, "conflict")
        told = await delivery_of(house, job=job["id"], endpoint=made["id"])
        assert (told["state"], told["attempts"], told["reason"]) == ("pending", [], None)
    async with deployed(tmp_path, SILENT, secret_keys=plain.dumps([new, old])) as later:
        later.hook.secret = made["secret"]
        await asked(later, "PATCH", path, json={"url": later.hook.url})
        told = await settled(later, job=job["id"], endpoint=made["id"])
        assert told["state"] == "delivered"
        [(sent, _)] = later.hook.deliveries
        assert (sent["authorization"], len(later.hook.events())) == ("Bearer theirs", 1)


async def test_masked_values_leave_what_is_stored(house: Deployment) -> None:
    made = await house.subscribe("job.canceled", headers={"X-Env": "prod", "x-old": "1"})
    path = f"/v1/endpoints/{made['id']}"
    shown = await asked(house, "GET", path)
    changed = await asked(house, "PATCH", path, json={"headers": shown["headers"] | {"x-OLD": "2"}})
    assert changed["headers"] == {"X-Env": "***", "x-OLD": "***"}
    await settled(house, job=(await ended_job(house))["id"])
    sent = house.hook.deliveries[-1][0]
    assert (sent["x-env"], sent["x-old"]) == ("prod", "2")
    body = {"url": house.hook.url, "headers": {"x-env": "***"}}
    for answer in (
        await house.client.post("/v1/endpoints", json=body),
        await house.client.patch(path, json={"headers": {"x-new": "***"}}),
    ):
        told = problem(answer, 422, "validation")
        assert [one["pointer"].startswith("/headers/x-") for one in told["errors"]] == [True]


async def test_a_delivery_tells_how_it_stands(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with deployed(tmp_path, SILENT, retry_schedule="[3600]") as house, downstream() as bad:
        made = await subscribe(house, bad, "job.canceled")
        bad.answers = [(500, {}), (500, {"webhook-delivery": "abort-message"}), (204, {})]
        job = await ended_job(house)
        told = await attempted(house, 1, job=job["id"])
        [one] = await listed(house, "/v1/deliveries", job=job["id"])
        assert (one["last_status"], one["last_error"], one["state"]) == (500, None, "pending")
        assert one["next_attempt_at"] is not None
        await house.services.core.store.write(
            lambda: table.set_state(made["id"], "disabled", "by hand", house.services.core.clock.now())
        )
        [one] = await listed(house, "/v1/deliveries", job=job["id"])
        assert (one["state"], one["next_attempt_at"]) == ("pending", None)
        await asked(house, "POST", f"/v1/endpoints/{made['id']}/resume")
        await asked(house, "POST", f"/v1/deliveries/{told['id']}/retry", 202)
        one = await settled(house, job=job["id"])
        aborted = "the endpoint answered abort-message"
        assert (one["state"], one["reason"]) == ("canceled", aborted)
        later = await house.subscribe("job.canceled")
        event = await asked(house, "GET", f"/v1/events/{one['event']}")
        reasons = {place["endpoint"]: (place["status"], place["reason"]) for place in event["deliveries"]}
        assert reasons == {made["id"]: ("canceled", aborted), later["id"]: ("created-later", None)}
        await settled(house, job=(await ended_job(house))["id"], endpoint=made["id"])
        said = [one for one in caplog.records if one.__dict__.get("endpoint") == made["id"]]
        assert [one.getMessage() for one in said] == [
            f"endpoint {made['id']} begins to fail: it answered 500",
            f"endpoint {made['id']} takes deliveries again",
        ]


async def test_what_is_exhausted_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with deployed(tmp_path, SILENT, retry_schedule="[]") as house:
        made = await house.subscribe("job.canceled")
        house.hook.status = 500
        told = await settled(house, job=(await ended_job(house))["id"])
        [said] = [one for one in caplog.records if "is exhausted" in one.getMessage()]
        assert (said.__dict__["delivery"], said.__dict__["endpoint"]) == (told["id"], made["id"])
        assert said.levelno == logging.WARNING


async def test_there_is_an_end_to_endpoints(house: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MOST", 1)
    await house.subscribe("job.canceled")
    answer = await house.client.post("/v1/endpoints", json={"url": house.hook.url})
    assert "1 endpoints already" in problem(answer, 409, "conflict")["detail"]
