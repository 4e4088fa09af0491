"""Permissions: every call with every scope, and keys that are made, end and are revoked."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from receiver.api.requests import SCOPES
from receiver.api.routes import ROUTES
from tests.stories.deployment import KEY, PATIENCE, Deployment, asking, deployed
from tests.stories.tools import SILENT, Moving, asked, listed, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """Yield one deployment for all keys."""
    async with deployed(tmp_path_factory.mktemp("keys"), SILENT) as made:
        yield made


async def make(deployment: Deployment, *scopes: str, **others: Any) -> dict[str, Any]:
    """Make an API key. Returns it."""
    body = {"name": " ".join(scopes), "scopes": list(scopes), **others}
    return await asked(deployment, "POST", "/v1/keys", 201, json=body)


def bearer(key: str) -> dict[str, str]:
    """Return the header that carries a key."""
    return {"authorization": f"Bearer {key}"}


async def test_every_call_needs_its_scope_and_no_other(deployment: Deployment) -> None:
    keys = {scope: (await make(deployment, scope))["key"] for scope in SCOPES}
    for call in ROUTES:
        path = re.sub(r"\{\w+\}", "x", call.path)
        statuses = {}
        for scope, key in keys.items():
            async with deployment.client.stream(call.method, path, headers=bearer(key)) as answer:
                statuses[scope] = answer.status_code
                # A stream has no end.
                if answer.is_error:
                    await answer.aread()
            if answer.status_code == 403:
                assert call.scope is not None
                assert call.scope in problem(answer, 403, "forbidden")["detail"]
        allowed = set(SCOPES) if call.scope is None else {call.scope, "admin"}
        assert {scope for scope, status in statuses.items() if status not in {401, 403}} == allowed, path
    for key in await listed(deployment, "/v1/keys"):
        await asked(deployment, "DELETE", f"/v1/keys/{key['id']}", 204)


async def test_a_call_without_a_valid_key_is_unauthorized(deployment: Deployment) -> None:
    made = await make(deployment, "admin")
    key = made["key"]
    shown: list[list[tuple[bytes, bytes]]] = [
        [],
        *(
            [(b"authorization", value)]
            for value in (
                b"",
                b"Bearer",
                b"Bearer x",
                key.encode(),
                f"Basic {key}".encode(),
                f"Bearer {key}x".encode(),
                f"Bearer {key[:-1]}".encode(),
                f"Bearer {key.swapcase()}".encode(),
                f"Bearer {made['id']}".encode(),
                f"Bearer {KEY} {KEY}".encode(),
                f"Bearer {KEY},{KEY}".encode(),
                b"Bearer \xe9\xff",
                b"Bearer " + b"a" * 10_000,
            )
        ),
        [(b"authorization", f"Bearer {KEY}".encode())] * 2,
        [(b"x-api-key", KEY.encode())],
    ]
    async with httpx.AsyncClient(base_url=deployment.url, timeout=PATIENCE) as client:
        for headers in shown:
            for path in ("/v1/jobs", f"/v1/keys?key={KEY}"):
                answer = await client.get(path, headers=headers)
                problem(answer, 401, "unauthorized")
                assert answer.headers["www-authenticate"] == "Bearer"
        answer = await client.get("/v1/jobs", headers={"authorization": f"bearer {key}"})
        assert answer.status_code == 200
    await asked(deployment, "DELETE", f"/v1/keys/{made['id']}", 204)


async def test_no_key_is_needed_for_what_is_public(deployment: Deployment) -> None:
    public = [call for call in ROUTES if call.scope is None]
    assert {call.path for call in public} == {
        "/.well-known/ringback-keys.json",
        "/assets/{token}",
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/",
        "/session",
        "/docs",
        "/docs/events",
        "/problems",
        "/problems/{code}",
    }
    async with httpx.AsyncClient(base_url=deployment.url, timeout=PATIENCE) as client:
        for call in public:
            path = call.path.replace("{token}", "x").replace("{code}", "gone")
            assert (await client.request(call.method, path)).status_code in {200, 204, 307, 400, 404}


async def test_who_may_not_is_told_before_what_is_wrong(deployment: Deployment) -> None:
    made = await make(deployment, "jobs:read")
    for headers, status, code in (
        (bearer("x"), 401, "unauthorized"),
        (bearer(made["key"]), 403, "forbidden"),
    ):
        answer = await deployment.client.post("/v1/jobs?x=1", content=b"\xff", headers=headers)
        problem(answer, status, code)
    await asked(deployment, "DELETE", f"/v1/keys/{made['id']}", 204)


async def test_a_key_is_shown_once_and_ends_when_revoked(deployment: Deployment) -> None:
    made = await make(deployment, "jobs:read", "jobs:read", "events:read")
    assert (made["object"], made["scopes"], made["expires_at"]) == (
        "key",
        ["jobs:read", "events:read"],
        None,
    )
    assert re.fullmatch(r"rb_[A-Za-z0-9_-]{32,}", made["key"])
    path = f"/v1/keys/{made['id']}"
    [told] = [one for one in await listed(deployment, "/v1/keys") if one["id"] == made["id"]]
    assert told == {name: value for name, value in made.items() if name != "key"}
    key = bearer(made["key"])
    assert (await deployment.client.get("/v1/jobs", headers=key)).status_code == 200
    await asked(deployment, "DELETE", path, 204)
    problem(await deployment.client.get("/v1/jobs", headers=key), 401, "unauthorized")
    problem(await deployment.client.delete(path), 404, "not-found")
    assert (await deployment.client.get("/v1/jobs")).status_code == 200


@pytest.mark.parametrize("path", ["/v1/events", "/v1/jobs/{id}"])
async def test_a_call_that_waits_ends_with_its_key(deployment: Deployment, path: str) -> None:
    job = await deployment.submit(asking("aiml"))
    made = await make(deployment, "jobs:read", "events:read")
    calls = deployment.services.api.waiting_calls
    query = {"wait": "60"} | ({"after": datetime.now(UTC).isoformat()} if "events" in path else {})
    waiting = asyncio.create_task(
        deployment.client.get(path.format(**job), params=query, headers=bearer(made["key"]))
    )

    async def waits() -> bool:
        return calls._by_owner[made["id"]] > 0

    await deployment.until(waits, bool)
    await asked(deployment, "DELETE", f"/v1/keys/{made['id']}", 204)
    await asked(deployment, "POST", f"/v1/jobs/{job['id']}/cancel")
    problem(await waiting, 401, "unauthorized")


async def test_a_key_ends_by_itself(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, SILENT, clock=moving.clock) as deployment:
        ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        key = bearer((await make(deployment, "jobs:read", expires_at=ends))["key"])
        moving.wall += timedelta(minutes=59)
        assert (await deployment.client.get("/v1/jobs", headers=key)).status_code == 200
        moving.wall += timedelta(minutes=2)
        problem(await deployment.client.get("/v1/jobs", headers=key), 401, "unauthorized")


async def test_a_key_outlives_a_restart(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT) as deployment:
        key = bearer((await make(deployment, "jobs:read"))["key"])
    async with deployed(tmp_path, SILENT) as deployment:
        assert (await deployment.client.get("/v1/jobs", headers=key)).status_code == 200


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "/name"),
    ({"name": "x" * 101}, "/name"),
    ({"name": 7}, "/name"),
    ({"scopes": []}, "/scopes"),
    ({"scopes": ["jobs"]}, "/scopes/0"),
    ({"scopes": "admin"}, "/scopes"),
    ({"scopes": ["admin", "root"]}, "/scopes/1"),
    ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
    ({"expires_at": "2126-01-01T00:00:00"}, "/expires_at"),
    ({"expires_at": "soon"}, "/expires_at"),
    ({"key": "rb_" + "x" * 40}, "/key"),
]


async def test_a_key_that_cannot_be_is_refused(deployment: Deployment) -> None:
    before = await listed(deployment, "/v1/keys")
    for wrong, pointer in WRONG:
        body = {"name": "x", "scopes": ["admin"], **wrong}
        told = problem(await deployment.client.post("/v1/keys", json=body), 422, "validation")
        assert [one["pointer"] for one in told["errors"]] == [pointer]
    assert await listed(deployment, "/v1/keys") == before


async def test_keys_are_listed_newest_first(deployment: Deployment) -> None:
    made = [(await make(deployment, "jobs:read"))["id"] for _ in range(3)]
    first = await asked(deployment, "GET", "/v1/keys", params={"limit": 2})
    rest = await asked(deployment, "GET", "/v1/keys", params={"limit": 2, "cursor": first["next_cursor"]})
    assert [one["id"] for one in (first["data"] + rest["data"])][:3] == made[::-1]
    for name in made:
        await asked(deployment, "DELETE", f"/v1/keys/{name}", 204)
