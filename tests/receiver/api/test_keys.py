"""API keys over HTTP: shown once, listed without their text, revoked by id."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from receiver.api.keys import key_json
from receiver.api.responses import Key, NewKey
from receiver.domain.rendering import stamp
from receiver.store import api_keys as table
from receiver.store.api_keys import ApiKey
from tests.receiver.api_client import client_of, problem_of, wrong_fields
from tests.receiver.store_fixture import START, StoreFixture

BODY: dict[str, Any] = {"name": "orders", "scopes": ["jobs:read"]}


async def created(client: httpx.AsyncClient, **others: Any) -> dict[str, Any]:
    """Return a new key as its creation shows it."""
    answer = await client.post("/v1/keys", json=BODY | others)
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    return key


def test_the_json_of_a_key_has_neither_its_text_nor_its_hash() -> None:
    key = ApiKey(id="key_1", name="orders", hash=b"h", scopes=("admin",), created_at=1_000, expires_at=1_500)
    assert key_json(key) == {
        "object": "key",
        "id": "key_1",
        "name": "orders",
        "scopes": ["admin"],
        "created_at": "1970-01-01T00:00:01.000Z",
        "expires_at": "1970-01-01T00:00:01.500Z",
    }


async def test_a_new_key_is_shown_once_and_may_not_be_cached(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/keys", json=BODY)
    key = NewKey.model_validate(answer.json())
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/keys/{key.id}"
    assert answer.headers["cache-control"] == "no-store"
    assert (key.created_at, key.expires_at) == (stamp(START), None)
    [listed] = (await client.get("/v1/keys")).json()["data"]
    assert Key.model_validate(listed) == Key(**key.model_dump(exclude={"key"}))


async def test_a_new_key_has_its_scopes_each_once_and_no_others(fixture: StoreFixture) -> None:
    async with client_of(fixture.services.api) as client:
        key = await created(client, scopes=["jobs:read", "events:read", "jobs:read"])
    assert key["scopes"] == ["jobs:read", "events:read"]
    async with client_of(fixture.services.api, key=key["key"]) as client:
        assert (await client.get("/v1/jobs")).status_code == 200
        problem_of(await client.get("/v1/keys"), 403, "forbidden")


async def test_a_key_cannot_end_before_it_begins(client: httpx.AsyncClient) -> None:
    for seconds in (0, -1):
        ends = stamp(START + timedelta(seconds=seconds))
        answer = await client.post("/v1/keys", json=BODY | {"expires_at": ends})
        assert wrong_fields(answer) == [("body", "/expires_at", "lies in the past")]
    assert (await client.get("/v1/keys")).json()["data"] == []


async def test_the_end_of_a_key_is_kept_in_utc(client: httpx.AsyncClient) -> None:
    key = await created(client, expires_at="2026-11-21T13:30:00.250+03:00")
    assert key["expires_at"] == "2026-11-21T10:30:00.250Z"


async def test_keys_are_listed_newest_first_page_by_page(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    ids = []
    for _ in range(3):
        ids.append((await created(client))["id"])
        fixture.clock.pass_(seconds=1)
    first = (await client.get("/v1/keys", params={"limit": 2})).json()
    assert [one["id"] for one in first["data"]] == [ids[2], ids[1]]
    rest = (await client.get("/v1/keys", params={"cursor": first["next_cursor"], "limit": 1})).json()
    assert ([one["id"] for one in rest["data"]], rest["next_cursor"]) == ([ids[0]], None)


async def test_the_id_of_no_key_is_not_a_cursor(client: httpx.AsyncClient) -> None:
    for cursor in ("x", "job_" + "0" * 32, "key_" + "0" * 31, "key_" + "G" * 32):
        answer = await client.get("/v1/keys", params={"cursor": cursor})
        assert wrong_fields(answer) == [("query", "cursor", "is not a cursor of this list")]


async def test_a_revoked_key_is_refused_at_once_and_is_gone(fixture: StoreFixture) -> None:
    async with client_of(fixture.services.api) as client:
        key = await created(client)
        async with client_of(fixture.services.api, key=key["key"]) as user:
            assert (await user.get("/v1/jobs")).status_code == 200
            answer = await client.delete(f"/v1/keys/{key['id']}")
            assert (answer.status_code, answer.content) == (204, b"")
            problem_of(await user.get("/v1/jobs"), 401, "unauthorized")
        detail = problem_of(await client.delete(f"/v1/keys/{key['id']}"), 404, "not-found")["detail"]
    assert detail == "no such key; GET /v1/keys lists those that are there"


async def test_one_key_too_many_is_a_conflict(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "MOST_KEYS", 1)
    await created(client)
    answer = await client.post("/v1/keys", json=BODY)
    assert problem_of(answer, 409, "conflict")["detail"] == (
        "there are 1 API keys already, the most that one deployment keeps; revoke some"
    )
