"""What the stories share: a clock that can be moved, further downstreams, and short ways to say things."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handlers import json
from receiver.cli.sandbox import listening
from receiver.domain.clock import Clock
from receiver.sandbox.world import Knobs
from tests.stories.deployment import Deployment, Hook, asking

SILENT = Knobs(takes=3600)
"""Providers that accept jobs and take an hour: what happens to a job is what the story says."""
PROOF = "x-webhook-secret"
LINK = "https://cdn.example/0.mp4"


@dataclass(slots=True)
class Moving:
    """A clock that goes as fast as any, but is ahead: of the wall by `wall`, for intervals by `passed`.

    While it is stopped, time passes only as the story says: nothing becomes due in between, however slow the
    machine is.
    """

    wall: timedelta = timedelta()
    passed: float = 0.0
    _stopped: tuple[datetime, float] | None = None

    @property
    def clock(self) -> Clock:
        """The clock to give to a deployment."""
        return Clock(now=self._now, monotonic=self._monotonic)

    def stop(self) -> None:
        """Stand still."""
        self._stopped = Clock().now(), Clock().monotonic()

    def go(self) -> None:
        """Go on from where it stands."""
        assert self._stopped is not None
        now, monotonic = self._stopped
        self.wall -= Clock().now() - now
        self.passed -= Clock().monotonic() - monotonic
        self._stopped = None

    def wait(self, seconds: float) -> None:
        """Let so many seconds go by."""
        self.wall += timedelta(seconds=seconds)
        self.passed += seconds

    def _now(self) -> datetime:
        return (self._stopped[0] if self._stopped else Clock().now()) + self.wall

    def _monotonic(self) -> float:
        return (self._stopped[1] if self._stopped else Clock().monotonic()) + self.passed


class Gate:
    """A way to the providers that holds their answers back until it is opened."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.open = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def held(message: Message) -> None:
            await self.open.wait()
            await send(message)

        await self.app(scope, receive, held)


def gated(deployment: Deployment) -> Gate:
    """Put a gate before the providers of a deployment."""
    deployment.front.app = gate = Gate(deployment.front.app)
    return gate


@contextlib.asynccontextmanager
async def downstream() -> AsyncIterator[Hook]:
    """One more downstream."""
    hook = Hook()
    async with listening(hook) as hook.url:
        yield hook


async def subscribe(deployment: Deployment, hook: Hook, *events: str, **others: Any) -> dict[str, Any]:
    """Subscribe a downstream other than the first."""
    body = {"url": hook.url, "events": list(events), **others}
    told = await asked(deployment, "POST", "/v1/endpoints", 201, json=body)
    hook.secret = told["secret"]
    return told


async def asked(
    deployment: Deployment, method: str, path: str, status: int = 200, **request: Any
) -> dict[str, Any]:
    """The answer of a call that must have this status."""
    answer = await deployment.client.request(method, path, **request)
    assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
    told: dict[str, Any] = answer.json() if answer.content else {}
    return told


async def listed(deployment: Deployment, path: str, **query: Any) -> list[dict[str, Any]]:
    """The items of a list that fits on one page."""
    told = await asked(deployment, "GET", path, params={"limit": 200, **query})
    items: list[dict[str, Any]] = told["data"]
    return items


async def event_types(deployment: Deployment, job_id: str) -> list[str]:
    """The types of a job's events, oldest first."""
    return [event["type"] for event in await listed(deployment, "/v1/events", job=job_id)]


async def outcomes(deployment: Deployment, job_id: str, kind: str = "callback") -> list[str]:
    """How the timeline files what was said about a job."""
    return [entry["outcome"] for entry in await deployment.timeline(job_id) if entry["kind"] == kind]


async def open_job(
    deployment: Deployment, provider: str = "apiframe", words: str = "a tide, lost", **others: Any
) -> dict[str, Any]:
    """A job that the provider accepted."""
    job = await deployment.submit(asking(provider, words, **others), headers={"prefer": "wait=60"})
    found: dict[str, Any] = await deployment.until(
        lambda: deployment.job(job["id"]), lambda told: told["provider_job_id"] is not None
    )
    return found


async def ended_job(deployment: Deployment, **others: Any) -> dict[str, Any]:
    """A job that ended at once: it was canceled."""
    job = await deployment.submit(asking("aiml", **others))
    return await asked(deployment, "POST", f"/v1/jobs/{job['id']}/cancel")


def says(job: dict[str, Any], status: str, **fields: Any) -> dict[str, Any]:
    """What apiframe posts about a job of its own."""
    return {"task_id": job["provider_job_id"], "status": status, **fields}


def finished(job: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """What apiframe posts about a job that is done."""
    return says(job, "finished", **{"video_url": LINK, **fields})


async def ring(deployment: Deployment, job: dict[str, Any], body: Any, status: int = 200) -> httpx.Response:
    """Ring back about a job of apiframe with the secret that apiframe was given; `body` may be bytes."""
    url, secret = deployment.callback(job)
    content = body if isinstance(body, bytes) else json.write(body)
    answer = await deployment.client.post(url, content=content, headers={PROOF: secret})
    assert answer.status_code == status, answer.text
    return answer


async def delivery_of(deployment: Deployment, **query: Any) -> dict[str, Any]:
    """The only delivery that fits, with its attempts."""
    [found] = await listed(deployment, "/v1/deliveries", **query)
    return await asked(deployment, "GET", f"/v1/deliveries/{found['id']}")


async def settled(deployment: Deployment, **query: Any) -> dict[str, Any]:
    """The only delivery that fits, once nothing more is going to happen to it."""
    found: dict[str, Any] = await deployment.until(
        lambda: delivery_of(deployment, **query), lambda told: told["state"] != "pending"
    )
    return found


async def all_settled(deployment: Deployment, **query: Any) -> list[dict[str, Any]]:
    """Every delivery that fits, once nothing more is going to happen to any of them."""
    found: list[dict[str, Any]] = await deployment.until(
        lambda: listed(deployment, "/v1/deliveries", **query),
        lambda told: all(one["state"] != "pending" for one in told),
    )
    return found


async def attempted(deployment: Deployment, times: int, **query: Any) -> dict[str, Any]:
    """The only delivery that fits, once it was tried so often."""
    found: dict[str, Any] = await deployment.until(
        lambda: delivery_of(deployment, **query), lambda told: len(told["attempts"]) >= times
    )
    return found


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The body of an answer that must be this problem, in the one form that problems have."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (body["type"], body["code"], body["status"]) == (f"/problems/{code}", code, status)
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


def at_least(count: int) -> Callable[[int], bool]:
    """Whether something was counted so often."""
    return lambda seen: seen >= count


async def passed_by(deployment: Deployment, provider: str = "getimg") -> None:
    """A whole job of a third account: whatever else was due had its turn meanwhile.

    Where the clock is stopped it is one of `imagineo`, whose jobs end by a callback, at no time of ours.
    """
    job = await deployment.submit(asking(provider))
    assert (await deployment.final(job["id"]))["state"] == "succeeded"
