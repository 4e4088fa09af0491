"""The event feed over HTTP: its places, its filters, and calls that wait for the next event."""

import asyncio
from typing import Any

import httpx
import pytest

from handlers.contract import Phase
from receiver.api import events as module
from receiver.api.webhooks import EventResponse, EventWithReasons
from receiver.domain.event_types import SHOWN
from receiver.domain.model import Job
from receiver.events import long_polling
from receiver.feed.places import FeedPlaces
from receiver.store import events as table
from tests.receiver.api_client import problem_of, wrong_fields
from tests.receiver.front_door import PATIENCE, until
from tests.receiver.store_fixture import StoreFixture, told, word

NO_PLACE = "must be an event's id, the next_cursor of an earlier answer, or a moment with its offset"
LOST = (
    "this place is not in the feed any more: retention removed it, or the database was restored from before "
    "it; start again without `after`"
)


async def running(fixture: StoreFixture) -> Job:
    """Return a job with one event: it runs."""
    job = await fixture.submitted()
    await fixture.hear(word(job, fixture, told(Phase.RUNNING)))
    return job


async def lived(fixture: StoreFixture) -> Job:
    """Return a job with two events: it ran and has succeeded."""
    job = await running(fixture)
    await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
    return job


async def page(client: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    """Return a page of the feed, which must be one that the document describes."""
    answer = await client.get("/v1/events", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert (list(found), type(found["next_cursor"])) == (["data", "next_cursor", "has_more"], str)
    for one in found["data"]:
        EventResponse.model_validate(one)
    return found


def place(fixture: StoreFixture, number: int) -> str:
    """Return a place in the feed as clients hold it."""
    return fixture.services.core.places.text(number)


def types(found: dict[str, Any]) -> list[str]:
    """Return the types of the events of a page."""
    return [one["type"] for one in found["data"]]


async def test_an_empty_feed_has_a_place_to_continue_at(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    empty = await page(client)
    assert (empty["data"], empty["has_more"]) == ([], False)
    await running(fixture)
    assert types(await page(client, after=empty["next_cursor"])) == ["job.running"]


async def test_the_feed_is_walked_from_the_oldest_event_on(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    await lived(fixture)
    await running(fixture)
    first = await page(client, limit=2)
    assert (types(first), first["has_more"]) == (["job.running", "job.succeeded"], True)
    rest = await page(client, limit=2, after=first["next_cursor"])
    assert (types(rest), rest["has_more"]) == (["job.running"], False)
    assert await page(client, cursor=first["data"][1]["id"]) == rest
    assert (await page(client, after=rest["next_cursor"]))["data"] == []


async def test_after_takes_precedence_over_cursor(fixture: StoreFixture, client: httpx.AsyncClient) -> None:
    await lived(fixture)
    assert types(await page(client, after=place(fixture, 1), cursor="0")) == ["job.succeeded"]
    answer = await client.get("/v1/events", params={"after": "x", "cursor": "0"})
    assert wrong_fields(answer) == [("query", "after", NO_PLACE)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"type": "job.succeeded"}, ["job.succeeded"]),
        ({"type": "job.*"}, ["job.running", "job.succeeded", "job.running"]),
        ({"type": "*"}, ["job.running", "job.succeeded", "job.running"]),
        ({"type": "provider.*"}, []),
        ({"job": "first"}, ["job.running", "job.succeeded"]),
        ({"job": "first", "type": "job.running"}, ["job.running"]),
        ({"job": "job_none"}, []),
    ],
)
async def test_the_feed_is_filtered_by_type_and_by_job(
    fixture: StoreFixture, client: httpx.AsyncClient, query: dict[str, str], expected: list[str]
) -> None:
    first = await lived(fixture)
    await running(fixture)
    query = {name: first.id if value == "first" else value for name, value in query.items()}
    assert types(await page(client, **query)) == expected


@pytest.mark.parametrize("name", ["after", "cursor"])
async def test_a_text_that_is_no_place_is_refused(client: httpx.AsyncClient, name: str) -> None:
    for value in ("x", "-1", "1", "1e3", "\u0663", "0123abcd-", "evt_short", "job_" + "0" * 32):
        answer = await client.get("/v1/events", params={name: value})
        assert wrong_fields(answer) == [("query", name, NO_PLACE)]


async def test_an_unknown_type_is_refused_with_the_known_ones(client: httpx.AsyncClient) -> None:
    for text, meant in (("job.sucseeded", " (did you mean `job.succeeded`?)"), ("jo*", ""), ("", "")):
        answer = await client.get("/v1/events", params={"type": text})
        detail = f"must be an event type, `*`, or a prefix such as `job.*`{meant}; types: {', '.join(SHOWN)}"
        assert wrong_fields(answer) == [("query", "type", detail)]


@pytest.mark.parametrize("name", ["after", "cursor"])
async def test_a_place_of_another_deployment_is_refused(
    fixture: StoreFixture, client: httpx.AsyncClient, name: str
) -> None:
    await running(fixture)
    answer = await client.get("/v1/events", params={name: FeedPlaces("76543210").text(1)})
    detail = "is a place in the feed of another deployment; begin without it, or at a moment"
    assert wrong_fields(answer) == [("query", name, detail)]


@pytest.mark.parametrize("number", [10**18 - 1, 2, None])
async def test_a_place_that_is_not_there_is_gone_and_names_the_oldest_event(
    fixture: StoreFixture, client: httpx.AsyncClient, number: int | None
) -> None:
    missing = "evt_" + "0" * 48 if number is None else place(fixture, number)
    answer = await client.get("/v1/events", params={"after": missing, "wait": "60"})
    empty = problem_of(answer, 410, "gone")
    assert (empty["detail"], "oldest" in empty) == (LOST, False)
    await running(fixture)
    [oldest] = (await page(client))["data"]
    answer = await client.get("/v1/events", params={"after": missing, "wait": "60"})
    assert problem_of(answer, 410, "gone")["oldest"] == oldest["id"]


async def test_a_call_reads_on_while_no_event_fits(
    fixture: StoreFixture, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "SCAN", 1)
    for _ in range(3):
        await running(fixture)
    await lived(fixture)
    found = await page(client, type="job.succeeded")
    assert (types(found), found["next_cursor"]) == (["job.succeeded"], place(fixture, 5))


async def test_a_call_that_read_enough_pages_tells_how_far_it_looked(
    fixture: StoreFixture, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "SCAN", 1)
    monkeypatch.setattr(module, "LOOKS", 2)
    for _ in range(3):
        await running(fixture)
    await lived(fixture)
    found = await page(client, type="job.succeeded", wait=60)
    assert found == {"data": [], "next_cursor": place(fixture, 3), "has_more": True}
    found = await page(client, type="job.succeeded", after=found["next_cursor"])
    assert (types(found), found["next_cursor"]) == (["job.succeeded"], place(fixture, 5))


# Calls that wait.


async def waiting(fixture: StoreFixture, client: httpx.AsyncClient, **query: Any) -> asyncio.Task[Any]:
    """Return a call that waits for the feed, once it waits."""
    task = asyncio.create_task(page(client, wait=60, **query))
    await until(lambda: fixture.services.api.waiting_calls._feed)
    return task


async def test_a_call_that_waits_responds_with_the_next_event(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    task = await waiting(fixture, client)
    job = await running(fixture)
    async with asyncio.timeout(PATIENCE):
        found = await task
    assert [one["data"]["id"] for one in found["data"]] == [job.id]
    assert fixture.services.api.waiting_calls._feed == set()


async def test_a_call_that_waits_does_not_respond_to_an_event_of_another_type(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    task = await waiting(fixture, client, type="job.succeeded")
    await running(fixture)
    await lived(fixture)
    async with asyncio.timeout(PATIENCE):
        found = await task
    assert (types(found), found["next_cursor"]) == (["job.succeeded"], place(fixture, 3))


async def test_a_call_that_waits_reads_on_where_more_happened_than_one_read_examines(
    fixture: StoreFixture, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "SCAN", 1)
    first, second = await fixture.submitted(), await fixture.submitted()
    task = await waiting(fixture, client, type="job.succeeded")
    await fixture.hear(
        word(first, fixture, told(Phase.RUNNING)),
        word(second, fixture, told(Phase.RUNNING)),
        word(second, fixture, told(Phase.SUCCEEDED)),
    )
    async with asyncio.timeout(PATIENCE):
        found = await task
    assert (types(found), found["next_cursor"]) == (["job.succeeded"], place(fixture, 3))


async def test_a_call_whose_time_is_up_responds_with_an_empty_page(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    task = await waiting(fixture, client)
    fixture.clock.pass_(seconds=60)
    fixture.services.api.waiting_calls.tell([], events=True)
    async with asyncio.timeout(PATIENCE):
        assert await task == {"data": [], "next_cursor": place(fixture, 0), "has_more": False}


async def test_a_service_that_stops_ends_every_wait(fixture: StoreFixture, client: httpx.AsyncClient) -> None:
    task = await waiting(fixture, client)
    fixture.services.api.waiting_calls.close()
    async with asyncio.timeout(PATIENCE):
        assert await task == {"data": [], "next_cursor": place(fixture, 0), "has_more": False}
    assert (await page(client, wait=60))["data"] == []


async def test_an_event_that_is_there_ends_the_wait_before_it_begins(
    fixture: StoreFixture, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_polling, "AT_MOST", 0)
    await running(fixture)
    assert types(await page(client, wait=60)) == ["job.running"]
    answer = await client.get("/v1/events", params={"wait": "60", "after": place(fixture, 1)})
    detail = problem_of(answer, 429, "too-many-requests")["detail"]
    assert (detail.split(".")[0], answer.headers["retry-after"]) == (
        "A key may have 4,096 calls with `wait` open",
        "1",
    )


# One event.


async def test_an_event_is_shown_with_its_status_at_each_endpoint(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    await fixture.endpoint("ep_1", "job.running")
    await fixture.endpoint("ep_2", "job.failed")
    await running(fixture)
    [event] = (await page(client))["data"]
    shown = (await client.get(f"/v1/events/{event['id']}")).json()
    EventWithReasons.model_validate(shown)
    [delivery] = (await client.get("/v1/deliveries")).json()["data"]
    why = "its event types do not include job.running"
    assert shown == event | {
        "deliveries": [
            {"endpoint": "ep_1", "delivery": delivery["id"], "status": "pending", "reason": None},
            {"endpoint": "ep_2", "delivery": None, "status": "not-subscribed", "reason": why},
        ]
    }


async def test_an_unknown_event_is_not_found(client: httpx.AsyncClient) -> None:
    detail = problem_of(await client.get("/v1/events/evt_x"), 404, "not-found")["detail"]
    assert detail == "no such event; GET /v1/events lists those that are there"
