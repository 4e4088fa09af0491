"""Tools shared by the stories: a movable clock, further downstreams, and short forms of common steps."""

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
"""Settings of providers that accept jobs and take an hour: a job changes only by the steps of the story."""
PROOF = "x-webhook-secret"
LINK = "https://cdn.example/0.mp4"


@dataclass(slots=True)
class Moving:
    """A clock that runs at normal speed but is ahead: the wall clock by `wall`, intervals by `passed`.

    While it is stopped, time passes only when the story moves it: nothing becomes due in between, however
    slow the machine is.
    """

    wall: timedelta = timedelta()
    passed: float = 0.0
    _stopped: tuple[datetime, float] | None = None

    @property
    def clock(self) -> Clock:
        """Return the clock for a deployment."""
        return Clock(now=self._now, monotonic=self._monotonic)

    def stop(self) -> None:
        """Stop the clock."""
        self._stopped = Clock().now(), Clock().monotonic()

    def go(self) -> None:
        """Continue from the moment at which the clock was stopped."""
        assert self._stopped is not None
        now, monotonic = self._stopped
        self.wall -= Clock().now() - now
        self.passed -= Clock().monotonic() - monotonic
        self._stopped = None

    def wait(self, seconds: float) -> None:
        """Let `seconds` go by."""
        self.wall += timedelta(seconds=seconds)
        self.passed += seconds

    def _now(self) -> datetime:
        return (self._stopped[0] if self._stopped else Clock().now()) + self.wall

    def _monotonic(self) -> float:
        return (self._stopped[1] if self._stopped else Clock().monotonic()) + self.passed


class Gate:
    """A front end server of the providers that holds their answers back until it is opened."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.open = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def held(message: Message) -> None:
            await self.open.wait()
            await send(message)

        await self.app(scope, receive, held)


def gated(deployment: Deployment) -> Gate:
    """Put a gate before the providers of a deployment. Returns it."""
    deployment.front.app = gate = Gate(deployment.front.app)
    return gate


@contextlib.asynccontextmanager
async def downstream() -> AsyncIterator[Hook]:
    """Run one more downstream. Yields it."""
    hook = Hook()
    async with listening(hook) as hook.url:
        yield hook


async def subscribe(deployment: Deployment, hook: Hook, *events: str, **others: Any) -> dict[str, Any]:
    """Subscribe a downstream other than the first. Returns the endpoint."""
    body = {"url": hook.url, "events": list(events), **others}
    told = await asked(deployment, "POST", "/v1/endpoints", 201, json=body)
    hook.secret = told["secret"]
    return told


async def asked(
    deployment: Deployment, method: str, path: str, status: int = 200, **request: Any
) -> dict[str, Any]:
    """Make a call that must have this status. Returns its answer."""
    answer = await deployment.client.request(method, path, **request)
    assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
    told: dict[str, Any] = answer.json() if answer.content else {}
    return told


async def listed(deployment: Deployment, path: str, **query: Any) -> list[dict[str, Any]]:
    """Return the items of a list that fits on one page."""
    told = await asked(deployment, "GET", path, params={"limit": 200, **query})
    items: list[dict[str, Any]] = told["data"]
    return items


async def event_types(deployment: Deployment, job_id: str) -> list[str]:
    """Return the types of a job's events, oldest first."""
    return [event["type"] for event in await listed(deployment, "/v1/events", job=job_id)]


async def outcomes(deployment: Deployment, job_id: str, kind: str = "callback") -> list[str]:
    """Return the outcomes of the entries of a kind in a job's timeline."""
    return [entry["outcome"] for entry in await deployment.timeline(job_id) if entry["kind"] == kind]


async def open_job(
    deployment: Deployment, provider: str = "apiframe", words: str = "a tide, lost", **others: Any
) -> dict[str, Any]:
    """Return a job that the provider accepted."""
    job = await deployment.submit(asking(provider, words, **others), headers={"prefer": "wait=60"})
    found: dict[str, Any] = await deployment.until(
        lambda: deployment.job(job["id"]), lambda told: told["provider_job_id"] is not None
    )
    return found


async def ended_job(deployment: Deployment, **others: Any) -> dict[str, Any]:
    """Return a job that ended at once by a cancellation."""
    job = await deployment.submit(asking("aiml", **others))
    return await asked(deployment, "POST", f"/v1/jobs/{job['id']}/cancel")


def says(job: dict[str, Any], status: str, **fields: Any) -> dict[str, Any]:
    """Return the body of apiframe's callback about one of its jobs."""
    return {"task_id": job["provider_job_id"], "status": status, **fields}


def finished(job: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return the body of apiframe's callback about a finished job."""
    return says(job, "finished", **{"video_url": LINK, **fields})


async def ring(deployment: Deployment, job: dict[str, Any], body: Any, status: int = 200) -> httpx.Response:
    """Post a callback of apiframe with the secret that it was given; `body` may be bytes."""
    url, secret = deployment.callback(job)
    content = body if isinstance(body, bytes) else json.write(body)
    answer = await deployment.client.post(url, content=content, headers={PROOF: secret})
    assert answer.status_code == status, answer.text
    return answer


async def delivery_of(deployment: Deployment, **query: Any) -> dict[str, Any]:
    """Return the only matching delivery, with its attempts."""
    [found] = await listed(deployment, "/v1/deliveries", **query)
    return await asked(deployment, "GET", f"/v1/deliveries/{found['id']}")


async def settled(deployment: Deployment, **query: Any) -> dict[str, Any]:
    """Return the only matching delivery, once it is no longer pending."""
    found: dict[str, Any] = await deployment.until(
        lambda: delivery_of(deployment, **query), lambda told: told["state"] != "pending"
    )
    return found


async def all_settled(deployment: Deployment, **query: Any) -> list[dict[str, Any]]:
    """Return every matching delivery, once none of them is pending."""
    found: list[dict[str, Any]] = await deployment.until(
        lambda: listed(deployment, "/v1/deliveries", **query),
        lambda told: all(one["state"] != "pending" for one in told),
    )
    return found


async def attempted(deployment: Deployment, times: int, **query: Any) -> dict[str, Any]:
    """Return the only matching delivery, once it has `times` attempts."""
    found: dict[str, Any] = await deployment.until(
        lambda: delivery_of(deployment, **query), lambda told: len(told["attempts"]) >= times
    )
    return found


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Assert that an answer is this problem, in the one form that problems have. Returns its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (body["type"], body["code"], body["status"]) == (f"/problems/{code}", code, status)
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


def at_least(count: int) -> Callable[[int], bool]:
    """Return a function that checks whether a number is at least `count`."""
    return lambda seen: seen >= count


async def passed_by(deployment: Deployment, provider: str = "getimg") -> None:
    """Run a whole job of a third account, so that all other due work has its turn meanwhile.

    Where the clock is stopped, use `imagineo`: its jobs end by a callback, which needs no time to pass.
    """
    job = await deployment.submit(asking(provider))
    assert (await deployment.final(job["id"]))["state"] == "succeeded"
