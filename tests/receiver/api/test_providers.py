"""Provider accounts over HTTP: listed in their order, page by page."""

import httpx

from receiver.api.responses import ProviderResponse
from receiver.store import accounts
from tests.receiver.api_client import client_of, problem_of, wrong_fields
from tests.receiver.store_fixture import ACCOUNTS, StoreFixture


async def test_accounts_are_listed_in_the_order_of_the_settings(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/v1/providers")).json()
    assert [one["id"] for one in answer["data"]] == list(ACCOUNTS)
    assert answer["next_cursor"] is None
    first = ProviderResponse.model_validate(answer["data"][0])
    assert (first.handler, first.on, first.blocked, first.blocked_reason) == ("apiframe", True, False, None)
    assert first.default_operation in {one.name for one in first.operations}
    assert first.health["submissions"] == 0


async def test_a_list_is_walked_page_by_page(client: httpx.AsyncClient) -> None:
    found: list[str] = []
    query: dict[str, str] = {}
    cursors = []
    while True:
        answer = (await client.get("/v1/providers", params={"limit": "2", **query})).json()
        found += [one["id"] for one in answer["data"]]
        cursors.append(answer["next_cursor"])
        if answer["next_cursor"] is None:
            break
        query = {"cursor": answer["next_cursor"]}
    assert found == list(ACCOUNTS)
    assert cursors == ["apiframe-v2", "minimax", None]


async def test_a_page_that_ends_the_list_has_no_cursor(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/v1/providers", params={"limit": str(len(ACCOUNTS))})).json()
    assert (len(answer["data"]), answer["next_cursor"]) == (len(ACCOUNTS), None)
    answer = (await client.get("/v1/providers", params={"cursor": "replicate"})).json()
    assert answer == {"data": [], "next_cursor": None}


async def test_the_name_of_no_account_is_not_a_cursor(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/providers", params={"cursor": "nobody"})
    assert wrong_fields(answer) == [("query", "cursor", "is not a cursor of this list")]


async def test_a_blocked_account_shows_its_reason(fixture: StoreFixture, client: httpx.AsyncClient) -> None:
    await fixture.store.write(lambda: accounts.block("aiml", "no credit left", fixture.clock.at))
    await fixture.services.core.breaker.load()
    found = {one["id"]: one for one in (await client.get("/v1/providers")).json()["data"]}
    assert (found["aiml"]["blocked"], found["aiml"]["blocked_reason"]) == (True, "no credit left")
    assert found["apiframe"]["blocked"] is False


async def test_the_list_needs_the_scope_to_read_jobs(fixture: StoreFixture) -> None:
    services = fixture.services.api
    _, text = await services.api_keys.create("events", ("events:read",), None)
    async with client_of(services, key=text) as client:
        detail = problem_of(await client.get("/v1/providers"), 403, "forbidden")["detail"]
    assert detail == "this call needs a key with the scope jobs:read"
