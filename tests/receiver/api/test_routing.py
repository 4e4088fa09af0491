"""Routes: the checks before a handler, in their order, and the one form of every response."""

import logging
import re
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.responses import Response
from starlette.routing import Route as PathRoute
from starlette.routing import Router

from receiver.api.guard import RequestContext, answer
from receiver.api.requests import PageQuery, RequestModel
from receiver.api.responses import Wellness
from receiver.api.routing import Resource, Route, not_found
from receiver.bodies.offload import LIGHT
from receiver.domain.errors import Conflict, Malformed
from tests.receiver.api_client import KEY, problem_of, wrong_fields
from tests.receiver.store_fixture import StoreFixture

LIMIT = 100_000


class Lamp(RequestModel):
    """A body with one field."""

    watts: int


async def echo(context: RequestContext) -> Response:
    """Respond with what the handler is given."""
    query, labels = context.query.model_dump(), list(context.labels)
    return answer(
        {
            "caller": context.caller.id,
            "body": context.body.model_dump() if isinstance(context.body, Lamp) else context.body,
            "query": query,
            "labels": labels,
            "path": dict(context.path),
            "document": context.document(),
        }
    )


async def broken(_context: RequestContext) -> Response:
    """Fail with a text that must not be shown."""
    raise KeyError("rb_secret")


async def conflicting(_context: RequestContext) -> Response:
    """Refuse with a header and a further field."""
    raise Conflict("it is on", headers=(("retry-after", "7"),), extra={"since": "now"})


SHOW = Route(
    method="GET",
    path="/lamps/{id}",
    handle=echo,
    summary="Show a lamp.",
    scope="jobs:read",
    response=Wellness,
    status=200,
)
MAKE = replace(SHOW, method="POST", scope="jobs:write").takes(Lamp, limit=LIMIT)


def client_of(fixture: StoreFixture, *routes: Route, key: str = KEY) -> httpx.AsyncClient:
    """Return a client of one path with these routes."""
    resource = Resource(fixture.services.api, routes, lambda: {"openapi": "3.1.0"})
    app = Router([PathRoute("/lamps/{id}", resource)], redirect_slashes=False, default=not_found)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://service.example", headers=headers
    )


def test_a_route_is_made_with_its_body_query_labels_and_feed() -> None:
    made = SHOW.takes(Lamp, limit=7, also=(200,), headers=("Prefer",)).asks(PageQuery).labelled().fed()
    assert (made.body, made.limit, made.also, made.headers) == (Lamp, 7, (200,), ("Prefer",))
    assert (made.query, made.with_labels, made.feed) == (PageQuery, True, True)
    assert (SHOW.body, SHOW.with_labels, SHOW.feed, SHOW.limit) == (None, False, False, 256 * 1024)


async def test_a_handler_is_given_the_checked_request(fixture: StoreFixture) -> None:
    async with client_of(fixture, MAKE.asks(PageQuery).labelled()) as client:
        query = {"limit": "7", "metadata.a": "1", "metadata.": ""}
        shown = (await client.post("/lamps/7", json={"watts": 5}, params=query)).json()
    assert shown == {
        "caller": "key_bootstrap",
        "body": {"watts": 5},
        "query": {"limit": 7, "cursor": None},
        "labels": [["a", "1"], ["", ""]],
        "path": {"id": "7"},
        "document": {"openapi": "3.1.0"},
    }


async def test_a_route_without_labels_knows_no_metadata_parameter(fixture: StoreFixture) -> None:
    async with client_of(fixture, SHOW) as client:
        found = await client.get("/lamps/7", params={"metadata.a": "1"})
    assert wrong_fields(found) == [("query", "metadata.a", "there is no such parameter")]


async def test_a_public_route_needs_no_key_and_ignores_the_query(fixture: StoreFixture) -> None:
    async with client_of(fixture, replace(SHOW, scope=None), key="") as client:
        found = await client.get("/lamps/7", params=[("x", "1"), ("x", "2"), ("%ff", "")])
    assert (found.status_code, found.json()["caller"], found.json()["query"]) == (200, "", {})


async def test_another_method_is_refused_with_those_that_there_are(fixture: StoreFixture) -> None:
    async with client_of(fixture, MAKE, replace(MAKE, method="PATCH"), key="") as client:
        for method in ("PUT", "DELETE", "OPTIONS", "GET"):
            found = await client.request(method, "/lamps/7")
            assert problem_of(found, 405, "method-not-allowed")["detail"] == "this path takes POST, PATCH"
            assert found.headers["allow"] == "POST, PATCH"


async def test_head_is_served_as_get(fixture: StoreFixture) -> None:
    async with client_of(fixture, SHOW) as client:
        head, get = await client.head("/lamps/7"), await client.get("/lamps/7")
    assert (head.status_code, head.headers["content-length"]) == (200, get.headers["content-length"])
    async with client_of(fixture, SHOW, key="") as client:
        assert (await client.head("/lamps/7")).status_code == 401
    async with client_of(fixture, MAKE) as client:
        head = await client.head("/lamps/7")
    assert (head.status_code, head.headers["allow"]) == (405, "POST")


async def test_the_key_is_checked_before_the_query_and_the_body(fixture: StoreFixture) -> None:
    _, reader = await fixture.services.api.api_keys.create("reader", ("jobs:read",), None)
    wrong: dict[str, Any] = {"content": b"{", "params": {"x": "1"}, "headers": {"content-type": "text/plain"}}
    async with client_of(fixture, MAKE, key="") as client:
        found = await client.post("/lamps/7", **wrong)
        problem_of(found, 401, "unauthorized")
        assert found.headers["www-authenticate"] == "Bearer"
    async with client_of(fixture, MAKE, key=reader) as client:
        found = await client.post("/lamps/7", **wrong)
        detail = problem_of(found, 403, "forbidden")["detail"]
    assert detail == "this call needs a key with the scope jobs:write"


async def test_the_query_is_checked_before_the_body(fixture: StoreFixture) -> None:
    async with client_of(fixture, MAKE) as client:
        found = await client.post("/lamps/7", content=b"{", params={"x": "1"})
        assert wrong_fields(found) == [("query", "x", "there is no such parameter")]
        problem_of(await client.post("/lamps/7", content=b"{"), 400, "malformed")
        found = await client.post("/lamps/7", content=b"{", headers={"content-type": "text/plain"})
        problem_of(found, 415, "unsupported-media-type")
        found = await client.post("/lamps/7", json={"watts": "5"})
        assert wrong_fields(found) == [("body", "/watts", "input should be a valid integer")]


async def test_a_body_may_have_the_limit_of_its_route(fixture: StoreFixture) -> None:
    whole = b'{"watts": 5}'.ljust(LIMIT)
    assert len(whole) > LIGHT  # so large a body is read on a thread
    async with client_of(fixture, MAKE) as client:
        found = await client.post("/lamps/7", content=whole)
        assert (found.status_code, found.json()["body"]) == (200, {"watts": 5})
        found = await client.post("/lamps/7", content=whole + b" ")
        assert problem_of(found, 413, "too-large")["detail"] == "the body may have 100000 bytes"


async def test_a_route_without_a_body_ignores_a_small_one_and_refuses_a_large_one(
    fixture: StoreFixture,
) -> None:
    async with client_of(fixture, replace(SHOW, limit=5)) as client:
        found = await client.request("GET", "/lamps/7", content=b"{\xff", headers={"content-type": "a/b"})
        assert (found.status_code, found.json()["body"]) == (200, None)
        problem_of(await client.request("GET", "/lamps/7", content=b"123456"), 413, "too-large")


async def test_a_route_may_read_its_body_in_its_own_way(fixture: StoreFixture) -> None:
    def reads(raw: bytes, *, content_type: str | None) -> Any:
        if not raw:
            raise Malformed("it is empty")
        return [raw.decode(), content_type]

    async with client_of(fixture, MAKE.takes(Lamp, reads=reads)) as client:
        headers = {"content-type": "text/plain"}
        found = await client.post("/lamps/7", content=b"on", headers=headers)
        assert found.json()["body"] == ["on", "text/plain"]
        assert problem_of(await client.post("/lamps/7"), 400, "malformed")["detail"] == "it is empty"


async def test_a_fault_is_an_internal_error_and_is_logged_under_its_request(
    fixture: StoreFixture, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of(fixture, replace(SHOW, handle=broken, scope=None)) as client:
        found = await client.get("/lamps/7?key=secret")
    error = problem_of(found, 500, "internal")
    assert "rb_secret" not in found.text
    [record] = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.getMessage() == "GET /lamps/7 failed"
    assert record.__dict__["request_id"] == error["request_id"]
    assert record.exc_info is not None


async def test_an_error_of_a_handler_keeps_its_headers_and_fields(fixture: StoreFixture) -> None:
    async with client_of(fixture, replace(SHOW, handle=conflicting)) as client:
        found = await client.get("/lamps/7")
    assert problem_of(found, 409, "conflict")["since"] == "now"
    assert (found.headers["retry-after"], found.json()["detail"]) == ("7", "it is on")


async def test_every_response_has_an_id_under_which_it_is_logged(
    fixture: StoreFixture, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ringback.api")
    async with client_of(fixture, SHOW) as client:
        answers = [
            await client.get("/lamps/7"),
            await client.get("/lamps/7?x=1"),
            await client.put("/lamps/7"),
        ]
    logged = [
        (one.__dict__["request_id"], one.__dict__["status"])
        for one in caplog.records
        if one.name == "ringback.api"
    ]
    assert logged == [(one.headers["x-request-id"], one.status_code) for one in answers]
    assert [status for _, status in logged] == [200, 422, 405]
    assert len({one for one, _ in logged}) == 3
    assert all(re.fullmatch(r"req_[0-9a-f]{24}", one) for one, _ in logged)


async def test_a_path_without_a_route_is_not_found(fixture: StoreFixture) -> None:
    async with client_of(fixture, SHOW, key="") as client:
        for path in ("/lamps", "/lamps/7/", "/lamps/7/x", "/"):
            found = await client.post(path, content=b"{")
            detail = problem_of(found, 404, "not-found")["detail"]
            assert detail == "there is no such path; /docs lists all of them"


async def test_the_parameter_of_a_path_is_unescaped(fixture: StoreFixture) -> None:
    async with client_of(fixture, SHOW) as client:
        for path, name in (("/lamps/a%20b", "a b"), ("/lamps/%2B", "+"), ("/lamps/%C3%A9", "\u00e9")):
            assert (await client.get(path)).json()["path"] == {"id": name}
