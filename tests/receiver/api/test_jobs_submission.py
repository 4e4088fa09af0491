"""Jobs over HTTP, submitted: the body, the idempotency key, the preference to wait and the secret."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.contract import Phase
from receiver.api.jobs import read_wish
from receiver.api.responses import NewJobResponse
from receiver.bodies.large_json import HEAD, LONG
from receiver.domain.errors import Invalid, Malformed, UnsupportedMediaType
from receiver.domain.model import Source, State, Work
from receiver.events import long_polling
from receiver.jobs.service import JobSpec
from tests.receiver.api_client import client_of, problem_of, wrong_fields
from tests.receiver.front_door import PATIENCE, until
from tests.receiver.raw_server import BOUNDED
from tests.receiver.store_fixture import SECRET, StoreFixture, told, word

BODY: dict[str, Any] = {"provider": "apiframe", "operation": "imagine", "input": {"prompt": "a tide"}}
KEY_FORM = "give it once, as 1 to 255 visible ASCII characters"
CALLBACK = "https://me.example/one-off"
ON = "apiframe, apiframe-v2, aiml, minimax, replicate"


async def created(client: httpx.AsyncClient, headers: Any = None, **others: Any) -> httpx.Response:
    """Return the response to a submission."""
    return await client.post("/v1/jobs", json=BODY | others, headers=headers)


# The body, read without a service.


def spec_of(**others: Any) -> JobSpec:
    """Return the spec of a request."""
    return read_wish(json.dumps(BODY | others).encode(), content_type="application/json")


def test_the_spec_of_a_request_has_its_fields_and_the_stored_forms_of_its_input() -> None:
    spec = spec_of(metadata={"order": "42"}, callback_url=CALLBACK, deadline_seconds=60)
    assert (spec.provider, spec.operation, spec.input) == ("apiframe", "imagine", {"prompt": "a tide"})
    assert (spec.metadata, spec.callback_url, spec.deadline_seconds) == ({"order": "42"}, CALLBACK, 60)
    assert spec.whole.joined() == spec.shown == b'{"prompt":"a tide"}'
    assert (len(spec.hashed), spec.callback_secret) == (32, None)


@pytest.mark.parametrize("content_type", [None, "application/json; charset=utf-8", "Application/JSON"])
def test_the_content_type_may_be_missing_or_any_kind_of_json(content_type: str | None) -> None:
    assert read_wish(json.dumps(BODY).encode(), content_type=content_type).provider == "apiframe"


@pytest.mark.parametrize(
    ("raw", "content_type", "error"),
    [
        (b"{}", "text/plain", UnsupportedMediaType),
        (b"{", "application/json", Malformed),
        (b"", None, Malformed),
        (b"[]", None, Invalid),
        (b"{}", None, Invalid),
        (b'{"provider": "aiml", "input": []}', None, Invalid),
    ],
)
def test_a_body_that_is_no_request_is_refused(
    raw: bytes, content_type: str | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        read_wish(raw, content_type=content_type)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"input":{"prompt":"a tide"},"operation":"imagine","provider":"apiframe"}',
        b'{ "provider" : "apiframe", "operation":"imagine",\n "input":{"prompt":"a\\u0020tide"} }',
    ],
)
def test_the_same_request_has_the_same_hash_however_it_is_written(raw: bytes) -> None:
    assert read_wish(raw, content_type=None).hashed == spec_of().hashed


@pytest.mark.parametrize(
    "others",
    [
        {"input": {"prompt": "a tide", "index": 1}},
        {"metadata": {"order": "42"}},
        {"operation": "imagine-video"},
        {"deadline_seconds": 60},
        {"callback_url": CALLBACK},
        {"callback_url": CALLBACK, "callback_secret": SECRET},
    ],
)
def test_another_request_has_another_hash(others: dict[str, Any]) -> None:
    assert spec_of(**others).hashed != spec_of().hashed


@settings(BOUNDED, max_examples=20)
@given(st.dictionaries(st.text("abc", max_size=3), st.integers() | st.text("abc"), max_size=5))
def test_the_order_of_the_keys_does_not_change_the_hash(values: dict[str, Any]) -> None:
    turned = dict(reversed(values.items()))
    assert spec_of(input=turned).hashed == spec_of(input=values).hashed


def test_a_long_text_is_kept_whole_and_neither_checked_nor_shown_whole() -> None:
    text = "data:" + "x" * LONG
    spec = spec_of(input={"prompt": text})
    assert spec.whole.joined() == json.dumps({"prompt": text}, separators=(",", ":")).encode()
    assert spec.input["prompt"] == text[:HEAD]
    assert json.loads(spec.shown)["prompt"] == f"{text[:1024]}... ({len(text)} characters)"
    same = json.dumps(BODY | {"input": {"prompt": text}}).replace("data:", "\\u0064ata:").encode()
    assert read_wish(same, content_type=None).hashed == spec.hashed
    assert spec_of(input={"prompt": text + "x"}).hashed != spec.hashed


# The call.


async def test_a_submitted_job_is_pending_and_has_its_location(client: httpx.AsyncClient) -> None:
    answer = await created(client, metadata={"order": "42"})
    job = NewJobResponse.model_validate(answer.json())
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{job.id}")
    assert (job.state, job.provider, job.operation) == (State.PENDING, "apiframe", "imagine")
    assert (job.metadata, job.deadline_at, job.callback_secret) == (
        {"order": "42"},
        "2026-11-21T12:00:00.000Z",
        None,
    )
    assert {"idempotent-replayed", "preference-applied", "cache-control"} & set(answer.headers) == set()


async def test_the_same_key_and_body_give_the_same_job(client: httpx.AsyncClient) -> None:
    key = {"idempotency-key": "order-42"}
    first, again = await created(client, key), await created(client, key)
    assert (first.json()["id"], again.status_code) == (again.json()["id"], 202)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    other = await created(client, key, metadata={"order": "43"})
    detail = problem_of(other, 422, "idempotency-mismatch")["detail"]
    assert detail == "this Idempotency-Key was used with another body"
    assert len((await client.get("/v1/jobs")).json()["data"]) == 1


async def test_a_final_job_is_replayed_with_status_200(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    key = {"idempotency-key": "order-42"}
    job = (await created(client, key)).json()
    await client.post(f"/v1/jobs/{job['id']}/cancel")
    again = await created(client, key)
    assert (again.status_code, again.json()["state"]) == (200, "canceled")


async def test_two_callers_may_use_the_same_key(fixture: StoreFixture, client: httpx.AsyncClient) -> None:
    services = fixture.services.api
    _, text = await services.api_keys.create("other", ("jobs:write",), None)
    key = {"idempotency-key": "order-42"}
    async with client_of(services, key=text) as other:
        ids = {(await created(one, key)).json()["id"] for one in (client, other)}
    assert len(ids) == 2


async def test_a_key_of_another_form_is_refused(client: httpx.AsyncClient) -> None:
    for keys in ([b""], [b"a b"], [b"x" * 256], [b"\xe9"], [b"a", b"a"]):
        answer = await created(client, [(b"idempotency-key", key) for key in keys])
        assert wrong_fields(answer) == [("header", "idempotency-key", KEY_FORM)]


async def test_the_longest_key_is_taken(client: httpx.AsyncClient) -> None:
    assert (await created(client, {"idempotency-key": "~" * 255})).status_code == 202


PREFERENCES: dict[str, str | None] = {
    "wait=5": "wait=5",
    "Wait = 5": "wait=5",
    'wait="5"': "wait=5",
    "respond-async, wait=10": "wait=10",
    "wait=10; x=y": "wait=10",
    "wait=61": "wait=60",
    "wait=9999": "wait=60",
    "wait=0": "wait=0",
    "wait": None,
    "wait=x": None,
    "wait=-1": None,
    "wait=1.5": None,
    "await=5": None,
    "respond-async": None,
}


async def test_a_preference_to_wait_is_applied_up_to_a_minute(client: httpx.AsyncClient) -> None:
    key = {"idempotency-key": "order-42"}
    job = (await created(client, key)).json()
    await client.post(f"/v1/jobs/{job['id']}/cancel")  # a final job is not waited for
    found = {}
    for prefer in PREFERENCES:
        answer = await created(client, key | {"prefer": prefer})
        found[prefer] = answer.headers.get("preference-applied")
        assert answer.status_code == 200
    assert found == PREFERENCES


async def test_a_call_that_prefers_to_wait_responds_once_the_provider_has_accepted_the_job(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    task = asyncio.create_task(created(client, {"prefer": "wait=60"}))
    await until(lambda: fixture.services.api.waiting_calls._jobs)
    [chosen] = await fixture.claim(Work.SUBMIT, {"apiframe": 1})
    update = told(Phase.QUEUED, "p1")
    await fixture.hear(word(chosen.job, fixture, update, Source.SUBMISSION, claim=chosen.claim))
    async with asyncio.timeout(PATIENCE):
        answer = await task
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=60")
    assert (answer.json()["state"], answer.json()["provider_job_id"]) == ("queued", "p1")


async def test_without_room_for_its_key_a_call_does_not_wait(
    fixture: StoreFixture, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_polling, "AT_MOST", 1)
    with fixture.services.api.waiting_calls.waiting(None, "key_bootstrap"):
        answer = await created(client, {"prefer": "wait=60"})
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")
    assert "preference-applied" not in answer.headers


async def test_a_secret_that_the_service_makes_is_shown_once(client: httpx.AsyncClient) -> None:
    key = {"idempotency-key": "order-42"}
    first = await created(client, key, callback_url=CALLBACK)
    assert first.json()["callback_secret"].startswith("whsec_")
    assert first.headers["cache-control"] == "no-store"
    again = await created(client, key, callback_url=CALLBACK)
    assert ("callback_secret" in again.json(), "cache-control" in again.headers) == (False, False)
    shown = await client.get(first.headers["location"])
    assert "callback_secret" not in shown.json()


async def test_a_secret_that_the_client_gives_is_not_shown(client: httpx.AsyncClient) -> None:
    answer = await created(client, callback_url=CALLBACK, callback_secret=SECRET)
    assert answer.status_code == 202
    assert ("callback_secret" in answer.json(), SECRET in answer.text) == (False, False)


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"callback_secret": SECRET}, "/callback_secret", "needs a callback_url"),
    ({"callback_url": "http://x.example:22/"}, "/callback_url", "the port must be 80, 443 or 1024 to 65535"),
    ({"operation": "imagin"}, "/operation", "apiframe has no such operation; did you mean `imagine`?"),
    (
        {"provider": "apiframes"},
        "/provider",
        f"this account is not configured (did you mean `apiframe`?); accounts that are on: {ON}",
    ),
]


@pytest.mark.parametrize(("wrong", "pointer", "detail"), WRONG)
async def test_a_submission_that_cannot_be_is_refused_and_not_stored(
    client: httpx.AsyncClient, wrong: dict[str, Any], pointer: str, detail: str
) -> None:
    assert wrong_fields(await created(client, **wrong)) == [("body", pointer, detail)]
    assert (await client.get("/v1/jobs")).json()["data"] == []


async def test_only_json_is_taken(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/jobs", content=b"{}", headers={"content-type": "text/plain"})
    detail = problem_of(answer, 415, "unsupported-media-type")["detail"]
    assert detail == "send Content-Type: application/json"
    answer = await client.post("/v1/jobs", content=b'{"provider":', headers={"content-type": "a/b+json"})
    problem_of(answer, 415, "unsupported-media-type")
    answer = await client.post("/v1/jobs", content=b'{"a": 1, "a": 2}')
    problem_of(answer, 400, "malformed")
