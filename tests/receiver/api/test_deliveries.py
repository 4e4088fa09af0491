"""Deliveries over HTTP: their JSON, the filters of the list, retries and cancellations by hand."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from handlers.contract import Phase
from receiver.api.deliveries import attempt_json, delivery_json
from receiver.api.responses import AttemptResponse, DeliveryResponse, DeliveryWithAttempts
from receiver.domain.model import Claim
from receiver.domain.rendering import stamp
from receiver.store import deliveries as table
from receiver.store.attempts import Attempt
from receiver.store.deliveries import StoredDelivery
from tests.receiver.api_client import problem_of, wrong_fields
from tests.receiver.store_fixture import START, StoreFixture, told, word

DELIVERY = StoredDelivery(
    id="dlv_1",
    event_id="evt_1",
    event_type="job.failed",
    endpoint_id=None,
    job_id="job_1",
    url="https://me.example/one-off",
    state="pending",
    created_at=START,
    updated_at=START,
    next_at=START + timedelta(seconds=5),
    tries=2,
    reason=None,
    leased=False,
    status=500,
    error=None,
)
ATTEMPT = Attempt(id="att_1", delivery_id="dlv_1", at=START, status=500, latency_ms=1.5)


async def new(fixture: StoreFixture, **others: Any) -> Claim:
    """Return the claim of the only delivery of a job that has just succeeded."""
    job = await fixture.submitted(**others)
    [recorded] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
    [made] = recorded.deliveries
    assert made.claim is not None
    return made.claim


async def ids(client: httpx.AsyncClient, **query: Any) -> list[str]:
    """Return the ids of the deliveries that fit a query."""
    answer = await client.get("/v1/deliveries", params=query)
    assert answer.status_code == 200, answer.text
    return [DeliveryResponse.model_validate(one).id for one in answer.json()["data"]]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"thanks", "thanks"),
        (b"", ""),
        (b"\xff\x00ok", "\ufffd ok"),
        (b"sent: Bearer abc.def", "sent: Bearer [redacted]"),
        (b"whsec_QUJDQUJD", "whsec_[redacted]"),
    ],
)
def test_the_answer_of_an_endpoint_is_text_without_secrets(body: bytes, shown: str) -> None:
    assert attempt_json(replace(ATTEMPT, answer=body)) == {
        "object": "attempt",
        "id": "att_1",
        "delivery": "dlv_1",
        "at": "2026-11-21T10:00:00.000Z",
        "status": 500,
        "latency_ms": 1.5,
        "error": None,
        "answer": shown,
    }


def test_an_attempt_without_a_response_has_its_error() -> None:
    shown = AttemptResponse.model_validate(
        attempt_json(replace(ATTEMPT, status=None, error="connect: refused"))
    )
    assert (shown.status, shown.error, shown.answer) == (None, "connect: refused", "")


def test_a_delivery_is_shown_with_its_last_attempt_and_its_next_one() -> None:
    assert delivery_json(DELIVERY) == {
        "object": "delivery",
        "id": "dlv_1",
        "event": "evt_1",
        "type": "job.failed",
        "endpoint": None,
        "url": "https://me.example/one-off",
        "job": "job_1",
        "state": "pending",
        "attempts_made": 2,
        "reason": None,
        "last_status": 500,
        "last_error": None,
        "created_at": "2026-11-21T10:00:00.000Z",
        "updated_at": "2026-11-21T10:00:00.000Z",
        "next_attempt_at": "2026-11-21T10:00:05.000Z",
    }
    assert delivery_json(replace(DELIVERY, next_at=None))["next_attempt_at"] is None


async def test_deliveries_are_filtered(fixture: StoreFixture, client: httpx.AsyncClient) -> None:
    await fixture.endpoint("ep_1", "job.succeeded")
    first, second, third = [await new(fixture) for _ in range(3)]
    await fixture.settle(first)
    await fixture.settle(second, "exhausted", reason="tls: it is over")
    [event, job] = [
        (await client.get(f"/v1/deliveries/{second.id}")).json()[name] for name in ("event", "job")
    ]
    every = [third.id, second.id, first.id]
    queries: list[tuple[dict[str, str], list[str]]] = [
        ({}, every),
        ({"endpoint": "ep_1"}, every),
        ({"endpoint": "ep_2"}, []),
        ({"state": "pending"}, [third.id]),
        ({"state": "delivered"}, [first.id]),
        ({"state": "exhausted"}, [second.id]),
        ({"state": "canceled"}, []),
        ({"event": event}, [second.id]),
        ({"job": job}, [second.id]),
        ({"job": job, "state": "delivered"}, []),
        ({"job": job, "state": "exhausted", "endpoint": "ep_1"}, [second.id]),
    ]
    for query, expected in queries:
        assert await ids(client, **query) == expected, query


async def test_deliveries_are_listed_newest_first_page_by_page(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    await fixture.endpoint("ep_1", "job.succeeded")
    made = [(await new(fixture)).id for _ in range(3)]
    first = (await client.get("/v1/deliveries", params={"limit": 2})).json()
    assert [one["id"] for one in first["data"]] == made[:0:-1]
    assert first["next_cursor"] == made[1]
    rest = (await client.get("/v1/deliveries", params={"limit": 2, "cursor": made[1]})).json()
    assert ([one["id"] for one in rest["data"]], rest["next_cursor"]) == (made[:1], None)


async def test_a_search_that_stops_at_its_bound_tells_where_to_continue(
    fixture: StoreFixture, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "SCAN", 2)
    await fixture.endpoint("ep_1", "job.succeeded")
    claims = [await new(fixture) for _ in range(4)]
    await fixture.settle(claims[0])
    query = {"state": "delivered", "endpoint": "ep_1"}
    found, cursors = [], []
    while True:
        page = (await client.get("/v1/deliveries", params=query)).json()
        found += [one["id"] for one in page["data"]]
        cursors.append(page["next_cursor"])
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == [claims[0].id]
    assert cursors == [claims[2].id, claims[0].id, None]


async def test_the_id_of_no_delivery_is_not_a_cursor(client: httpx.AsyncClient) -> None:
    for cursor in ("x", "evt_" + "0" * 48, "dlv_" + "0" * 31):
        answer = await client.get("/v1/deliveries", params={"cursor": cursor})
        assert wrong_fields(answer) == [("query", "cursor", "is not a cursor of this list")]


async def test_a_delivery_is_shown_with_its_attempts_oldest_first(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    await fixture.endpoint("ep_1", "job.succeeded")
    claim = await new(fixture)
    assert (await client.get(f"/v1/deliveries/{claim.id}")).json()["attempts"] == []
    await fixture.settle(claim, "pending", next_at=START + timedelta(seconds=5))
    shown = DeliveryWithAttempts.model_validate((await client.get(f"/v1/deliveries/{claim.id}")).json())
    assert (shown.attempts_made, shown.last_status) == (1, 500)
    assert shown.next_attempt_at == "2026-11-21T10:00:05.000Z"
    assert [(one.status, one.delivery) for one in shown.attempts] == [(500, claim.id)]


@pytest.mark.parametrize("call", ["", "/retry", "/cancel"])
async def test_an_unknown_delivery_is_not_found(client: httpx.AsyncClient, call: str) -> None:
    answer = await client.request("POST" if call else "GET", f"/v1/deliveries/dlv_{'0' * 32}{call}")
    detail = problem_of(answer, 404, "not-found")["detail"]
    assert detail == "no such delivery; GET /v1/deliveries lists those that are there"


@pytest.mark.parametrize("state", ["delivered", "exhausted", "canceled"])
async def test_a_delivery_in_any_state_is_retried_by_hand(
    fixture: StoreFixture, client: httpx.AsyncClient, state: str
) -> None:
    await fixture.endpoint("ep_1", "job.succeeded")
    claim = await new(fixture)
    await fixture.settle(claim, state, reason="over")
    fixture.clock.pass_(minutes=1)
    answer = await client.post(f"/v1/deliveries/{claim.id}/retry")
    assert answer.status_code == 202
    shown = DeliveryResponse.model_validate(answer.json())
    assert (shown.state, shown.reason, shown.attempts_made) == ("pending", None, 1)
    assert shown.next_attempt_at == shown.updated_at == stamp(fixture.clock.at)


async def test_a_delivery_to_a_deleted_endpoint_cannot_be_retried(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    await fixture.endpoint("ep_1", "job.succeeded")
    claim = await new(fixture)
    await fixture.services.api.endpoints.delete("ep_1")
    answer = await client.post(f"/v1/deliveries/{claim.id}/retry")
    assert problem_of(answer, 409, "conflict")["detail"] == "the endpoint was deleted"


async def test_a_pending_delivery_is_canceled_and_stays_so(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    await fixture.endpoint("ep_1", "job.succeeded")
    claim = await new(fixture)
    for _ in range(2):
        answer = await client.post(f"/v1/deliveries/{claim.id}/cancel")
        shown = DeliveryResponse.model_validate(answer.json())
        assert (answer.status_code, shown.state, shown.reason) == (200, "canceled", "canceled by hand")
        assert shown.next_attempt_at is None


@pytest.mark.parametrize("state", ["delivered", "exhausted"])
async def test_a_delivery_that_has_ended_cannot_be_canceled(
    fixture: StoreFixture, client: httpx.AsyncClient, state: str
) -> None:
    await fixture.endpoint("ep_1", "job.succeeded")
    claim = await new(fixture)
    await fixture.settle(claim, state)
    answer = await client.post(f"/v1/deliveries/{claim.id}/cancel")
    assert problem_of(answer, 409, "conflict")["detail"] == f"the delivery is already {state}"
    assert await ids(client, state=state) == [claim.id]


async def test_a_delivery_to_the_callback_url_of_a_job_shows_the_url(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    await new(fixture, callback_url="https://me.example/one-off")
    [shown] = (await client.get("/v1/deliveries")).json()["data"]
    assert (shown["endpoint"], shown["url"]) == (None, "https://me.example/one-off")
    assert (await client.post(f"/v1/deliveries/{shown['id']}/retry")).status_code == 202
