"""Subscribers: filters with reasons, pauses, rotating secrets, Ed25519 signatures, own retry schedules."""

import base64
import contextlib
import functools
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError
from svix import webhooks as svix

from tests.stories.deployment import Deployment, deployed
from tests.stories.tools import (
    Moving,
    all_settled,
    asked,
    downstream,
    ended_job,
    listed,
    problem,
    settled,
    subscribe,
)

OTHER = "whsec_" + base64.b64encode(b"another secret of 32 bytes......").decode()


async def refused(deployment: Deployment, method: str, path: str, status: int, json: Any) -> dict[str, Any]:
    """Make a call that is refused with this status. Returns the problem."""
    answer = await deployment.client.request(method, path, json=json)
    return problem(answer, status, {409: "conflict", 422: "validation"}[status])


def has_delivered(count: int, found: list[dict[str, Any]]) -> bool:
    """Return whether so many of these deliveries are delivered."""
    return [one["state"] for one in found].count("delivered") == count


async def reasons(deployment: Deployment, job_id: str) -> dict[str, dict[str, Any]]:
    """Return the outcome of the newest event of a job at each endpoint."""
    event = (await listed(deployment, "/v1/events", job=job_id))[-1]
    told = await asked(deployment, "GET", f"/v1/events/{event['id']}")
    return {one["endpoint"]: one for one in told["deliveries"]}


async def test_a_filter_chooses_events_and_the_reason_is_kept(deployment: Deployment) -> None:
    blue = await deployment.subscribe("job.canceled", filter={"metadata.color": "blue"})
    other = await asked(
        deployment, "POST", "/v1/endpoints", 201, json={"url": deployment.hook.url, "events": ["job.failed"]}
    )
    job = await ended_job(deployment, metadata={"color": "blue"})
    red = await ended_job(deployment, metadata={"color": "red"})
    await settled(deployment, job=job["id"])
    assert [event["data"]["id"] for event in deployment.hook.events()] == [job["id"]]
    late = await asked(
        deployment, "POST", "/v1/endpoints", 201, json={"url": deployment.hook.url, "events": ["job.*"]}
    )
    assert (await reasons(deployment, job["id"]))[blue["id"]]["status"] == "delivered"
    found = await reasons(deployment, red["id"])
    assert found[blue["id"]] == {
        "endpoint": blue["id"],
        "delivery": None,
        "status": "filtered",
        "reason": '`metadata.color` is "red", which does not meet `$eq` "blue"',
    }
    assert found[other["id"]]["status"] == "not-subscribed"
    assert found[late["id"]]["status"] == "created-later"


async def test_a_changed_filter_counts_from_then_on_and_the_old_reason_stays(deployment: Deployment) -> None:
    made = await deployment.subscribe("job.canceled", filter={"metadata.color": "blue"})
    red = await ended_job(deployment, metadata={"color": "red"})
    path = f"/v1/endpoints/{made['id']}"
    changed = await asked(deployment, "PATCH", path, json={"filter": {"metadata.color": "red"}})
    assert changed["filter"] == {"metadata.color": "red"}
    blue = await ended_job(deployment, metadata={"color": "blue"})
    later = await ended_job(deployment, metadata={"color": "red"})
    await settled(deployment, job=later["id"])
    assert [event["data"]["id"] for event in deployment.hook.events()] == [later["id"]]
    [first, second] = [(await reasons(deployment, one["id"]))[made["id"]] for one in (red, blue)]
    assert (first["status"], first["reason"]) == (
        "filtered",
        '`metadata.color` is "red", which does not meet `$eq` "blue"',
    )
    assert (second["status"], second["reason"]) == (
        "filtered",
        '`metadata.color` is "blue", which does not meet `$eq` "red"',
    )
    assert (await asked(deployment, "PATCH", path, json={"filter": None}))["filter"] is None
    last = await ended_job(deployment)
    await settled(deployment, job=last["id"])
    assert deployment.hook.events()[-1]["data"]["id"] == last["id"]


@pytest.mark.parametrize(
    ("filter_", "pointer", "detail"),
    [
        ({"providr": "x"}, "/filter/providr", "did you mean `provider`?"),
        ({"state": {"$regex": "a"}}, "/filter/state/$regex", "is no operator"),
        ({"assets.0.url": "x"}, "/filter/assets.0.url", "leads through a list"),
        ({"progress": {"$gt": "half"}}, "/filter/progress/$gt", "must be a number"),
        ({f"metadata.{number}": "x" for number in range(100)}, "/filter", "at most 64 clauses"),
    ],
)
async def test_a_filter_with_a_fault_is_refused_with_its_place(
    deployment: Deployment, filter_: dict[str, Any], pointer: str, detail: str
) -> None:
    body = {"url": deployment.hook.url, "events": ["job.*"], "filter": filter_}
    [error] = (await refused(deployment, "POST", "/v1/endpoints", 422, json=body))["errors"]
    assert (error["pointer"], detail in error["detail"]) == (pointer, True)
    assert await listed(deployment, "/v1/endpoints") == []


async def test_new_event_types_must_fit_the_stored_filter(deployment: Deployment) -> None:
    made = await deployment.subscribe("job.*", filter={"progress": {"$gt": 5}})
    path = f"/v1/endpoints/{made['id']}"
    told = await refused(deployment, "PATCH", path, 422, json={"events": ["provider.*"]})
    assert told["errors"][0]["pointer"] == "/filter/progress"


async def test_explain_names_the_deciding_clause(deployment: Deployment) -> None:
    made = await deployment.subscribe("job.*", filter={"metadata.order": {"$in": ["42", "43"]}})
    path = f"/v1/endpoints/{made['id']}/explain"
    job = await ended_job(deployment, metadata={"order": "41"})
    event = (await listed(deployment, "/v1/events", job=job["id"]))[-1]
    assert await asked(deployment, "POST", path, json={"event": event["id"]}) == {
        "matches": False,
        "because": '`metadata.order` is "41", which does not meet `$in` ["42","43"]',
        "clause": "/metadata.order/$in",
    }
    data = {"metadata": {"order": "42"}}
    told = await asked(deployment, "POST", path, json={"type": "job.failed", "data": data})
    assert (told["matches"], told["clause"]) == (True, "/metadata.order/$in")
    told = await asked(deployment, "POST", path, json={"type": "provider.blocked", "data": {}})
    assert told == {
        "matches": False,
        "because": "its event types do not include provider.blocked",
        "clause": None,
    }
    for body, pointer in [
        ({}, ""),
        ({"event": event["id"], "type": "job.failed"}, ""),
        ({"type": "job.failed"}, "/data"),
        ({"data": {}}, "/type"),
        ({"event": "evt_none"}, "/event"),
        ({"type": "job.faild", "data": {}}, "/type"),
    ]:
        assert (await refused(deployment, "POST", path, 422, json=body))["errors"][0]["pointer"] == pointer


async def test_a_paused_endpoint_collects_and_resume_sends(deployment: Deployment) -> None:
    made = await deployment.subscribe("job.canceled", state="paused")
    path = f"/v1/endpoints/{made['id']}"
    assert made["state"] == "paused"
    first = await ended_job(deployment)
    assert (await reasons(deployment, first["id"]))[made["id"]]["status"] == "paused"
    [delivery] = await listed(deployment, "/v1/deliveries", endpoint=made["id"])
    assert (delivery["state"], delivery["next_attempt_at"]) == ("pending", None)
    assert (await asked(deployment, "POST", f"{path}/resume"))["state"] == "active"
    await settled(deployment, job=first["id"])
    assert [event["data"]["id"] for event in deployment.hook.events()] == [first["id"]]
    for _ in range(2):
        assert (await asked(deployment, "POST", f"{path}/pause"))["state"] == "paused"
    second = await ended_job(deployment)
    assert (await reasons(deployment, second["id"]))[made["id"]]["status"] == "paused"
    assert len(deployment.hook.deliveries) == 1


async def test_all_secrets_sign_until_their_overlap_ends(deployment: Deployment) -> None:
    made = await deployment.subscribe("job.canceled")
    path = f"/v1/endpoints/{made['id']}"
    first = deployment.hook.secret
    turned = await asked(
        deployment, "POST", f"{path}/rotate-secret", json={"overlap_seconds": 3600, "secret": OTHER}
    )
    assert turned["secret"] == OTHER
    assert len(turned["previous_secrets_until"]) == 1
    assert (await asked(deployment, "GET", f"{path}/secret"))["secret"] == OTHER
    job = await ended_job(deployment)
    await settled(deployment, job=job["id"])
    headers, body = deployment.hook.deliveries[-1]
    for secret in (first, OTHER):
        assert Webhook(secret).verify(body, headers)["data"]["id"] == job["id"]
        svix.Webhook(secret).verify(body, headers)
    ended = await asked(deployment, "POST", f"{path}/rotate-secret", json={"overlap_seconds": 0})
    assert len(ended["previous_secrets_until"]) == 1
    job = await ended_job(deployment)
    await settled(deployment, job=job["id"])
    headers, body = deployment.hook.deliveries[-1]
    for secret in (first, ended["secret"]):
        assert Webhook(secret).verify(body, headers)["data"]["id"] == job["id"]
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(body, headers)


async def test_at_most_five_secrets_sign(deployment: Deployment) -> None:
    made = await deployment.subscribe("job.canceled")
    path = f"/v1/endpoints/{made['id']}/rotate-secret"
    for _ in range(4):
        turned = await asked(deployment, "POST", path, json={})
    assert len(turned["previous_secrets_until"]) == 4
    told = await refused(deployment, "POST", path, 409, json={})
    assert told["detail"].startswith("5 secrets sign already; the next one ends at ")
    told = await refused(deployment, "POST", path, 409, json={"secret": turned["secret"]})
    assert told["detail"] == "the endpoint has this secret already; give another"
    job = await ended_job(deployment)
    await settled(deployment, job=job["id"])
    assert len(deployment.hook.deliveries[-1][0]["webhook-signature"].split()) == 5


async def test_an_asymmetric_signature_verifies_with_the_public_key(deployment: Deployment) -> None:
    await deployment.subscribe("job.canceled", signatures=["v1", "v1a"])
    job = await ended_job(deployment)
    await settled(deployment, job=job["id"])
    headers, body = deployment.hook.deliveries[-1]
    symmetric, asymmetric = headers["webhook-signature"].split()
    assert symmetric.startswith("v1,")
    assert asymmetric.startswith("v1a,")
    async with httpx.AsyncClient(base_url=deployment.client.base_url) as anyone:
        [key] = (await anyone.get("/.well-known/ringback-keys.json")).json()["keys"]
    raw = base64.urlsafe_b64decode(key["x"] + "=")
    assert base64.b64decode(key["public_key"].removeprefix("whpk_")) == raw
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signature = base64.b64decode(asymmetric.removeprefix("v1a,"))
    Ed25519PublicKey.from_public_bytes(raw).verify(signature, signed)
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, signed + b" ")


async def test_an_endpoint_has_a_retry_schedule_of_its_own(deployment: Deployment) -> None:
    async with downstream() as hook:
        hook.status = 500
        made = await subscribe(deployment, hook, "job.canceled", retry_schedule=[])
        assert made["retry_schedule"] == []
        job = await ended_job(deployment)
        [delivery] = await deployment.until(
            lambda: listed(deployment, "/v1/deliveries", job=job["id"]),
            lambda found: [one["state"] for one in found] == ["exhausted"],
        )
    assert (delivery["attempts_made"], delivery["last_status"]) == (1, 500)
    found = (await reasons(deployment, job["id"]))[made["id"]]
    assert (found["status"], found["reason"]) == ("exhausted", "the last attempt was answered 500")


async def test_a_rate_limit_delays_and_uses_up_no_attempt(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, clock=moving.clock) as deployment:
        await deployment.subscribe("job.canceled", rate_limit=1, retry_schedule=[])
        moving.stop()
        for _ in range(3):
            await ended_job(deployment)
        for sent in (1, 2, 3):
            found = await deployment.until(
                lambda: listed(deployment, "/v1/deliveries"),
                functools.partial(has_delivered, sent),
            )
            assert [(one["state"], one["attempts_made"]) for one in found].count(("pending", 0)) == 3 - sent
            assert len(deployment.hook.deliveries) == sent
            moving.wait(1.0)


async def test_formats_are_signed_over_the_bytes_that_are_sent(deployment: Deployment) -> None:
    template = '{"text": "{/type} {/data/metadata/order}"}'
    wanted = {
        "cloudevents": "application/cloudevents+json; charset=UTF-8",
        "cloudevents-binary": "application/json",
        "slack": "application/json",
        "template": "application/json",
    }
    async with contextlib.AsyncExitStack() as stack:
        hooks = {name: await stack.enter_async_context(downstream()) for name in wanted}
        for name, hook in hooks.items():
            more = {"template": template} if name == "template" else {}
            await subscribe(deployment, hook, "job.canceled", format=name, **more)
        job = await ended_job(deployment, metadata={"order": "42"})
        await all_settled(deployment, job=job["id"])
        sent = {name: hook.deliveries[0] for name, hook in hooks.items()}
        bodies = {
            name: Webhook(hooks[name].secret).verify(body, headers) for name, (headers, body) in sent.items()
        }
    assert {name: headers["content-type"] for name, (headers, _) in sent.items()} == wanted
    assert bodies["template"] == {"text": "job.canceled 42"}
    assert bodies["slack"] == {"text": f"job.canceled {job['id']} (aiml, {job['operation']})"}
    assert bodies["cloudevents"]["data"]["id"] == bodies["cloudevents-binary"]["id"] == job["id"]
    binary = sent["cloudevents-binary"][0]
    assert (binary["ce-type"], binary["ce-subject"]) == ("job.canceled", job["id"])
    assert binary["ce-id"] == binary["webhook-id"] == bodies["cloudevents"]["id"]
    assert binary["ce-source"] == bodies["cloudevents"]["source"]
