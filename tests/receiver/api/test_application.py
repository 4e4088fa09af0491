"""The table of routes, and the application of a process by its role."""

import inspect
import json
import re
from dataclasses import replace
from typing import Any

import pytest

import receiver.api.routes as module
from receiver.api import HEALTH, http_server, operation_routes
from receiver.api.guard import BODY_LIMIT, JOB_LIMIT
from receiver.api.openapi import name_of
from receiver.api.requests import SCOPES
from receiver.api.routes import ROUTES
from receiver.api.routing import Route
from receiver.work.heartbeat import Role
from tests.receiver.api_client import client_of, problem_of
from tests.receiver.store_fixture import StoreFixture

VERBS = frozenset(
    {"Cancel", "Change", "Create", "Delete", "Erase", "Explain", "List", "Redirect", "Report", "Resolve"}
    | {"Give", "Pause", "Resume", "Retry", "Revoke", "Send", "Show", "Stream", "Submit"}
)
"""The verbs with which a summary may begin."""
WORKER_PATHS = {"/healthz": 200, "/readyz": 200, "/metrics": 200} | {
    "/v1/jobs": 404,
    "/docs": 404,
    "/assets/x": 404,
    "/": 404,
}


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_the_summary_of_a_route_is_a_sentence_in_the_imperative(route: Route) -> None:
    first, _, rest = route.summary.partition(" ")
    assert first in VERBS
    assert re.fullmatch(r".+[a-z0-9`)]\.", rest)
    assert "\n" not in route.summary


def test_a_summary_is_written_in_the_table_and_not_taken_from_a_docstring() -> None:
    source = inspect.getsource(module) + inspect.getsource(operation_routes)
    written = "".join(re.findall(r'"([^"\n]*)"', source))
    assert [one.summary for one in ROUTES if one.summary not in written] == []
    assert "__doc__" not in source


def test_every_method_of_a_path_is_there_once() -> None:
    names = [name_of(route) for route in ROUTES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_a_route_under_v1_needs_a_scope_and_no_other_does(route: Route) -> None:
    inside = route.path.startswith("/v1/") or bool(route.opener)
    assert (route.scope in SCOPES) if inside else (route.scope is None)


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_reading_and_writing_need_different_scopes(route: Route) -> None:
    if route.scope is not None and route.scope.endswith((":read", ":write")):
        reads = route.method == "GET" or route.path.endswith(("/explain", "/token"))
        assert route.scope.endswith(":read") == (reads and not route.path.endswith("/secret"))


def test_only_a_job_may_be_as_large_as_a_file() -> None:
    assert {name_of(one): one.limit for one in ROUTES if one.limit != BODY_LIMIT} == {
        "POST /v1/jobs": JOB_LIMIT
    }


def test_the_lists_are_the_routes_with_a_cursor() -> None:
    assert {one.path for one in ROUTES if one.paged} == {
        one.path for one in ROUTES if "cursor" in one.query.model_fields
    }
    assert [one.path for one in ROUTES if one.with_labels] == ["/v1/jobs"]
    assert [one.path for one in ROUTES if one.feed] == ["/v1/events"]


async def test_a_worker_serves_its_health_and_nothing_else(fixture: StoreFixture) -> None:
    async with client_of(replace(fixture.services.api, role=Role.WORKER)) as client:
        found = {path: (await client.get(path)).status_code for path in WORKER_PATHS}
        assert found == WORKER_PATHS
        assert {path for path, status in found.items() if status == 200} == HEALTH
        answer = await client.post("/callbacks/apiframe/x")
        assert problem_of(answer, 404, "not-found")["detail"].startswith("there is no such path")


@pytest.mark.parametrize("role", [Role.ALL, Role.API])
async def test_any_other_process_serves_everything(fixture: StoreFixture, role: Role) -> None:
    async with client_of(replace(fixture.services.api, role=role)) as client:
        assert (await client.get("/v1/jobs")).json() == {"data": [], "next_cursor": None}
        problem_of(await client.post("/callbacks/apiframe/x"), 401, "unauthorized")


async def test_the_document_is_made_once_and_then_kept(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def counted(routes: object, version: str) -> dict[str, object]:
        made.append(version)
        return {"openapi": version, "routes": routes is ROUTES}

    monkeypatch.setattr("receiver.api.openapi.description", counted)
    async with client_of(fixture.services.api) as client:
        assert made == []
        for _ in range(2):
            document = (await client.get("/openapi.json")).json()
    assert document == {"openapi": made[0], "routes": True}
    assert len(made) == 1


async def test_a_path_with_a_slash_at_its_end_is_another_path(fixture: StoreFixture) -> None:
    async with client_of(fixture.services.api) as client:
        for path in ("/v1/jobs/", "/docs/", "/v1", "/healthz/x"):
            answer = await client.get(path)
            assert problem_of(answer, 404, "not-found")["detail"] == (
                "there is no such path; /docs lists all of them"
            )


@pytest.mark.parametrize(("role", "short"), [(Role.ALL, True), (Role.API, True), (Role.WORKER, False)])
async def test_the_fast_path_is_for_callbacks_where_they_are_taken(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch, role: Role, short: bool
) -> None:
    given = []
    monkeypatch.setattr("receiver.api.new_server", lambda *_, short: given.append(short))
    http_server(replace(fixture.services.api, role=role), "127.0.0.1", 0, 1.0)
    [found] = given
    assert (found is not None) == short
    if found is not None:
        prefix, handler = found
        scope: dict[str, Any] = {
            "method": "POST",
            "path": "/callbacks/apiframe/x",
            "headers": [],
            "client": None,
        }
        status, _, body = await handler(scope, b"{}")
        assert (prefix, status, json.loads(body)["code"]) == (b"/callbacks/", 401, "unauthorized")
