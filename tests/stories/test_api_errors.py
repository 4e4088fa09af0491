"""Errors as a caller reads them: the fault, its place, and the fix."""

from typing import Any

import pytest

from receiver.domain.event_types import SHOWN
from tests.stories.deployment import Deployment, asking
from tests.stories.tools import problem

HOOK = {"url": "https://app.example/hooks"}
# Requests with one wrong field each, its pointer, and a part of the message about it.
NEAR: list[tuple[str, str, dict[str, Any], str, str]] = [
    ("POST", "/v1/jobs", asking("apiframe") | {"metdata": {}}, "/metdata", "did you mean `metadata`?"),
    (
        "POST",
        "/v1/jobs",
        asking("apiframe") | {"operation": "runway-imagin"},
        "/operation",
        "did you mean `runway-imagine`?",
    ),
    (
        "POST",
        "/v1/jobs",
        asking("apiframe") | {"provider": "apifram"},
        "/provider",
        "(did you mean `apiframe`?); accounts that are on: ",
    ),
    (
        "POST",
        "/v1/endpoints",
        HOOK | {"events": ["job.suceeded"]},
        "/events/0",
        f"(did you mean `job.succeeded`?); types: {', '.join(SHOWN)}",
    ),
    ("POST", "/v1/endpoints", HOOK | {"event": ["job.*"]}, "/event", "did you mean `events`?"),
    ("POST", "/v1/keys", {"name": "a", "scopes": ["admin"], "expires": None}, "/expires", "`expires_at`?"),
    ("GET", "/v1/jobs?provder=apiframe", {}, "provder", "did you mean `provider`?"),
    ("GET", "/v1/events?type=job.sucseeded", {}, "type", "(did you mean `job.succeeded`?); types: "),
]


@pytest.mark.parametrize(("method", "path", "body", "pointer", "says"), NEAR)
async def test_a_slip_of_the_pen_is_told_the_nearest_word(
    deployment: Deployment, method: str, path: str, body: dict[str, Any], pointer: str, says: str
) -> None:
    answer = await deployment.client.request(method, path, json=body if method == "POST" else None)
    told = problem(answer, 422, "validation")
    [error] = told["errors"]
    assert error["pointer"] == pointer
    assert says in error["detail"]
    assert told["detail"] == f"{pointer}: {error['detail']}"


async def test_a_word_that_is_near_nothing_gets_no_suggestion(deployment: Deployment) -> None:
    for field in ("zzzzzzzz", "x" * 10_000):
        answer = await deployment.client.post("/v1/jobs", json=asking("apiframe") | {field: 1})
        [error] = problem(answer, 422, "validation")["errors"]
        assert error["detail"] == "there is no such field"


async def test_no_key_is_told_how_to_send_one(deployment: Deployment) -> None:
    for header in ("", "Bearer rb_nonsense", "Basic eA=="):
        answer = await deployment.client.get("/v1/jobs", headers={"authorization": header})
        assert "`Authorization: Bearer rb_...`" in problem(answer, 401, "unauthorized")["detail"]


async def test_a_method_that_is_not_taken_is_told_those_that_are(deployment: Deployment) -> None:
    answer = await deployment.client.put("/v1/jobs", json={})
    assert problem(answer, 405, "method-not-allowed")["detail"] == "this path takes POST, GET"
    assert answer.headers["allow"] == "POST, GET"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{\n  "provider": "apiframe"\n  "input": {}\n}', "at line 3, column 3"),
        (b'{"provider": }', "at line 1, column 14"),
        (b'{"a": 1', "at line 1, column 8"),
        (b"", "at line 1, column 1"),
    ],
)
async def test_bad_json_is_told_its_place(deployment: Deployment, body: bytes, says: str) -> None:
    answer = await deployment.client.post(
        "/v1/jobs", content=body, headers={"content-type": "application/json"}
    )
    detail = problem(answer, 400, "malformed")["detail"]
    assert detail.startswith("the body is not valid JSON: ")
    assert detail.endswith(says)


async def test_many_wrong_fields_are_counted_in_the_sentence_and_all_listed(deployment: Deployment) -> None:
    wrong = {f"zz{number}": 1 for number in range(8)}
    answer = await deployment.client.post("/v1/jobs", json=asking("apiframe") | wrong)
    told = problem(answer, 422, "validation")
    assert len(told["errors"]) == 8
    assert told["detail"].endswith("; and 3 more")


async def test_a_path_that_is_not_there_leads_to_those_that_are(deployment: Deployment) -> None:
    answer = await deployment.client.get("/v1/job")
    assert problem(answer, 404, "not-found")["detail"] == "there is no such path; /docs lists all of them"


async def test_a_fault_of_ours_is_told_as_one_and_logged_under_its_request(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = await deployment.submit(asking("apiframe"))

    async def broken(*_: Any) -> None:
        raise KeyError("state")

    monkeypatch.setattr(type(deployment.services.api.jobs), "get", broken)
    told = problem(await deployment.client.get(f"/v1/jobs/{job['id']}"), 500, "internal")
    [record] = [one for one in caplog.records if one.exc_info]
    assert record.request_id == told["request_id"]  # type: ignore[attr-defined]  # an extra field
