"""Calls to the API inside this process: an HTTP client of an application, without a socket."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx

from receiver.api import application
from receiver.api.services import Services

KEY = "rb_" + "k" * 32
"""The admin key of `store_fixture`."""
JSON = {"content-type": "application/json"}


@contextlib.asynccontextmanager
async def client_of(services: Services, key: str = KEY) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the application of these services, with the admin key or another one."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(application(services)),
        base_url="http://service.example",
        headers={"authorization": f"Bearer {key}"} if key else {},
    ) as client:
        yield client


def problem_of(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Return the body of an error response, which must have this status and code and the common form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    body: dict[str, Any] = answer.json()
    assert (body["type"], body["code"], body["status"]) == (f"/problems/{code}", code, status)
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


def wrong_fields(answer: httpx.Response) -> list[tuple[str, str, str]]:
    """Return the place, pointer and detail of each field error of a response, which must be a 422."""
    return [
        (one["in"], one["pointer"], one["detail"]) for one in problem_of(answer, 422, "validation")["errors"]
    ]
