"""Conventions of the API: one form for every error, and the documented limits, for hostile input too."""

import asyncio
import json as plain
import re
from collections.abc import AsyncIterator
from html import escape
from typing import Any

import pytest
import pytest_asyncio

from handlers.pointers import put
from receiver.api.readiness import Readiness
from receiver.api.routes import ROUTES
from receiver.domain.errors import PROBLEMS, StoreUnavailable
from receiver.sandbox.providers import SPEAKERS
from receiver.sandbox.world import Knobs
from receiver.store import probe
from receiver.store.statements import Transaction, query
from tests.stories.deployment import KEY, PATIENCE, Deployment, asking, deployed
from tests.stories.tools import asked, listed, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")
KIB, MIB = 1024, 1024 * 1024
JSON = {"content-type": "application/json"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """Yield one deployment for all tests."""
    async with deployed(tmp_path_factory.mktemp("api"), Knobs(takes=3600)) as made:
        yield made


MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b"  ",
    "no JSON": b"provider=apiframe",
    "half": b'{"provider": "api',
    "two": b"{}{}",
    "a comment": b'{"provider": "aiml" /* x */}',
    "a trailing comma": b'{"provider": "aiml",}',
    "a duplicate key": b'{"provider": "aiml", "provider": "aiml"}',
    "a duplicate key below": b'{"provider": "aiml", "input": {"a": 1, "\\u0061": 2}}',
    "NaN": b'{"provider": "aiml", "input": {"a": NaN}}',
    "infinity": b'{"provider": "aiml", "input": {"a": -Infinity}}',
    "too large a number": b'{"provider": "aiml", "input": {"a": 1e999}}',
    "too long a number": b'{"provider": "aiml", "input": {"a": ' + b"1" * 4301 + b"}}",
    "bad UTF-8": b'{"provider": "\xff"}',
    "an overlong NUL": b'{"provider": "\xc0\x80"}',
    "UTF-16": '{"provider": "aiml"}'.encode("utf-16-le"),
    "a byte order mark": b'\xef\xbb\xbf{"provider": "aiml"}',
    "a lone surrogate": b'{"provider": "aiml", "input": {"a": "\\udc00"}}',
    "a lone surrogate as a key": b'{"provider": "aiml", "input": {"\\ud800": 1}}',
    "a surrogate in bytes": b'{"provider": "\xed\xa0\x80"}',
    "a raw NUL": b'{"provider": "a\x00"}',
    "depth 65": b'{"input": ' + b"[" * 64 + b"]" * 64 + b"}",
    "depth 100000": b"[" * 100_000,
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_body_that_is_no_json_is_malformed(deployment: Deployment, name: str) -> None:
    for method, path in (("POST", "/v1/jobs"), ("POST", "/v1/endpoints"), ("PATCH", "/v1/endpoints/x")):
        answer = await deployment.client.request(method, path, content=MALFORMED[name], headers=JSON)
        told = problem(answer, 400, "malformed")
        assert "errors" not in told


async def test_depth_64_is_deep_enough(deployment: Deployment) -> None:
    deep = b'{"provider": "nobody", "input": {"a": ' + b"[" * 62 + b"]" * 62 + b"}}"
    answer = await deployment.client.post("/v1/jobs", content=deep, headers=JSON)
    assert problem(answer, 422, "validation")["errors"][0]["pointer"] == "/provider"


GOOD = asking("aiml")
WRONG: list[tuple[Any, list[str]]] = [
    ([], [""]),
    ("text", [""]),
    (None, [""]),
    ({}, ["/provider", "/input"]),
    (GOOD | {"provider": 7}, ["/provider"]),
    (GOOD | {"provider": "nobody"}, ["/provider"]),
    (GOOD | {"provider": "a\x00"}, ["/provider"]),
    (GOOD | {"operation": "levitate"}, ["/operation"]),
    (GOOD | {"operation": ["video"]}, ["/operation"]),
    (GOOD | {"input": []}, ["/input"]),
    (GOOD | {"input": "a tide"}, ["/input"]),
    (GOOD | {"input": {}}, ["/input/model", "/input/content"]),
    (GOOD | {"unheard_of": 1, "a/b~c": 2}, ["/unheard_of", "/a~1b~0c"]),
    (GOOD | {"metadata": []}, ["/metadata"]),
    (GOOD | {"metadata": {"order": 42}}, ["/metadata/order"]),
    (GOOD | {"metadata": {"order": None}}, ["/metadata/order"]),
    (GOOD | {"metadata": {"order": "x" * 501}}, ["/metadata/order"]),
    (GOOD | {"metadata": {"order": "\x00"}}, ["/metadata/order"]),
    (GOOD | {"metadata": {"x" * 501: "v"}}, ["/metadata/" + "x" * 501]),
    (GOOD | {"metadata": {str(n): "v" for n in range(17)}}, ["/metadata"]),
    (GOOD | {"metadata": {"a/b~c": 1}}, ["/metadata/a~1b~0c"]),
    (GOOD | {"deadline_seconds": 0}, ["/deadline_seconds"]),
    (GOOD | {"deadline_seconds": 604801}, ["/deadline_seconds"]),
    (GOOD | {"deadline_seconds": "60"}, ["/deadline_seconds"]),
    (GOOD | {"deadline_seconds": 60.5}, ["/deadline_seconds"]),
    (GOOD | {"deadline_seconds": True}, ["/deadline_seconds"]),
    (GOOD | {"deadline_seconds": 10**40}, ["/deadline_seconds"]),
    (asking("apiframe") | {"operation": "imagine", "input": {}}, ["/input/prompt"]),
    (asking("apiframe") | {"input": {"prompt": "x", "index": 1}}, ["/input/index"]),
    (asking("getimg", "x" * 4097), ["/input/prompt"]),
]


async def test_a_body_that_is_wrong_is_told_where(deployment: Deployment) -> None:
    for body, pointers in WRONG:
        answer = await deployment.client.post("/v1/jobs", content=plain.dumps(body), headers=JSON)
        told = problem(answer, 422, "validation")
        assert [one["pointer"] for one in told["errors"]] == pointers, f"{body}: {told['errors']}"
        assert all(one["in"] == "body" and one["detail"] for one in told["errors"])
    assert (await asked(deployment, "GET", "/v1/jobs"))["data"] == []
    assert deployment.front.calls == []


async def test_what_ringback_sets_itself_is_refused_with_a_hint(deployment: Deployment) -> None:
    for name, setup in deployment.services.core.accounts.setups.items():
        for field in setup.handler.reserved:
            body = asking(name)
            put(body["input"], field.split("/"), "https://me.example/")
            told = problem(await deployment.client.post("/v1/jobs", json=body), 422, "validation")
            [error] = told["errors"]
            assert error["pointer"] == f"/input/{field}"
            assert "callback_url" in error["detail"]


async def test_as_much_as_is_allowed_is_taken(deployment: Deployment) -> None:
    metadata = {f"{n:03}" + "k" * 497: "\U0001f30a" * 500 for n in range(16)}
    job = await deployment.submit(asking("aiml", metadata=metadata, deadline_seconds=604800))
    assert job["metadata"] == metadata
    await asked(deployment, "POST", f"/v1/jobs/{job['id']}/cancel")
    await asked(deployment, "DELETE", f"/v1/jobs/{job['id']}", 204)


async def test_only_json_is_read(deployment: Deployment) -> None:
    kinds = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json"]
    for kind in (*kinds, "application/xml", "text/json", ""):
        answer = await deployment.client.post("/v1/jobs", content=b"{}", headers={"content-type": kind})
        problem(answer, 415, "unsupported-media-type")
    for coding in ("gzip", "br", "deflate", "gzip, identity"):
        answer = await deployment.client.post(
            "/v1/jobs", content=b"{}", headers={**JSON, "content-encoding": coding}
        )
        problem(answer, 415, "unsupported-media-type")
    for kind in ("application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"):
        answer = await deployment.client.post("/v1/jobs", content=b"{}", headers={"content-type": kind})
        problem(answer, 422, "validation")
    problem(await deployment.client.post("/v1/jobs", content=b"{}"), 422, "validation")


async def raw(deployment: Deployment, head: str) -> bytes:
    """Return the status line that answers a head without a body."""
    host, port = deployment.url.removeprefix("http://").split(":")
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(host, int(port))
        lines = f"{head}\r\nhost: {host}\r\nauthorization: Bearer {KEY}\r\n\r\n"
        writer.write(lines.encode())
        line = await reader.readline()
        writer.close()
    return line


LIMITS = {"/v1/jobs": 32 * MIB, "/v1/endpoints": 256 * KIB, "/v1/keys": 256 * KIB, "/callbacks/a/b": MIB}


async def test_a_body_that_is_announced_too_large_is_not_waited_for(deployment: Deployment) -> None:
    for path, limit in LIMITS.items():
        for size in (limit + 1, 10**15):
            line = await raw(deployment, f"POST {path} HTTP/1.1\r\ncontent-length: {size}")
            assert b" 413 " in line, f"{path} {size}"


async def test_a_body_may_be_just_as_large_as_the_limit(deployment: Deployment) -> None:
    async def pieces(size: int) -> AsyncIterator[bytes]:
        for start in range(0, size, 64 * KIB):
            yield b" " * min(64 * KIB, size - start)

    for path in ("/v1/endpoints", "/v1/keys"):
        whole = b'{"x": 1}'.ljust(256 * KIB)
        problem(await deployment.client.post(path, content=whole, headers=JSON), 422, "validation")
        problem(await deployment.client.post(path, content=whole + b" ", headers=JSON), 413, "too-large")
        answer = await deployment.client.post(path, content=pieces(256 * KIB + 1), headers=JSON)
        problem(answer, 413, "too-large")
    body = b'{"provider": "nobody", "input": {}}'.ljust(32 * MIB)
    problem(await deployment.client.post("/v1/jobs", content=body, headers=JSON), 422, "validation")


async def test_methods_that_a_path_does_not_take_are_refused(deployment: Deployment) -> None:
    paths: dict[str, set[str]] = {}
    # Browsers ask by OPTIONS before they read what a job token opens.
    preflights = {call.path for call in ROUTES if call.by_token}
    for call in ROUTES:
        paths.setdefault(call.path, set()).add(call.method)
    for path, allowed in paths.items():
        taken = allowed | ({"OPTIONS"} if path in preflights else set())
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - taken:
            answer = await deployment.client.request(method, re.sub(r"\{\w+\}", "x", path))
            problem(answer, 405, "method-not-allowed")
            assert set(answer.headers["allow"].split(", ")) == allowed


async def test_paths_that_are_not_there_are_not_found(deployment: Deployment) -> None:
    wrong = ["/v1", "/v1/", "/v1/jobs/", "/v2/jobs", "/v1/jobs/x/y/z", "/V1/jobs", "/v1//jobs"]
    for path in (*wrong, "/sources/x", "/v1/events/stream/x", "/%00", "/v1/jobs%2Fx"):
        problem(await deployment.client.get(path), 404, "not-found")


async def test_ids_that_are_not_there_are_not_found(deployment: Deployment) -> None:
    for call in ROUTES:
        if "{id}" not in call.path:
            continue
        for name in ("x", "job_" + "0" * 32, "%00", "%ff%fe", "..%2f..", "'; drop table job; --", "a" * 3000):
            body = {"fail": True} if call.path.endswith("resolve") else {}
            answer = await deployment.client.request(
                call.method, call.path.replace("{id}", name), json=body if call.body else None
            )
            problem(answer, 404, "not-found")


QUERIES = [
    "/v1/jobs?limit=0",
    "/v1/jobs?limit=201",
    "/v1/jobs?limit=99999999999999999999999",
    "/v1/jobs?limit=ten",
    "/v1/jobs?limit=1_0",
    "/v1/jobs?limit=1.0",
    "/v1/jobs?limit=%201",
    "/v1/endpoints?cursor=ep_none",
    "/v1/endpoints?cursor=" + "x" * 201,
    "/v1/providers?cursor=nobody",
    "/v1/providers?limit=0",
    "/v1/jobs?limit=1&limit=2",
    "/v1/jobs?cursor=x",
    "/v1/jobs?cursor=job_" + "g" * 32,
    "/v1/jobs?state=sleeping",
    "/v1/jobs?created_after=yesterday",
    "/v1/jobs?created_after=2026-01-01T00:00:00",
    "/v1/jobs?created_after=2026-01-01",
    "/v1/jobs?created_after=2026-01-01T00:00Z",
    "/v1/jobs?created_before=0.5",
    "/v1/jobs?created_before=1e3",
    "/v1/jobs?created_before=2026-13-01T00:00:00Z",
    "/v1/jobs?unheard_of=1",
    "/v1/jobs?metadata=1",
    "/v1/jobs?provider=%ff",
    "/v1/jobs?" + "&".join(f"metadata.{n}=1" for n in range(60)),
    "/v1/jobs/x?wait=61",
    "/v1/jobs/x?wait=-1",
    "/v1/jobs/x?wait=nan",
    "/v1/jobs/x?wait=inf",
    "/v1/jobs/x/timeline?limit=0",
    "/v1/events?limit=-1",
    "/v1/endpoints?limit=1.5",
    "/v1/deliveries?state=lost",
    "/v1/keys?limit=",
    "/v1/providers?x=1",
]


async def test_a_query_that_is_wrong_is_told_where(deployment: Deployment) -> None:
    for path in QUERIES:
        told = problem(await deployment.client.get(path), 422, "validation")
        assert [one["in"] for one in told["errors"]] == ["query"], path
        assert told["errors"][0]["detail"]


ODD_BUT_FINE = [
    "/v1/jobs?created_after=0001-01-01T00:00:00%2B23:59",
    "/v1/jobs?created_before=9999-12-31T23:59:59-23:59",
    "/v1/jobs?created_after=-99999999999",
    "/v1/jobs?metadata.=x",
    "/v1/jobs?metadata.%00=%00",
    "/v1/jobs?metadata.a%27=%27%20or%201=1",
    "/v1/jobs?provider=%F0%9F%8C%8A&provider_job_id=%00",
    "/v1/deliveries?job=%00&endpoint='&event=%25",
    "/v1/events?job=%00",
]


async def test_odd_questions_get_plain_answers(deployment: Deployment) -> None:
    for path in ODD_BUT_FINE:
        answer = await deployment.client.get(path)
        assert answer.status_code in {200, 422}, f"{path} {answer.text}"
        assert answer.status_code == 422 or answer.json()["data"] == []


async def test_odd_inputs_are_passed_on_as_they_are(deployment: Deployment) -> None:
    odd = {"": 1, "big": 10**400, "neg": -(10**30), "tiny": 5e-324, "nul": "\x00", "wave": "\U0001f30a\u2028"}
    body = asking("aiml")
    body["input"] |= {"odd": odd, "nothing": None}
    job = await deployment.submit(body)
    job = await deployment.until(lambda: deployment.job(job["id"]), lambda told: told["provider_job_id"])
    assert job["input"] == body["input"]
    assert deployment.world.jobs[job["provider_job_id"]].input == body["input"]


async def test_every_answer_has_an_id_of_its_own(deployment: Deployment) -> None:
    calls = ["/healthz", "/v1/jobs", "/v1/jobs/x", "/nowhere", "/docs", "/assets/x", "/v1/events?wait=x"]
    answers = [await deployment.client.get(path) for path in calls]
    answers.append(await deployment.client.post("/callbacks/a/b"))
    answers.append(await deployment.client.get("/callbacks/a/b"))
    answers.append(await deployment.client.get("/v1/jobs", headers={"authorization": ""}))
    ids = [one.headers["x-request-id"] for one in answers]
    assert len(set(ids)) == len(answers)
    assert all(re.fullmatch(r"req_[0-9a-f]{24}", one) for one in ids)


async def test_every_problem_has_a_page(deployment: Deployment) -> None:
    codes = {kind.code for kind in PROBLEMS}
    assert len(codes) == 16
    for kind in PROBLEMS:
        answer = await deployment.client.get(f"/problems/{kind.code}", headers={"authorization": ""})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert escape(kind.title) in answer.text
        assert str(kind.http_status) in answer.text
        assert "href='/problems'" in answer.text
    problem(await deployment.client.get("/problems/nonsense"), 404, "not-found")
    listed = await deployment.client.get("/problems", headers={"authorization": ""})
    assert all(f"href='/problems/{code}'" in listed.text for code in codes)
    assert "href='/docs'" in listed.text


async def test_the_front_is_the_dashboard(deployment: Deployment) -> None:
    answer = await deployment.client.get("/", headers={"authorization": ""})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert '<div id="app">' in answer.text


async def test_the_api_describes_itself(deployment: Deployment) -> None:
    description = await asked(deployment, "GET", "/openapi.json")
    page = await deployment.client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    for call in ROUTES:
        told = description["paths"][call.path][call.method.lower()]
        assert str(call.status) in told["responses"]
        assert f"{call.method} {call.path}" in page.text


async def test_readiness_writes_once_a_second_however_often_it_is_asked(deployment: Deployment) -> None:
    def mark() -> Transaction[str]:
        found = yield query("select value from meta where key = 'probe'")
        return str(found[0]["value"])

    seconds = [0.0]
    store = deployment.services.core.store
    deployment.services.api.readiness = Readiness(lambda: store.write(probe.write), lambda: seconds[0])
    seen = []
    for now in (0.0, 0.0, 0.9, 1.0, 1.9, 2.0):
        seconds[0] = now
        await asyncio.gather(*(asked(deployment, "GET", "/readyz") for _ in range(3)))
        seen.append(await store.read(mark()))
    assert seen == ["0", "0", "0", "1", "1", "0"]


async def test_readiness_tells_a_store_that_is_away_and_that_it_is_back() -> None:
    outcomes: list[Exception | None] = [StoreUnavailable("the disk is full"), None]
    seconds = [0.0]

    async def probe() -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    readiness = Readiness(probe, lambda: seconds[0])
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="the disk is full"):
            await readiness.check()
    seconds[0] = 1.0
    await readiness.check()
    assert outcomes == []


async def test_accounts_are_listed_in_pieces(deployment: Deployment) -> None:
    every = [one["id"] for one in await listed(deployment, "/v1/providers")]
    assert len(every) == len(SPEAKERS)
    first = await asked(deployment, "GET", "/v1/providers", params={"limit": 3})
    rest = await asked(deployment, "GET", "/v1/providers", params={"cursor": first["next_cursor"]})
    assert [one["id"] for one in first["data"] + rest["data"]] == every
    assert rest["next_cursor"] is None


async def test_readiness_ends_when_the_service_is_stopping(deployment: Deployment) -> None:
    no_key = {"authorization": ""}
    assert await asked(deployment, "GET", "/healthz", headers=no_key) == {"status": "ok"}
    assert await asked(deployment, "GET", "/readyz", headers=no_key) == {"status": "ok"}
    deployment.services.core.shutdown.begun = True
    try:
        answer = await deployment.client.get("/readyz", headers=no_key)
        problem(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert await asked(deployment, "GET", "/healthz", headers=no_key) == {"status": "ok"}
    finally:
        deployment.services.core.shutdown.begun = False
