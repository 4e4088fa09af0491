"""Sources: webhooks of jobs submitted elsewhere, proved, stored once, announced like any other event."""

import base64
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import handlers
from tests.stories.command_line import asked as commanded
from tests.stories.deployment import PATIENCE, Deployment, deployed
from tests.stories.senders import OPEN, SECRET, SHOP, configured, post, received, signed
from tests.stories.tools import SILENT, Moving, asked, listed, problem


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Deployment]:
    """Yield a deployment with the sources `shop` and `open`."""
    async with deployed(tmp_path, SILENT, sources=configured(SHOP, OPEN)) as deployment:
        yield deployment


async def test_a_message_becomes_an_event_that_is_delivered(shop: Deployment) -> None:
    await shop.subscribe("source.shop.received")
    body = b'{\n  "render": 7, "price": 1.10, "big": 12345678901234567890123, "text": "a \\"b\\n c"\n}'
    answer = await post(shop, "shop", body, signed(body, **{"x-request-id": "r1", "cookie": "no"}))
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    [data] = await received(shop)
    assert data["body"] == json.loads(body)
    assert (data["source"], data["sender_id"], data["sequence"]) == ("shop", "r1", 1)
    assert data["headers"] == {
        "content-type": "application/json",
        "x-request-id": "r1",
        "user-agent": f"python-httpx/{httpx.__version__}",
    }
    assert data["update"] is None
    assert "body_base64" not in data

    async def delivered() -> list[dict[str, Any]]:
        return shop.hook.events()

    [event] = await shop.until(delivered, bool)
    assert (event["type"], event["data"]) == ("source.shop.received", data)
    # Numbers stay as they were written, wherever the event is told.
    told = [await shop.client.get(path) for path in ("/v1/events", f"/v1/events/{event['id']}")]
    for text in (shop.hook.deliveries[0][1], *(answer.content for answer in told)):
        assert b'"price":1.10,"big":12345678901234567890123,' in text


async def test_the_same_message_twice_is_one_event(shop: Deployment) -> None:
    body = b'{"render": 7}'
    for sender_id in ("r1", "r1", "r2", "r1"):
        answer = await post(shop, "shop", body, signed(body, **{"x-request-id": sender_id}))
        assert answer.json() == {"received": True}
    assert [data["sender_id"] for data in await received(shop)] == ["r1", "r2"]
    # Without the sender's id, each message is one of its own.
    for _ in range(2):
        await post(shop, "shop", body, signed(body))
    assert [data["sender_id"] for data in await received(shop)] == ["r1", "r2", None, None]
    # An id belongs to its source.
    assert (await post(shop, "open", body, {"x-request-id": "r1"})).status_code == 200
    assert len(await received(shop, "open")) == 1


async def test_an_unknown_source_and_a_failed_proof_look_the_same(shop: Deployment) -> None:
    body = b"{}"
    wrong = signed(b"[]")
    refusals = [
        await post(shop, "nobody", body, signed(body)),
        await post(shop, "shop", body, wrong),
        await post(shop, "shop", body),
        await post(shop, "../v1/jobs", body),
        await post(shop, "SHOP", body, signed(body)),
    ]
    bodies = [problem(answer, 401, "unauthorized") for answer in refusals[:3]]
    assert len({json.dumps({**told, "request_id": ""}) for told in bodies}) == 1
    assert refusals[3].status_code in {401, 404, 405}
    problem(refusals[4], 401, "unauthorized")
    assert await received(shop) == []


async def test_a_message_is_bounded_and_plain(shop: Deployment) -> None:
    large = b'"' + b"a" * (1024 * 1024) + b'"'
    problem(await post(shop, "open", large), 413, "too-large")
    fits = b'"' + b"a" * (1024 * 1024 - 2) + b'"'
    assert (await post(shop, "open", fits)).status_code == 200
    problem(await post(shop, "open", b"x", {"content-encoding": "gzip"}), 415, "unsupported-media-type")
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = await shop.client.request(method, "/sources/shop")
        assert problem(answer, 405, "method-not-allowed")["status"] == 405
        assert answer.headers["allow"] == "GET, HEAD, POST"
    assert (await received(shop, "open"))[0]["body"] == "a" * (1024 * 1024 - 2)


async def test_any_bytes_are_kept(shop: Deployment) -> None:
    deep = b"[" * 63 + b"]" * 63
    for body in (
        b"",
        b"\xff\x00",
        b'{"a": 1, "a": 2}',
        b"NaN",
        b'"\\ud800"',
        deep,
        b"name=a&b=c",
        b"{",
        b'{"a":1}}',
    ):
        assert (await post(shop, "open", body)).status_code == 200
        data = (await received(shop, "open"))[-1]
        assert base64.b64decode(data["body_base64"]) == body
        assert "body" not in data
    for body in (b"null", b"0", b' [1, "a\\u0000", {"b": []}] ', b"[" * 60 + b"]" * 60, '"é"'.encode()):
        assert (await post(shop, "open", body)).status_code == 200
        data = (await received(shop, "open"))[-1]
        assert data["body"] == json.loads(body)
        assert "body_base64" not in data


async def test_a_probe_of_the_url_is_answered(shop: Deployment) -> None:
    async with httpx.AsyncClient(base_url=shop.url, timeout=PATIENCE) as sender:
        answer = await sender.get("/sources/shop")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        answer = await sender.head("/sources/shop")
        assert (answer.status_code, answer.content) == (200, b"")
        problem(await sender.get("/sources/nobody"), 404, "not-found")
    assert await received(shop) == []


async def test_a_token_that_a_challenge_signs_for_anybody_is_no_message(tmp_path: Path) -> None:
    proof = {"scheme": "hmac-sha256", "header": "x-signature", "secrets": ["consumer-secret"]}
    x = {"name": "x", "proof": proof, "challenge": {"crc": "consumer-secret"}}
    async with deployed(tmp_path, SILENT, sources=configured(x)) as deployment:
        answers = []
        for body in (b"foo", b'{"for_user_id": 1}'):
            header = {"x-signature": hmac.digest(b"consumer-secret", body, "sha256").hex()}
            answers.append((await post(deployment, "x", body, header)).status_code)
        assert answers == [401, 200]
        assert [data["body"] for data in await received(deployment, "x")] == [{"for_user_id": 1}]


async def test_challenges_are_answered_and_make_no_event(tmp_path: Path) -> None:
    proof = SHOP["proof"]
    sources: list[dict[str, Any]] = [
        {"name": "slack", "proof": proof, "challenge": {"json": "challenge"}},
        {"name": "meta", "proof": proof, "challenge": {"query": "hub.challenge"}},
        {"name": "x", "proof": proof, "challenge": {"crc": "consumer-secret"}},
    ]
    async with deployed(tmp_path, SILENT, sources=configured(*sources)) as deployment:
        asks = b'{"type": "url_verification", "token": "t", "challenge": "abc"}'
        answer = await post(deployment, "slack", asks)
        assert (answer.status_code, answer.json()) == (200, {"challenge": "abc"})
        async with httpx.AsyncClient(base_url=deployment.url, timeout=PATIENCE) as sender:
            answer = await sender.get(
                "/sources/meta", params={"hub.mode": "subscribe", "hub.challenge": "1158<b>"}
            )
            assert (answer.status_code, answer.text) == (200, "1158<b>")
            assert answer.headers["content-type"].startswith("text/plain")
            assert answer.headers["x-content-type-options"] == "nosniff"
            answer = await sender.post("/sources/meta", params={"hub.challenge": "7"})
            assert (answer.status_code, answer.text) == (200, "7")
            answer = await sender.get("/sources/x", params={"crc_token": "foo"})
            digest = hmac.digest(b"consumer-secret", b"foo", "sha256")
            assert answer.json() == {"response_token": "sha256=" + base64.b64encode(digest).decode()}
        # A proved message is stored whatever fields it has.
        sent = b'{"order": 7, "challenge": "sale"}'
        answer = await post(deployment, "slack", sent, signed(sent))
        assert answer.json() == {"challenge": "sale"}
        assert [data["body"]["order"] for data in await received(deployment, "slack")] == [7]
        # A message without a challenge is a message.
        body = b'{"challenge": 7}'
        assert (await post(deployment, "slack", body, signed(body))).json() == {"received": True}
        problem(await post(deployment, "slack", body), 401, "unauthorized")
        assert len(await received(deployment, "slack")) == 2
        assert await received(deployment, "meta") == []


async def test_a_handler_reads_the_message_as_well(tmp_path: Path) -> None:
    source = {**OPEN, "name": "frames", "handler": "apiframe"}
    async with deployed(tmp_path, SILENT, sources=configured(source)) as deployment:
        finished = {"task_id": "t1", "status": "finished", "video_url": "https://cdn.example/1.mp4"}
        for body in (json.dumps(finished).encode(), b'{"nothing": "known"}', b"[]"):
            await post(deployment, "frames", body)
        known, unknown, unread = await received(deployment, "frames")
        assert (known["update"]["provider_job_id"], known["update"]["phase"]) == ("t1", "succeeded")
        assert known["update"]["assets"][0]["provider_url"] == "https://cdn.example/1.mp4"
        assert (unknown["update"]["phase"], unknown["update"]["provider_job_id"]) == ("unknown", None)
        assert (unread["update"], unread["body"]) == (None, [])


async def test_a_description_of_ones_own_reads_the_message_as_well(tmp_path: Path) -> None:
    path = tmp_path / "acme.toml"
    text = (Path(handlers.__file__).parent / "described" / "tavus.toml").read_text()
    path.write_text(text.replace('name = "tavus"', 'name = "acme"', 1))
    source = {**OPEN, "name": "own", "description": str(path)}
    async with deployed(tmp_path, SILENT, sources=configured(source)) as deployment:
        body = {"video_id": "v1", "status": "ready", "download_url": "https://cdn.example/1.mp4"}
        await post(deployment, "own", json.dumps(body).encode())
        [data] = await received(deployment, "own")
        assert (data["update"]["provider_job_id"], data["update"]["phase"]) == ("v1", "succeeded")


async def test_sources_are_subscribed_to_filtered_and_explained(shop: Deployment) -> None:
    made = await shop.subscribe(
        "source.*", filter={"body.render": 7, "headers.x-request-id": {"$prefix": "r"}}
    )
    for number in (7, 8):
        body = json.dumps({"render": number}).encode()
        await post(shop, "shop", body, signed(body, **{"x-request-id": f"r{number}"}))
    events = await listed(shop, "/v1/events", type="source.*")
    told = [
        await asked(shop, "POST", f"/v1/endpoints/{made['id']}/explain", json={"event": event["id"]})
        for event in events
    ]
    assert [one["matches"] for one in told] == [True, False]
    shown = [(await asked(shop, "GET", f"/v1/events/{event['id']}"))["deliveries"] for event in events]
    assert [one[0]["status"] for one in shown] in (["pending", "filtered"], ["delivered", "filtered"])
    for pattern, says in (
        ("source.shpo.received", "names no source (did you mean `shop`?); sources: shop, open"),
        ("source.shop.send", "must be an event type"),
        ("source.", "must be an event type"),
    ):
        for method, path in (("POST", "/v1/endpoints"), ("PATCH", f"/v1/endpoints/{made['id']}")):
            answer = await shop.client.request(method, path, json={"url": shop.hook.url, "events": [pattern]})
            [error] = problem(answer, 422, "validation")["errors"]
            assert error["pointer"] == "/events/0"
            assert says in error["detail"]


async def test_an_underscore_in_a_name_stands_for_itself(tmp_path: Path) -> None:
    sources = configured({**OPEN, "name": "a_b"}, {**OPEN, "name": "axb"})
    async with deployed(tmp_path, SILENT, sources=sources) as deployment:
        for name in ("axb", "a_b"):
            assert (await post(deployment, name, b"{}")).status_code == 200
        found = await listed(deployment, "/v1/events", type="source.a_b.*")
        assert [event["data"]["source"] for event in found] == ["a_b"]


async def test_the_sources_are_listed_without_their_secrets(shop: Deployment) -> None:
    found = await listed(shop, "/v1/sources")
    assert [(one["id"], one["scheme"], one["event"]) for one in found] == [
        ("shop", "hmac-sha256", "source.shop.received"),
        ("open", "none", "source.open.received"),
    ]
    assert found[0]["url"] == f"{shop.url}/sources/shop"
    said = await commanded(shop, "sources", "list")
    assert [line.split("\t")[0] for line in said.out.splitlines()] == ["id", "shop", "open"]
    assert SECRET not in said.out + json.dumps(found)
    first = await asked(shop, "GET", "/v1/sources", params={"limit": 1})
    rest = await asked(shop, "GET", "/v1/sources", params={"cursor": first["next_cursor"]})
    assert (first["data"] + rest["data"], rest["next_cursor"]) == (found, None)


async def test_the_ids_of_senders_go_with_their_events(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(
        tmp_path, SILENT, clock=moving.clock, retention_days="3", sources=configured(SHOP)
    ) as deployment:
        body = b"{}"
        await post(deployment, "shop", body, signed(body, **{"x-request-id": "r1"}))
        moving.wait(5 * 86_400)
        await deployment.services.retention.sweep()
        assert await received(deployment) == []
        await post(deployment, "shop", body, signed(body, **{"x-request-id": "r1"}))
        assert len(await received(deployment)) == 1
