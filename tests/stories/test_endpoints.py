"""Endpoints: made, changed and tested; the events that each receives, and the headers with them."""

import asyncio
import itertools
import json as plain
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.stories.deployment import Deployment, deployed
from tests.stories.tools import (
    SILENT,
    Moving,
    all_settled,
    asked,
    downstream,
    ended_job,
    finished,
    listed,
    open_job,
    problem,
    ring,
    says,
    settled,
    subscribe,
)


async def test_own_headers_are_sent_and_never_told(deployment: Deployment) -> None:
    made = await deployment.subscribe("job.canceled", headers={"X-Env": "prod", "authorization": "Bearer t"})
    path = f"/v1/endpoints/{made['id']}"
    masked = {"X-Env": "***", "authorization": "***"}
    assert made["headers"] == masked
    assert (await asked(deployment, "GET", path))["headers"] == masked
    assert (await listed(deployment, "/v1/endpoints"))[0]["headers"] == masked
    changed = await asked(deployment, "PATCH", path, json={"headers": {"authorization": None, "x-new": "1"}})
    assert changed["headers"] == {"X-Env": "***", "x-new": "***"}
    await settled(deployment, job=(await ended_job(deployment))["id"])
    sent = deployment.hook.deliveries[-1][0]
    assert (sent["x-env"], sent["x-new"], "authorization" in sent) == ("prod", "1", False)
    assert sent["user-agent"].startswith("ringback/")


async def test_headers_that_are_ours_or_cannot_be_sent_are_refused(deployment: Deployment) -> None:
    rows = {
        "host": "x",
        "Content-Type": "x",
        "content-length": "1",
        "transfer-encoding": "chunked",
        "webhook-id": "x",
        "Webhook-Signature": "x",
        "connection": "close",
        "b\u00e4d": "x",
        "": "x",
        "a b": "x",
        "x-ok": "line\r\nx-evil: 1",
        "x-nul": "\x00",
        "x-wide": "\u2603",
        "x-long": "x" * 2001,
    }
    for name, value in rows.items():
        body = {"url": deployment.hook.url, "headers": {name: value}}
        told = problem(await deployment.client.post("/v1/endpoints", json=body), 422, "validation")
        assert told["errors"][0]["pointer"] == f"/headers/{name}"
    assert await listed(deployment, "/v1/endpoints") == []


async def test_the_result_goes_only_where_it_was_asked_for(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment, downstream() as hook:
        plain_one = await subscribe(deployment, hook, "job.succeeded")
        await deployment.subscribe("job.succeeded", include=["result"])
        job = await open_job(deployment, callback_url=f"{hook.url}/own")
        await ring(deployment, job, finished(job, actions=["upsample1"], song_id="s\u00e9\u2028"))
        await all_settled(deployment, job=job["id"])
        [whole] = deployment.hook.about(job["id"])
        result = whole["data"].pop("result")
        assert (result["actions"], result["song_id"]) == (["upsample1"], "s\u00e9\u2028")
        assert (await deployment.job(job["id"]))["result"] == result
        bodies = [plain.loads(body) for _, body in hook.deliveries]
        assert bodies == [whole, whole]
        assert (await listed(deployment, "/v1/events", job=job["id"]))[0]["data"] == whole["data"]
        await asked(deployment, "PATCH", f"/v1/endpoints/{plain_one['id']}", json={"include": ["result"]})
        assert (await asked(deployment, "GET", f"/v1/endpoints/{plain_one['id']}"))["include"] == ["result"]


WANTED: dict[tuple[str, ...], set[str]] = {
    ("*",): {"job.running", "job.succeeded"},
    ("job.*",): {"job.running", "job.succeeded"},
    ("job.progressed",): {"job.progressed"},
    ("job.running", "job.progressed"): {"job.running", "job.progressed"},
    ("job.succeeded", "job.*"): {"job.running", "job.succeeded"},
    ("job.failed",): set(),
    ("provider.*", "endpoint.*"): set(),
    ("endpoint.test", "job.late_result"): set(),
    (): {"job.succeeded"},
}


async def test_patterns_decide_what_goes_where(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, SILENT, clock=moving.clock) as deployment:
        made = {}
        for events in WANTED:
            body: dict[str, Any] = {"url": deployment.hook.url} | ({"events": list(events)} if events else {})
            made[events] = await asked(deployment, "POST", "/v1/endpoints", 201, json=body)
        job = await open_job(deployment)
        for percentage in (10, 20):
            await ring(deployment, job, says(job, "processing", percentage=percentage))
            moving.wall += timedelta(seconds=2)
        await ring(deployment, job, finished(job))
        owed: dict[str, list[str]] = {}
        for one in await listed(deployment, "/v1/deliveries"):
            owed.setdefault(one["endpoint"], []).append(one["type"])
        got = {events: sorted(owed.get(endpoint["id"], [])) for events, endpoint in made.items()}
        assert got == {events: sorted(types) for events, types in WANTED.items()}


async def test_progress_is_told_at_most_once_a_second(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, SILENT, clock=moving.clock) as deployment:
        job = await open_job(deployment)
        for step in range(2, 62):
            moving.wall += timedelta(milliseconds=100)
            await ring(deployment, job, says(job, "processing", percentage=step))
        events = await listed(deployment, "/v1/events", job=job["id"])
        assert [one["type"] for one in events][:2] == ["job.running", "job.progressed"]
        told = [datetime.fromisoformat(one["timestamp"]) for one in events]
        gaps = [later - earlier for earlier, later in itertools.pairwise(told)]
        assert min(gaps) >= timedelta(seconds=1)
        assert 5 <= len(gaps) < 30
        assert (await deployment.job(job["id"]))["progress"] == 61


async def test_trying_an_endpoint_sends_a_test_now(deployment: Deployment) -> None:
    made = await deployment.subscribe("job.failed")
    async with downstream() as hook:
        others = [await subscribe(deployment, hook, pattern) for pattern in ("endpoint.test", "*")]
        told = await asked(deployment, "POST", f"/v1/endpoints/{made['id']}/test")
        assert (told["object"], told["status"], told["error"]) == ("attempt", 204, None)
        [event] = deployment.hook.events()
        assert (event["type"], event["data"]["id"]) == ("endpoint.test", made["id"])
        seen = await asked(deployment, "GET", f"/v1/deliveries/{told['delivery']}")
        assert (seen["state"], seen["endpoint"], seen["type"]) == ("delivered", made["id"], "endpoint.test")
        assert seen["attempts"] == [told]
        [only] = await listed(deployment, "/v1/deliveries", event=event["id"])
        assert only["endpoint"] == made["id"]
        for other in others:
            assert await listed(deployment, "/v1/deliveries", endpoint=other["id"]) == []
        assert [one["id"] for one in await listed(deployment, "/v1/events", type="endpoint.test")] == [
            event["id"]
        ]


async def test_a_test_that_fails_is_told_and_not_repeated(deployment: Deployment) -> None:
    made = await deployment.subscribe("job.failed")
    deployment.hook.answers = [(500, {}), (410, {})]
    told = await asked(deployment, "POST", f"/v1/endpoints/{made['id']}/test")
    assert (told["status"], told["answer"]) == (500, "thanks")
    seen = await asked(deployment, "GET", f"/v1/deliveries/{told['delivery']}")
    assert (seen["state"], seen["next_attempt_at"], len(seen["attempts"])) == ("exhausted", None, 1)
    assert (await asked(deployment, "POST", f"/v1/endpoints/{made['id']}/test"))["status"] == 410
    assert (await asked(deployment, "GET", f"/v1/endpoints/{made['id']}"))["state"] == "disabled"
    assert (await asked(deployment, "POST", f"/v1/endpoints/{made['id']}/test"))["status"] == 204
    problem(await deployment.client.post("/v1/endpoints/ep_none/test"), 404, "not-found")


async def test_a_change_leaves_what_it_does_not_name(deployment: Deployment) -> None:
    made = await deployment.subscribe("job.failed", description="one", headers={"x-a": "1"}, max_in_flight=3)
    path = f"/v1/endpoints/{made['id']}"
    kept = {name: value for name, value in made.items() if name not in {"secret", "updated_at"}}

    async def now() -> dict[str, Any]:
        [told] = await listed(deployment, "/v1/endpoints")
        told.pop("updated_at")
        return told

    await asked(deployment, "PATCH", path, json={})
    assert await now() == kept
    await asked(deployment, "PATCH", path, json={"description": "two", "max_in_flight": 5})
    assert await now() == kept | {"description": "two", "max_in_flight": 5}
    nulls = dict.fromkeys(("description", "max_in_flight", "events", "headers", "include"))
    await asked(deployment, "PATCH", path, json=nulls)
    defaults = {
        "description": "",
        "max_in_flight": 64,
        "events": ["job.succeeded", "job.failed", "job.canceled", "job.expired"],
        "headers": {},
        "include": [],
    }
    assert await now() == kept | defaults
    merge = {"content-type": "application/merge-patch+json"}
    await asked(deployment, "PATCH", path, content=b'{"url": "https://b.example/"}', headers=merge)
    assert (await now())["url"] == "https://b.example/"
    assert await asked(deployment, "GET", f"{path}/secret") == {"secret": made["secret"]}


async def test_an_endpoint_of_the_file_is_changed_only_there(tmp_path: Path) -> None:
    kept = '[{"id": "kept", "url": "http://127.0.0.1:9999/x", "events": ["job.*"]}]'
    async with deployed(tmp_path, SILENT, endpoints=kept) as deployment:
        [told] = await listed(deployment, "/v1/endpoints")
        assert (told["id"], told["from_file"], told["events"]) == ("kept", True, ["job.*"])
        problem(await deployment.client.delete("/v1/endpoints/kept"), 409, "conflict")
        answer = await deployment.client.patch("/v1/endpoints/kept", json={"description": "x"})
        problem(answer, 409, "conflict")
        secret = (await asked(deployment, "GET", "/v1/endpoints/kept/secret"))["secret"]
        assert (await asked(deployment, "POST", "/v1/endpoints/kept/resume"))["state"] == "active"
    async with deployed(tmp_path, SILENT, endpoints=kept) as deployment:
        assert (await asked(deployment, "GET", "/v1/endpoints/kept/secret"))["secret"] == secret
    async with deployed(tmp_path, SILENT) as deployment:
        assert await listed(deployment, "/v1/endpoints") == []


async def test_endpoints_are_listed_newest_first_wherever_they_come_from(tmp_path: Path) -> None:
    kept = '[{"id": "kept", "url": "http://127.0.0.1:9999/x", "events": ["job.*"]}]'
    async with deployed(tmp_path, SILENT, endpoints=kept) as deployment:
        made = [(await deployment.subscribe("job.*"))["id"] for _ in range(3)]
        expected = [*reversed(made), "kept"]
        assert [one["id"] for one in await listed(deployment, "/v1/endpoints")] == expected
        first = await asked(deployment, "GET", "/v1/endpoints", params={"limit": 2})
        await asked(deployment, "DELETE", f"/v1/endpoints/{first['next_cursor']}", 204)
        rest = await listed(deployment, "/v1/endpoints", cursor=first["next_cursor"])
        assert [one["id"] for one in first["data"] + rest] == expected


REFUSED: dict[str, dict[str, Any]] = {
    "/url": {"url": "ftp://h.example/"},
    "/url#1": {"url": "http://user:secret@h.example/"},
    "/url#2": {"url": "http://10.0.0.1/"},
    "/url#3": {"url": "http://169.254.169.254/latest"},
    "/url#4": {"url": "https://h.example/#x"},
    "/url#5": {"url": ""},
    "/url#6": {"url": "https://h.example:22/"},
    "/url#7": {"url": "https://0x7f.1\\@h.example/"},
    "/url#8": {"url": "http://0xa9fea9fe/"},
    "/events": {"events": []},
    "/events/0": {"events": ["job.exploded"]},
    "/events/1": {"events": ["*", "jo*"]},
    "/events/0#1": {"events": ["source.shop.received"]},
    "/events/0#2": {"events": ["endpoint.fails"]},
    "/secret": {"secret": "whsec_c2hvcnQ="},
    "/secret#1": {"secret": "not base64 at all, and no prefix"},
    "/secret#2": {"secret": "whsec_" + "QUJD" * 26},
    "/max_in_flight": {"max_in_flight": 0},
    "/max_in_flight#1": {"max_in_flight": "64"},
    "/include/0": {"include": ["input"]},
    "/filter": {"filter": {}},
    "/filter#1": {"filter": "state = failed"},
    "/filter/providr": {"filter": {"providr": "apiframe"}},
    "/state": {"state": "disabled"},
    "/retry_schedule/1": {"retry_schedule": [5, 0]},
    "/retry_schedule/0": {"retry_schedule": [604801]},
    "/retry_schedule": {"retry_schedule": [1] * 21},
    "/timeout": {"timeout": 61},
    "/timeout#1": {"timeout": 0.5},
    "/rate_limit": {"rate_limit": 0},
    "/rate_limit#1": {"rate_limit": "50"},
    "/format": {"format": "xml"},
    "/template": {"template": "{}"},
    "/template#1": {"format": "template"},
    "/template#2": {"format": "template", "template": "{"},
    "/template#3": {"format": "template", "template": '"{/data/jobb}"'},
    "/signatures": {"signatures": []},
    "/signatures#1": {"signatures": ["v1", "v1"]},
    "/signatures/0": {"signatures": ["v2"]},
    "/description": {"description": "x" * 501},
    "/unheard_of": {"unheard_of": 1},
}


async def test_an_endpoint_that_cannot_be_is_refused(deployment: Deployment) -> None:
    for place, wrong in REFUSED.items():
        answer = await deployment.client.post("/v1/endpoints", json={"url": deployment.hook.url, **wrong})
        told = problem(answer, 422, "validation")
        assert told["errors"][0]["pointer"] == place.partition("#")[0], f"{wrong} gives {told['errors']}"
        assert told["errors"][0]["in"] == "body"
    assert await listed(deployment, "/v1/endpoints") == []
    made = await deployment.subscribe("job.failed")
    problem(
        await deployment.client.patch(f"/v1/endpoints/{made['id']}", json={"url": None}), 422, "validation"
    )
    for name in ("secret", "state", "id"):
        answer = await deployment.client.patch(f"/v1/endpoints/{made['id']}", json={name: "x"})
        assert problem(answer, 422, "validation")["errors"][0]["pointer"] == f"/{name}"


async def test_endpoints_are_listed_newest_first(deployment: Deployment) -> None:
    made = [(await deployment.subscribe("job.failed"))["id"] for _ in range(5)]
    found: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        told = await asked(deployment, "GET", "/v1/endpoints", params={"limit": 2, **cursor})
        found += [one["id"] for one in told["data"]]
        cursor = {"cursor": told["next_cursor"]}
    assert found == made[::-1]
    assert cursor == {"cursor": None}


async def test_changes_at_once_all_stand(deployment: Deployment) -> None:
    made = await deployment.subscribe("job.failed")
    path = f"/v1/endpoints/{made['id']}"
    names = [f"x-{number}" for number in range(10)]
    await asyncio.gather(*(asked(deployment, "PATCH", path, json={"headers": {name: "1"}}) for name in names))
    assert sorted((await asked(deployment, "GET", path))["headers"]) == names


async def test_a_change_never_undoes_a_deletion(deployment: Deployment) -> None:
    for _ in range(20):
        path = f"/v1/endpoints/{(await deployment.subscribe('job.failed'))['id']}"
        changes = [deployment.client.patch(path, json={"description": str(number)}) for number in range(6)]
        await asyncio.gather(*changes[:3], deployment.client.delete(path), *changes[3:])
        problem(await deployment.client.get(path), 404, "not-found")
    assert await listed(deployment, "/v1/endpoints") == []
