"""Jobs over HTTP, followed: shown, waited for, listed, canceled, resolved, erased, and their timelines."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from handlers.contract import Phase
from receiver.api.responses import EntryResponse, JobResponse, WholeJob
from receiver.api.services import Services
from receiver.domain.model import Job, State
from receiver.events import long_polling
from tests.receiver.api_client import client_of, problem_of, wrong_fields
from tests.receiver.front_door import PATIENCE, until
from tests.receiver.job_steps import unconfirmed
from tests.receiver.store_fixture import StoreFixture, told, word

BODY: dict[str, Any] = {"provider": "apiframe", "operation": "imagine", "input": {"prompt": "a tide"}}
NO_JOB = "no such job; GET /v1/jobs lists those that are there"
UNKNOWN = "job_" + "0" * 32
CONFIGURED = "http://127.0.0.1:8080"
"""The base of links of a deployment without a public URL, by its settings."""


async def succeeded(fixture: StoreFixture, **others: Any) -> Job:
    """Return a job that has just succeeded with one file."""
    job = await fixture.submitted(**others)
    await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED, result={"seed": 7})))
    return await fixture.now(job)


def private(fixture: StoreFixture) -> Services:
    """Return the services of a deployment without a public URL."""
    services = fixture.services.api
    settings = services.settings.model_copy(update={"public_url": None})
    return replace(services, settings=settings)


# One job.


async def test_a_job_is_shown_with_its_input_and_its_result(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    job = await succeeded(fixture)
    answer = await client.get(f"/v1/jobs/{job.id}")
    shown = WholeJob.model_validate(answer.json())
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (shown.state, shown.result, shown.input) == (State.SUCCEEDED, {"seed": 7}, {"prompt": "a"})
    assert (shown.assets[0].url or "").startswith("https://hooks.example/assets/")


@pytest.mark.parametrize(
    ("hosts", "base"),
    [
        (["app.example:8080"], "http://app.example:8080"),
        (["[::1]:80"], "http://[::1]:80"),
        (["a/b"], CONFIGURED),
        ([""], CONFIGURED),
        (["a.example", "b.example"], CONFIGURED),
    ],
)
async def test_without_a_public_url_links_lead_to_where_the_client_reached_the_service(
    fixture: StoreFixture, hosts: list[str], base: str
) -> None:
    job = await succeeded(fixture)
    async with client_of(private(fixture)) as client:
        headers = [("host", host) for host in hosts]
        answer = await client.get(f"/v1/jobs/{job.id}", headers=headers)
    assert answer.request.headers.get_list("host") == hosts
    assert answer.json()["assets"][0]["url"].startswith(f"{base}/assets/")


@pytest.mark.parametrize(
    ("method", "call"), [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/timeline")]
)
async def test_an_unknown_job_is_not_found(client: httpx.AsyncClient, method: str, call: str) -> None:
    for job_id in ("x", UNKNOWN, "job_" + "G" * 32, "evt_" + "0" * 32, "%00"):
        answer = await client.request(method, f"/v1/jobs/{job_id}{call}")
        assert problem_of(answer, 404, "not-found")["detail"] == NO_JOB


# Calls that wait.


async def test_a_final_job_is_not_waited_for(
    fixture: StoreFixture, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_polling, "AT_MOST", 0)
    job = await succeeded(fixture)
    answer = await client.get(f"/v1/jobs/{job.id}", params={"wait": "60"})
    assert answer.json()["state"] == "succeeded"
    still_open = await fixture.added()
    answer = await client.get(f"/v1/jobs/{still_open.id}", params={"wait": "60"})
    problem_of(answer, 429, "too-many-requests")


async def test_a_call_that_waits_responds_once_the_job_is_final(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    job = await fixture.submitted()
    task = asyncio.create_task(client.get(f"/v1/jobs/{job.id}", params={"wait": "60"}))
    await until(lambda: fixture.services.api.waiting_calls._jobs)
    await fixture.hear(word(job, fixture, told(Phase.RUNNING)))
    await fixture.hear(word(job, fixture, told(Phase.FAILED)))
    async with asyncio.timeout(PATIENCE):
        assert (await task).json()["state"] == "failed"


async def test_a_call_whose_time_is_up_shows_the_job_as_it_is(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    job = await fixture.submitted()
    task = asyncio.create_task(client.get(f"/v1/jobs/{job.id}", params={"wait": "60"}))
    waiting_calls = fixture.services.api.waiting_calls
    await until(lambda: waiting_calls._jobs)
    fixture.clock.pass_(seconds=60)
    waiting_calls.tell([job.id], events=False)
    async with asyncio.timeout(PATIENCE):
        answer = await task
    assert (answer.status_code, answer.json()["state"]) == (200, "queued")


# The list.


async def listed(client: httpx.AsyncClient, **query: Any) -> list[str]:
    """Return the ids of the jobs that fit a query."""
    answer = await client.get("/v1/jobs", params=query)
    assert answer.status_code == 200, answer.text
    return [JobResponse.model_validate(one).id for one in answer.json()["data"]]


async def test_jobs_are_filtered(fixture: StoreFixture, client: httpx.AsyncClient) -> None:
    first = await succeeded(fixture, metadata={"order": "1", "shop": "a"})
    fixture.clock.pass_(seconds=10)
    second = await fixture.added("aiml", metadata={"shop": "a", "a.b c": "d&e"})
    queries: list[tuple[dict[str, str], list[str]]] = [
        ({}, [second.id, first.id]),
        ({"state": "pending"}, [second.id]),
        ({"state": "expired"}, []),
        ({"provider": "apiframe"}, [first.id]),
        ({"provider_job_id": f"p-{first.id}"}, [first.id]),
        ({"metadata.shop": "a"}, [second.id, first.id]),
        ({"metadata.shop": "a", "metadata.order": "1"}, [first.id]),
        ({"metadata.a.b c": "d&e"}, [second.id]),
        ({"created_after": "2026-11-21T10:00:00Z"}, [second.id]),
        ({"created_before": "2026-11-21T11:00:10+01:00"}, [first.id]),
    ]
    for query, expected in queries:
        assert await listed(client, **query) == expected, query


async def test_jobs_are_listed_newest_first_page_by_page(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    ids = [(await fixture.added()).id for _ in range(3)]
    first = (await client.get("/v1/jobs", params={"limit": 2})).json()
    assert ([one["id"] for one in first["data"]], first["next_cursor"]) == ([ids[2], ids[1]], ids[1])
    rest = (await client.get("/v1/jobs", params={"limit": 1, "cursor": ids[1]})).json()
    assert ([one["id"] for one in rest["data"]], rest["next_cursor"]) == ([ids[0]], None)
    assert "input" not in rest["data"][0]


async def test_the_reason_why_a_job_waits_is_shown_alone_and_in_the_list(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    fixture.services.core.accounts.setups = {}
    job = await fixture.added("aiml")
    waiting = {
        "reason": "account_blocked",
        "detail": "the account aiml is not configured",
        "since": "2026-11-21T10:00:00.000Z",
        "until": None,
    }
    assert (await client.get(f"/v1/jobs/{job.id}")).json()["waiting"] == waiting
    assert (await client.get("/v1/jobs")).json()["data"][0]["waiting"] == waiting


async def test_the_id_of_no_job_is_not_a_cursor(client: httpx.AsyncClient) -> None:
    for cursor in ("x", "key_" + "0" * 32, "job_" + "g" * 32):
        answer = await client.get("/v1/jobs", params={"cursor": cursor})
        assert wrong_fields(answer) == [("query", "cursor", "is not a cursor of this list")]


# Decisions.


async def test_a_job_is_canceled_once_and_for_all(fixture: StoreFixture, client: httpx.AsyncClient) -> None:
    job = await fixture.added()
    for _ in range(2):
        answer = await client.post(f"/v1/jobs/{job.id}/cancel")
        shown = JobResponse.model_validate(answer.json())
        assert (answer.status_code, shown.state, shown.completed_by) == (200, "canceled", "cancel")
    done = await succeeded(fixture)
    answer = await client.post(f"/v1/jobs/{done.id}/cancel")
    assert problem_of(answer, 409, "conflict")["detail"] == (
        "the job is already succeeded; only one that is not final can be canceled"
    )


@pytest.mark.parametrize("body", [{}, {"fail": True, "resubmit": True}, {"fail": None}])
async def test_a_resolution_has_exactly_one_field(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    answer = await client.post(f"/v1/jobs/{UNKNOWN}/resolve", json=body)
    detail = "give exactly one of provider_job_id, resubmit and fail"
    assert wrong_fields(answer) == [("body", "", detail)]
    assert answer.json()["detail"] == detail


@pytest.mark.parametrize(
    ("body", "state", "theirs"),
    [
        ({"provider_job_id": "p1"}, "queued", "p1"),
        ({"resubmit": True}, "pending", None),
        ({"fail": True}, "failed", None),
        ({"fail": True, "resubmit": None}, "failed", None),
    ],
)
async def test_an_unconfirmed_job_is_resolved(
    fixture: StoreFixture, client: httpx.AsyncClient, body: dict[str, Any], state: str, theirs: str | None
) -> None:
    job, _ = await unconfirmed(fixture)
    answer = await client.post(f"/v1/jobs/{job.id}/resolve", json=body)
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["provider_job_id"]) == (state, theirs)


async def test_only_an_unconfirmed_job_can_be_resolved(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    job = await fixture.added()
    answer = await client.post(f"/v1/jobs/{job.id}/resolve", json={"fail": True})
    detail = problem_of(answer, 409, "conflict")["detail"]
    assert detail == "only an unconfirmed job can be resolved; this one is pending"
    answer = await client.post(f"/v1/jobs/{UNKNOWN}/resolve", json={"fail": True})
    assert problem_of(answer, 404, "not-found")["detail"] == NO_JOB


async def test_the_id_of_another_job_does_not_resolve_one(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    await fixture.submitted("aiml", "p1")
    job, _ = await unconfirmed(fixture)
    answer = await client.post(f"/v1/jobs/{job.id}/resolve", json={"provider_job_id": "p1"})
    assert wrong_fields(answer) == [("body", "/provider_job_id", "belongs to another job")]


async def test_only_a_final_job_is_erased(fixture: StoreFixture, client: httpx.AsyncClient) -> None:
    job = await fixture.submitted()
    detail = problem_of(await client.delete(f"/v1/jobs/{job.id}"), 409, "conflict")["detail"]
    assert detail == "only a final job can be erased; this one is queued: cancel it first"
    await client.post(f"/v1/jobs/{job.id}/cancel")
    answer = await client.delete(f"/v1/jobs/{job.id}")
    assert (answer.status_code, answer.content) == (204, b"")
    problem_of(await client.get(f"/v1/jobs/{job.id}"), 404, "not-found")
    assert (await client.get("/v1/events")).json()["data"] == []


# The timeline.


async def test_a_timeline_is_walked_entry_by_entry(fixture: StoreFixture, client: httpx.AsyncClient) -> None:
    await fixture.endpoint("ep_1", "job.*")
    job = await succeeded(fixture)
    every = (await client.get(f"/v1/jobs/{job.id}/timeline")).json()
    for entry in every["data"]:
        EntryResponse.model_validate(entry)
    kinds = [entry["kind"] for entry in every["data"]]
    assert (kinds[:2], kinds[-2:]) == (["submission", "update"], ["event", "delivery"])
    assert every["next_cursor"] is None
    found: list[dict[str, Any]] = []
    query: dict[str, str] = {"limit": "1"}
    while True:
        page = (await client.get(f"/v1/jobs/{job.id}/timeline", params=query)).json()
        found += page["data"]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == every["data"]


async def test_a_text_that_is_no_place_of_a_timeline_is_refused(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    job = await fixture.added()
    for cursor in ("x", "1.2", "1.22.evd_1", "1.2.evd-1", "-1.2.evd_1", "1.2.evd_1~~"):
        answer = await client.get(f"/v1/jobs/{job.id}/timeline", params={"cursor": cursor})
        assert wrong_fields(answer) == [("query", "cursor", "is not a cursor of this list")]
