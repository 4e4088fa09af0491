"""The inbox of the sandbox: a delivery is shown as it came, and few of them are kept."""

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from receiver.sandbox import inbox as module
from receiver.sandbox.inbox import KEPT, LARGEST, Inbox

BODY = '{"id": "evt_1", "prompt": "Überfahrt"}\n'.encode()


@pytest.fixture
def client() -> httpx.AsyncClient:
    """Return a client of an empty inbox."""
    app = Starlette(routes=[Route("/_inbox", Inbox().serve, methods=["GET", "POST"])])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sandbox")


async def post(client: httpx.AsyncClient, event: str, body: bytes = BODY, status: str = "204") -> int:
    """Post a delivery. Returns the status of the answer."""
    headers = {"webhook-id": event, "ce-type": "job.failed", "content-type": "application/json", "x-a": "b"}
    answer = await client.post("/_inbox", params={"status": status}, content=body, headers=headers)
    return answer.status_code


async def test_a_delivery_is_shown_as_it_came(client: httpx.AsyncClient) -> None:
    assert await post(client, "evt_1") == 204
    shown = await client.get("/_inbox")
    assert (shown.status_code, shown.content) == (200, BODY)
    assert (shown.headers["webhook-id"], shown.headers["ce-type"]) == ("evt_1", "job.failed")
    assert shown.headers["content-type"] == "application/json"
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert "x-a" not in shown.headers


async def test_the_newest_is_shown_or_that_of_an_event(client: httpx.AsyncClient) -> None:
    for event in ("evt_1", "evt_2", "evt_1"):
        await post(client, event)
    assert (await client.get("/_inbox")).headers["webhook-id"] == "evt_1"
    assert (await client.get("/_inbox?id=evt_2")).headers["webhook-id"] == "evt_2"


async def test_a_reader_waits_for_the_delivery_of_its_event(client: httpx.AsyncClient) -> None:
    reader = asyncio.create_task(client.get("/_inbox?id=evt_2"))
    for event in ("evt_1", "evt_2"):
        await post(client, event)
    assert (await reader).headers["webhook-id"] == "evt_2"


async def test_a_reader_does_not_wait_for_ever(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    answer = await client.get("/_inbox")
    assert (answer.status_code, answer.json()) == (404, {"error": "no such delivery has come yet"})


@pytest.mark.parametrize(("named", "status"), [("503", 503), ("200", 200), ("599", 599)])
async def test_the_url_names_the_answer_and_the_delivery_is_kept(
    client: httpx.AsyncClient, named: str, status: int
) -> None:
    assert await post(client, "evt_1", status=named) == status
    assert (await client.get("/_inbox?id=evt_1")).content == BODY


@pytest.mark.parametrize("named", ["", "x", "199", "600", "5030", "-503", "٥٠٣", "9" * 5000])
async def test_no_other_status_is_answered(client: httpx.AsyncClient, named: str) -> None:
    assert await post(client, "evt_1", status=named) == 400


async def test_the_oldest_goes_first_and_a_large_one_is_refused(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    for number in range(KEPT + 1):
        await post(client, f"evt_{number}")
    assert await post(client, "evt_large", b"x" * (LARGEST + 1)) == 413
    assert await post(client, "evt_fits", b"x" * LARGEST) == 204
    shown = [
        (await client.get("/_inbox", params={"id": f"evt_{number}"})).status_code
        for number in range(KEPT + 1)
    ]
    assert shown == [404, 404] + [200] * (KEPT - 1)
    assert len((await client.get("/_inbox?id=evt_fits")).content) == LARGEST
