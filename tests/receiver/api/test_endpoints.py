"""Endpoints over HTTP: created, shown with masked headers, and changed by JSON merge patch."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from handlers import json
from receiver.api.endpoints import DEFAULTS, MASK, _changed, endpoint_json
from receiver.api.requests import EndpointPatch, EndpointRequest
from receiver.api.responses import AttemptResponse, EndpointWithHealth, NewEndpoint
from receiver.domain.errors import Invalid
from receiver.domain.event_types import JOB_FINAL
from receiver.domain.model import Endpoint, EndpointState
from receiver.domain.rendering import stamp
from tests.receiver.api_client import client_of, problem_of, wrong_fields
from tests.receiver.raw_server import replaying, serving
from tests.receiver.store_fixture import SECRET, START, StoreFixture, store_fixture

BODY: dict[str, Any] = {"url": "https://app.example/hooks"}
UNTRIED = {
    "failing_since": None,
    "last_attempt": None,
    "owed": 0,
    "oldest_owed_at": None,
    "breaker": "closed",
}
MASKED = "is ***, as answers mask values; give the value itself"
OURS = "is set by Ringback or by HTTP itself"
KEPT_IN_FILE = "this endpoint is kept in the configuration file; change it there"
FROM_FILE = '[{"id": "kept", "url": "https://app.example/kept", "events": ["job.*"]}]'


async def created(client: httpx.AsyncClient, **others: Any) -> str:
    """Return the path of a new endpoint."""
    answer = await client.post("/v1/endpoints", json=BODY | others)
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"])


async def stored_headers(fixture: StoreFixture, path: str) -> Mapping[str, str]:
    """Return the headers of an endpoint with their values."""
    return (await fixture.services.api.endpoints.get(path.rsplit("/", 1)[1])).headers


def test_the_json_of_an_endpoint_masks_its_headers_and_has_no_secret() -> None:
    endpoint = Endpoint(
        id="ep_1",
        url="https://app.example/hooks",
        events=("job.*",),
        created_at=START,
        updated_at=START,
        state=EndpointState.DISABLED,
        disabled_reason="the endpoint answered 410 Gone",
        headers={"X-Env": "prod"},
        include=("result",),
        secrets=(SECRET,),
    )
    assert endpoint_json(endpoint) == {
        "object": "endpoint",
        "id": "ep_1",
        "url": "https://app.example/hooks",
        "events": ["job.*"],
        "description": "",
        "headers": {"X-Env": "***"},
        "max_in_flight": 64,
        "include": ["result"],
        "filter": None,
        "signatures": ["v1"],
        "retry_schedule": None,
        "timeout": None,
        "rate_limit": None,
        "format": "standard",
        "template": None,
        "previous_secrets_until": [],
        "state": "disabled",
        "disabled_reason": "the endpoint answered 410 Gone",
        "from_file": False,
        "created_at": "2026-11-21T10:00:00.000Z",
        "updated_at": "2026-11-21T10:00:00.000Z",
    }


def test_a_null_restores_the_default_with_which_an_endpoint_is_created() -> None:
    new = EndpointRequest(**BODY)
    # A question to the receiver is no field of the endpoint.
    nullable = set(EndpointPatch.model_fields) - {"url", "headers", "handshake"}
    assert set(DEFAULTS) == nullable
    found = {name: list(one) if isinstance(one, tuple) else one for name, one in DEFAULTS.items()}
    assert found == {name: getattr(new, name) for name in nullable}


async def test_a_new_endpoint_shows_its_secret_once(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/endpoints", json=BODY | {"headers": {"X-Env": "prod"}})
    made = NewEndpoint.model_validate(answer.json())
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/endpoints/{made.id}"
    assert answer.headers["cache-control"] == "no-store"
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", made.secret)
    assert (made.state, made.events, made.headers) == ("active", list(JOB_FINAL), {"X-Env": MASK})
    shown = (await client.get(answer.headers["location"])).json()
    assert EndpointWithHealth.model_validate(shown).model_dump() == UNTRIED | made.model_dump(
        exclude={"secret"}
    )
    secret = await client.get(f"{answer.headers['location']}/secret")
    assert secret.json() == {"secret": made.secret}
    assert secret.headers["cache-control"] == "no-store"


async def test_a_secret_that_is_given_is_kept(client: httpx.AsyncClient) -> None:
    path = await created(client, secret=SECRET)
    assert (await client.get(f"{path}/secret")).json() == {"secret": SECRET}


REFUSED: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    (
        {"url": "app.example/hooks"},
        [("/url", "begin it with https://, or http:// where that is allowed: https://host[:port]/path")],
    ),
    ({"url": "https://app.example:22/"}, [("/url", "the port must be 80, 443 or 1024 to 65535")]),
    ({"headers": {"x-a": MASK}}, [("/headers/x-a", MASKED)]),
    ({"headers": {"Host": "x", "x-a": "1"}}, [("/headers/Host", OURS)]),
    (
        {"headers": {"webhook-id": "x", "a b": "1"}},
        [("/headers/webhook-id", OURS), ("/headers/a b", "is no valid header name")],
    ),
    ({"headers": {"x-a": "1", "X-A": "2"}}, [("/headers/X-A", "is there twice, in another case")]),
    (
        {"headers": {"x-a": "a\r\nb"}},
        [("/headers/x-a", "the value must be visible ASCII of at most 2000 characters")],
    ),
]


@pytest.mark.parametrize(("wrong", "errors"), REFUSED)
async def test_an_endpoint_that_cannot_be_called_is_refused_and_not_stored(
    client: httpx.AsyncClient, wrong: dict[str, Any], errors: list[tuple[str, str]]
) -> None:
    answer = await client.post("/v1/endpoints", json=BODY | wrong)
    assert wrong_fields(answer) == [("body", *one) for one in errors]
    path = await created(client)
    answer = await client.patch(path, json=wrong)
    assert wrong_fields(answer) == [("body", *one) for one in errors]
    assert len((await client.get("/v1/endpoints")).json()["data"]) == 1


async def test_a_change_names_what_it_changes_and_nothing_else(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    path = await created(client, description="one", max_in_flight=3, include=["result"])
    [before] = (await client.get("/v1/endpoints")).json()["data"]
    fixture.clock.pass_(seconds=1)
    merge = {"content-type": "application/merge-patch+json"}
    answer = await client.patch(path, content=b'{"description": "two"}', headers=merge)
    assert answer.status_code == 200
    assert answer.json() == before | {"description": "two", "updated_at": stamp(fixture.clock.at)}
    assert (await client.get(path)).json() == UNTRIED | answer.json()


async def test_a_null_resets_a_field_to_its_default(client: httpx.AsyncClient) -> None:
    path = await created(
        client,
        events=["*"],
        description="one",
        max_in_flight=3,
        include=["result"],
        headers={"x-a": "1"},
    )
    answer = await client.patch(
        path, json=dict.fromkeys(("events", "description", "max_in_flight", "include", "headers"))
    )
    found = {
        name: answer.json()[name] for name in ("events", "description", "max_in_flight", "include", "headers")
    }
    assert found == {
        "events": list(JOB_FINAL),
        "description": "",
        "max_in_flight": 64,
        "include": [],
        "headers": {},
    }


@pytest.mark.parametrize(
    ("change", "headers"),
    [
        ({}, {"X-Env": "prod", "authorization": "Bearer t"}),
        ({"authorization": None}, {"X-Env": "prod"}),
        ({"AUTHORIZATION": None}, {"X-Env": "prod"}),
        ({"x-new": "1"}, {"X-Env": "prod", "authorization": "Bearer t", "x-new": "1"}),
        ({"X-Env": "test"}, {"X-Env": "test", "authorization": "Bearer t"}),
        ({"x-env": "test"}, {"x-env": "test", "authorization": "Bearer t"}),
        ({"X-Env": MASK, "authorization": MASK}, {"X-Env": "prod", "authorization": "Bearer t"}),
        ({"x-env": MASK, "authorization": "u"}, {"X-Env": "prod", "authorization": "u"}),
        ({"x-unknown": None}, {"X-Env": "prod", "authorization": "Bearer t"}),
    ],
)
async def test_headers_are_merged_by_name_regardless_of_case(
    fixture: StoreFixture, client: httpx.AsyncClient, change: dict[str, Any], headers: dict[str, str]
) -> None:
    path = await created(client, headers={"X-Env": "prod", "authorization": "Bearer t"})
    answer = await client.patch(path, json={"headers": change})
    assert answer.json()["headers"] == dict.fromkeys(headers, MASK)
    assert await stored_headers(fixture, path) == headers


async def test_a_mask_keeps_only_a_value_that_is_there(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    path = await created(client, headers={"x-a": "1"})
    answer = await client.patch(path, json={"headers": {"X-A": MASK, "x-b": MASK}})
    assert wrong_fields(answer) == [("body", "/headers/x-b", MASKED)]
    assert await stored_headers(fixture, path) == {"x-a": "1"}


async def test_what_an_endpoint_shows_can_be_sent_back_as_it_is(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    path = await created(client, headers={"x-a": "1"}, events=["job.failed", "job.*"])
    shown = (await client.get(path)).json()
    same = {name: shown[name] for name in EndpointPatch.model_fields.keys() - {"handshake"}}
    answer = await client.patch(path, json=same)
    assert UNTRIED | answer.json() == shown
    assert await stored_headers(fixture, path) == {"x-a": "1"}


async def test_a_url_cannot_be_reset_and_a_secret_cannot_be_changed(client: httpx.AsyncClient) -> None:
    path = await created(client)
    assert wrong_fields(
        await client.patch(path, json={"url": None, "secret": SECRET, "state": "paused"})
    ) == [
        ("body", "/url", "input should be a valid string"),
        ("body", "/secret", "there is no such field; POST to its /rotate-secret"),
        ("body", "/state", "there is no such field; POST to its /pause or /resume"),
    ]


async def test_an_endpoint_of_the_file_is_neither_changed_nor_deleted_here(tmp_path: Path) -> None:
    async with (
        store_fixture(tmp_path, endpoints=FROM_FILE) as fixture,
        client_of(fixture.services.api) as client,
    ):
        shown = (await client.get("/v1/endpoints/kept")).json()
        assert shown["from_file"] is True
        for answer in (
            await client.patch("/v1/endpoints/kept", json={"description": "x"}),
            await client.delete("/v1/endpoints/kept"),
        ):
            assert problem_of(answer, 409, "conflict")["detail"] == KEPT_IN_FILE
        assert (await client.get("/v1/endpoints/kept")).json() == shown


@pytest.mark.parametrize(
    ("method", "call"),
    [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/secret"), ("POST", "/resume"), ("POST", "/test")],
)
async def test_an_unknown_endpoint_is_not_found(client: httpx.AsyncClient, method: str, call: str) -> None:
    content = b"{}" if method == "PATCH" else None
    answer = await client.request(method, f"/v1/endpoints/ep_x{call}", content=content)
    detail = problem_of(answer, 404, "not-found")["detail"]
    assert detail == "no such endpoint; GET /v1/endpoints lists those that are there"


async def test_a_deleted_endpoint_is_gone(client: httpx.AsyncClient) -> None:
    path = await created(client)
    answer = await client.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    problem_of(await client.get(path), 404, "not-found")
    assert (await client.get("/v1/endpoints")).json()["data"] == []


async def test_a_resumed_endpoint_is_active_without_a_reason(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    await fixture.endpoint("ep_1")
    await fixture.write("update endpoint set state = 'disabled', disabled_reason = 'gone' where id = 'ep_1'")
    assert (await client.get("/v1/endpoints/ep_1")).json()["disabled_reason"] == "gone"
    answer = await client.post("/v1/endpoints/ep_1/resume")
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["disabled_reason"]) == ("active", None)
    assert (await client.get("/v1/endpoints/ep_1")).json() == UNTRIED | answer.json()


async def test_endpoints_are_listed_newest_first_page_by_page(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    paths = []
    for _ in range(3):
        paths.append(await created(client))
        fixture.clock.pass_(seconds=1)
    first = (await client.get("/v1/endpoints", params={"limit": 2})).json()
    assert [f"/v1/endpoints/{one['id']}" for one in first["data"]] == [paths[2], paths[1]]
    rest = (await client.get("/v1/endpoints", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [f"/v1/endpoints/{one['id']}" for one in rest["data"]] == [paths[0]]
    assert rest["next_cursor"] is None


async def test_the_id_of_no_endpoint_is_not_a_cursor(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/endpoints", params={"cursor": "ep_" + "0" * 32})
    assert wrong_fields(answer) == [("query", "cursor", "is not a cursor of this list")]


async def test_a_test_is_sent_at_once_and_its_attempt_is_shown(tmp_path: Path) -> None:
    answers = replaying(b"HTTP/1.1 503 Busy\r\ncontent-length: 16\r\n\r\nBearer secret-tk")
    async with (
        serving(answers) as server,
        store_fixture(tmp_path, egress_allow='["127.0.0.1/32"]') as fixture,
        client_of(fixture.services.api) as client,
    ):
        path = await created(client, url=server.url("/hooks"))
        answer = await client.post(f"{path}/test")
        attempt = AttemptResponse.model_validate(answer.json())
        assert (answer.status_code, attempt.status, attempt.error) == (200, 503, None)
        assert attempt.answer == "Bearer [redacted]"
        delivery = (await client.get(f"/v1/deliveries/{attempt.delivery}")).json()
        assert (delivery["type"], delivery["state"]) == ("endpoint.test", "exhausted")
        assert delivery["attempts"] == [answer.json()]


async def test_reading_and_changing_need_different_scopes(fixture: StoreFixture) -> None:
    services = fixture.services.api
    await fixture.endpoint("ep_1")
    _, reader = await services.api_keys.create("reader", ("endpoints:read",), None)
    async with client_of(services, key=reader) as client:
        assert (await client.get("/v1/endpoints/ep_1")).status_code == 200
        for method, path in (
            ("POST", ""),
            ("PATCH", "/ep_1"),
            ("GET", "/ep_1/secret"),
            ("POST", "/ep_1/test"),
        ):
            answer = await client.request(method, f"/v1/endpoints{path}", content=json.write(BODY))
            detail = problem_of(answer, 403, "forbidden")["detail"]
            assert detail == "this call needs a key with the scope endpoints:write"


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"X-A": "1", "X-a": "2"}, ("/headers/X-a", "is there twice, in another case")),
        ({"X-A": None, "X-a": None}, ("/headers/X-a", "is there twice, in another case")),
        ({"a/b~c": "1"}, ("/headers/a~1b~0c", "is no valid header name")),
        ({"a/b": MASK}, ("/headers/a~1b", MASKED)),
        (
            {f"x-new-{number}": "1" for number in range(50)},
            ("/headers", "must have at most 50 entries, the stored ones included"),
        ),
        ({f"x-{number}": "1" for number in range(51)}, ("/headers", "must have at most 50 entries")),
    ],
    ids=["twice", "removed twice", "no name", "a mask of nothing", "too many in all", "too many"],
)
async def test_headers_that_cannot_be_merged_are_refused_by_their_pointer(
    client: httpx.AsyncClient, given: Mapping[str, str | None], wrong: tuple[str, str]
) -> None:
    path = await created(client, headers={"x-a": "stored"})
    answer = await client.patch(path, json={"headers": given})
    assert wrong_fields(answer) == [("body", *wrong)]
    assert (await client.get(path)).json()["headers"] == {"x-a": MASK}


async def test_a_mask_of_a_header_that_was_removed_meanwhile_is_not_stored(fixture: StoreFixture) -> None:
    endpoint = await fixture.endpoint("ep_1", headers={"x-a": "stored"})
    now = fixture.clock.at
    bare = _changed(endpoint, {"headers": None}, now)
    assert bare.headers == {}
    with pytest.raises(Invalid) as caught:
        _changed(bare, {"headers": {"x-a": MASK}}, now)
    [wrong] = caught.value.errors
    assert (wrong.pointer, wrong.name, wrong.detail) == ("/headers/x-a", "x-a", MASKED)


async def test_a_new_value_beside_the_mask_of_the_same_header_replaces_it(client: httpx.AsyncClient) -> None:
    path = await created(client, headers={"X-Old": "1", "X-Env": "prod"})
    shown = (await client.get(path)).json()["headers"]
    changed = await client.patch(path, json={"headers": shown | {"x-OLD": "2"}})
    assert changed.json()["headers"] == {"X-Env": MASK, "x-OLD": MASK}
