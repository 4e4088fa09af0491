"""The callback route: its one response, its refusals, and a body that arrives in parts."""

import json
import logging
import re
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest

from handlers.contract import HttpAnswer
from receiver.api.access_log import AccessLog
from receiver.api.callbacks import answer, serve
from receiver.api.fast_path import RawResponse
from receiver.api.guard import CALLBACK_LIMIT
from receiver.domain.errors import StoreUnavailable
from receiver.domain.model import Job, State
from receiver.providers.callbacks import CallbackReceiver
from tests.receiver.api_client import problem_of
from tests.receiver.store_fixture import StoreFixture

PROOF = "x-webhook-secret"
LOG = AccessLog(())


def path_of(fixture: StoreFixture, job: Job) -> str:
    """Return the path of the callback URL of a job."""
    url = fixture.services.core.accounts.callback_url(job)
    assert url is not None
    return url.removeprefix("https://hooks.example")


def proof_of(fixture: StoreFixture, job: Job) -> dict[str, str]:
    """Return the header that proves a callback about a job."""
    return {PROOF: fixture.services.core.accounts.secret(job)}


def finished(job: Job) -> bytes:
    """Return the body of a callback that tells of success."""
    body = {"task_id": job.provider_job_id, "status": "finished", "video_url": "https://cdn.example/1.mp4"}
    return json.dumps(body).encode()


def scope_of(path: str, *headers: tuple[bytes, bytes], method: str = "POST") -> dict[str, Any]:
    """Return the ASGI scope of a callback."""
    return {"type": "http", "method": method, "path": path, "headers": list(headers), "client": None}


async def test_a_callback_is_received_and_stored(fixture: StoreFixture, client: httpx.AsyncClient) -> None:
    job = await fixture.submitted()
    got = await client.post(path_of(fixture, job), content=finished(job), headers=proof_of(fixture, job))
    assert (got.status_code, got.content) == (200, b'{"received":true}')
    assert got.headers["content-type"] == "application/json"
    assert got.headers["content-length"] == "17"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert re.fullmatch(r"req_[0-9a-f]{24}", got.headers["x-request-id"])
    assert (await fixture.now(job)).state is State.SUCCEEDED


async def test_a_body_that_arrives_in_parts_is_the_same_body(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    job = await fixture.submitted()
    body = finished(job)

    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    got = await client.post(path_of(fixture, job), content=parts(), headers=proof_of(fixture, job))
    assert got.status_code == 200
    assert await fixture.column("select body from evidence where kind = 'callback'") == [body]
    assert (await fixture.now(job)).state is State.SUCCEEDED


async def test_a_slash_at_the_end_and_a_query_change_nothing(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    job = await fixture.submitted()
    path, headers = path_of(fixture, job), proof_of(fixture, job)
    for ending in ("/", "?task_id=1", ""):
        assert (await client.post(path + ending, content=finished(job), headers=headers)).status_code == 200


async def test_blanks_around_the_value_of_a_header_do_not_belong_to_it(fixture: StoreFixture) -> None:
    job = await fixture.submitted()
    secret = proof_of(fixture, job)[PROOF].encode()
    scope = scope_of(path_of(fixture, job), (PROOF.encode(), b" \t" + secret + b"\t "))
    status, fields, body = await answer(fixture.services.api.callbacks, LOG, scope, finished(job))
    assert (status, body) == (200, b'{"received":true}')
    assert [name for name, _ in fields] == [
        b"content-type",
        b"content-length",
        b"x-request-id",
        b"x-content-type-options",
    ]


@pytest.mark.parametrize("wrong", ["token", "account", "proof", "no proof", "no account", "no token"])
async def test_every_unknown_callback_gets_the_same_response(
    fixture: StoreFixture, client: httpx.AsyncClient, wrong: str
) -> None:
    job = await fixture.submitted()
    path, headers = path_of(fixture, job), proof_of(fixture, job)
    path = {
        "token": path + "x",
        "account": path.replace("/apiframe/", "/apiframe-v2/"),
        "no account": "/callbacks/",
        "no token": "/callbacks/apiframe",
    }.get(wrong, path)
    headers = {"proof": {PROOF: "wrong"}, "no proof": {}}.get(wrong, headers)
    got = await client.post(path, content=finished(job), headers=headers)
    body = problem_of(got, 401, "unauthorized")
    assert body["title"] == "This callback is not one of ours"
    assert body["detail"] == (
        "The URL is not one that this service gave out, or the proof that belongs to it is missing or wrong."
    )
    assert set(body) == {"type", "code", "title", "status", "detail", "request_id"}
    assert (await fixture.now(job)).state is State.QUEUED


async def test_only_post_is_taken(client: httpx.AsyncClient) -> None:
    for method in ("GET", "HEAD", "PUT", "OPTIONS"):
        got = await client.request(method, "/callbacks/apiframe/x")
        assert (got.status_code, got.headers["allow"]) == (405, "POST")
    detail = problem_of(got, 405, "method-not-allowed")["detail"]
    assert detail == "The header `Allow` lists the methods that it takes."


async def test_a_large_body_is_refused_by_its_declared_length(client: httpx.AsyncClient) -> None:
    headers = {"content-length": str(CALLBACK_LIMIT + 1)}
    got = await client.post("/callbacks/apiframe/x", content=b"{}", headers=headers)
    assert problem_of(got, 413, "too-large")["detail"] == "the body may have 1048576 bytes"


async def test_a_large_body_is_refused_while_it_arrives(client: httpx.AsyncClient) -> None:
    sent = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            sent.append(1)
            yield b" " * (CALLBACK_LIMIT // 4)

    got = await client.post("/callbacks/apiframe/x", content=endless())
    problem_of(got, 413, "too-large")
    assert len(sent) == 5


async def test_an_encoded_body_is_refused(client: httpx.AsyncClient) -> None:
    headers = {"content-encoding": "gzip"}
    got = await client.post("/callbacks/apiframe/x", content=b"x", headers=headers)
    detail = problem_of(got, 415, "unsupported-media-type")["detail"]
    assert detail == "send the body without Content-Encoding"


async def served(scope: dict[str, Any], *messages: dict[str, Any]) -> RawResponse:
    """Return the response to a request whose messages are given, of a receiver that takes no callback."""
    waiting, sent = list(messages), []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await serve(cast("CallbackReceiver", None), LOG, scope, receive, send)
    start, body = sent
    assert (start["type"], body["type"]) == ("http.response.start", "http.response.body")
    return start["status"], start["headers"], body["body"]


async def test_a_body_that_ends_early_is_malformed() -> None:
    status, fields, body = await served(
        scope_of("/callbacks/apiframe/x"),
        {"type": "http.request", "body": b'{"task', "more_body": True},
        {"type": "http.disconnect"},
    )
    error = json.loads(body)
    assert (status, error["code"], error["detail"]) == (400, "malformed", "the body ended early")
    assert dict(fields)[b"x-request-id"] == error["request_id"].encode()
    assert dict(fields)[b"content-length"] == str(len(body)).encode()


class Broken:
    """A receiver of callbacks that fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def take(self, *_: object) -> HttpAnswer:
        """Raise the error."""
        raise self.error


async def test_a_fault_is_an_internal_error_and_is_logged_under_its_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = cast("CallbackReceiver", Broken(KeyError("rb_secret")))
    status, _, body = await answer(broken, LOG, scope_of("/callbacks/apiframe/x"), b"{}")
    error = json.loads(body)
    assert (status, error["code"]) == (500, "internal")
    assert "rb_secret" not in body.decode()
    [record] = caplog.records
    assert (record.name, record.getMessage()) == ("ringback.callbacks", "a message could not be taken")
    assert record.__dict__["request_id"] == error["request_id"]
    assert record.exc_info is not None


async def test_a_store_that_is_unavailable_asks_the_provider_to_try_again() -> None:
    broken = cast("CallbackReceiver", Broken(StoreUnavailable("the disk is full")))
    status, fields, body = await answer(broken, LOG, scope_of("/callbacks/apiframe/x"), b"{}")
    assert (status, json.loads(body)["detail"]) == (503, "the disk is full")
    assert dict(fields)[b"retry-after"] == b"2"


async def test_only_a_refusal_is_in_the_access_log(
    fixture: StoreFixture, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ringback.api")
    job = await fixture.submitted()
    await client.post(path_of(fixture, job), content=finished(job), headers=proof_of(fixture, job))
    got = await client.post("/callbacks/apiframe/x")
    [record] = [one for one in caplog.records if one.name == "ringback.api"]
    assert record.getMessage() == "POST /callbacks/apiframe/x from 127.0.0.1"
    assert (record.__dict__["status"], record.__dict__["request_id"]) == (401, got.headers["x-request-id"])
