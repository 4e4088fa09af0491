"""A whole deployment in one process: service, simulated providers and a downstream, on real sockets."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from standardwebhooks import Webhook
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

import handlers
from receiver.api import application
from receiver.app import App, running
from receiver.cli.sandbox import Later, listening, world
from receiver.config.load import load
from receiver.domain.clock import Clock
from receiver.sandbox.app import application as sandbox_app
from receiver.sandbox.providers import SPEAKERS, account_settings, speaker_in
from receiver.sandbox.world import Knobs, World
from receiver.work.heartbeat import Role
from tests.engines import ENGINES

MASTER = "master-key-of-the-stories-0123456789"
KEY = "rb_story_story_story_story_story_story"
PROMPT = "a tide"
"""The prompt in the examples of all descriptions."""
OPERATIONS = {"apiframe": "runway-imagine"}
"""The operations of stories where they are not the default: one file, and callbacks with a word."""
PATIENCE = 100.0
"""Seconds after which a wait of a story has failed; a bound, never an expectation."""


def asking(provider: str, words: str = "a tide", **others: Any) -> dict[str, Any]:
    """Return a job request with `words` as its prompt, in the example of the provider's description."""
    listed = handlers.ALL[provider]
    handler = listed.configure(listed.options())
    made = _prompted(dict(handler.example), words)
    operation = OPERATIONS.get(provider, handler.default_operation)
    return {"provider": provider, "operation": operation, "input": made, **others}


def _prompted(value: Any, words: str) -> Any:
    if isinstance(value, dict):
        return {name: _prompted(inner, words) for name, inner in value.items()}
    if isinstance(value, list):
        return [_prompted(inner, words) for inner in value]
    return words if value == PROMPT else value


@dataclass(slots=True)
class Hook:
    """A downstream: its answers, and every delivery that it received."""

    url: str = ""
    secret: str = ""
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    deliveries: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    hold: asyncio.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.deliveries.append((dict(request.headers), await request.body()))
        if self.hold is not None:
            await self.hold.wait()
        status, headers = self.answers.pop(0) if self.answers else (self.status, self.headers)
        await Response(b"thanks" if status != 204 else b"", status, headers)(scope, receive, send)

    def events(self) -> list[dict[str, Any]]:
        """Return the event of every delivery, verified by the library that receivers use."""
        return [Webhook(self.secret).verify(body, headers) for headers, body in self.deliveries]

    def about(self, job_id: str, *types: str) -> list[dict[str, Any]]:
        """Return the verified events about a job, of these types if any are given."""
        found = [event for event in self.events() if event["data"]["id"] == job_id]
        return [event for event in found if not types or event["type"] in types]


@dataclass(slots=True, repr=False)
class Front:
    """The front end server of the providers: the calls that came, and the most at once.

    While `away` is set, it answers every call with that status.
    """

    app: ASGIApp
    calls: list[str] = field(default_factory=list)
    away: int | None = None
    under_way: int = 0
    most: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.append(f"{scope['method']} {scope['path']}")
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        app = self.app if self.away is None else Response(status_code=self.away)
        try:
            await app(scope, receive, send)
        finally:
            self.under_way -= 1

    def count(self, call: str) -> int:
        """Return the number of calls that began with `call`."""
        return len([one for one in self.calls if one.startswith(call)])


@dataclass(slots=True, repr=False)
class Deployment:
    """The parts of a deployment that a story uses."""

    client: httpx.AsyncClient
    services: App
    world: World
    front: Front
    hook: Hook
    url: str
    folder: Path

    async def submit(self, body: dict[str, Any], status: int = 202, **request: Any) -> dict[str, Any]:
        """Submit a job. Returns the job."""
        answer = await self.client.post("/v1/jobs", json=body, **request)
        assert answer.status_code == status, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def final(self, job_id: str) -> dict[str, Any]:
        """Return the job once it is final."""
        found: dict[str, Any] = await self.until(
            lambda: self.job(job_id, wait=5), lambda job: job["completed_at"] is not None
        )
        return found

    async def job(self, job_id: str, **query: Any) -> dict[str, Any]:
        """Return the job as it is."""
        told: dict[str, Any] = (await self.client.get(f"/v1/jobs/{job_id}", params=query)).json()
        return told

    async def in_state(self, job_id: str, state: str) -> dict[str, Any]:
        """Return the job once it is in a state."""
        found: dict[str, Any] = await self.until(lambda: self.job(job_id), lambda job: job["state"] == state)
        return found

    async def timeline(self, job_id: str) -> list[dict[str, Any]]:
        """Return all entries of a job's timeline."""
        answer = await self.client.get(f"/v1/jobs/{job_id}/timeline", params={"limit": 200})
        told: list[dict[str, Any]] = answer.json()["data"]
        return told

    async def delivered(self, job_id: str, *types: str) -> list[dict[str, Any]]:
        """Return the events about a job, of these types, once the downstream has one."""

        async def look() -> list[dict[str, Any]]:
            return self.hook.about(job_id, *types)

        found: list[dict[str, Any]] = await self.until(look, bool)
        return found

    async def until(self, look: Callable[[], Any], done: Callable[[Any], bool]) -> Any:
        """Return the result of `look` once it is `done`. Looks less and less often, until `PATIENCE` ends."""
        ends, pause = time.monotonic() + PATIENCE, 0.01
        while True:
            seen = await look()
            if done(seen):
                return seen
            assert time.monotonic() < ends, f"still waiting, last seen: {seen}"
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, 0.1)

    async def subscribe(self, *events: str, **others: Any) -> dict[str, Any]:
        """Subscribe the downstream. Returns the endpoint."""
        body = {"url": self.hook.url, "events": list(events) or ["job.*"], **others}
        answer = await self.client.post("/v1/endpoints", json=body)
        assert answer.status_code == 201, answer.text
        told: dict[str, Any] = answer.json()
        self.hook.secret = told["secret"]
        return told

    def callback(self, job: dict[str, Any]) -> tuple[str, str]:
        """Return the URL for a provider's callback about a job, and the secret that the provider has."""
        token = self.services.core.master_keys.callback_token(job["provider"], job["id"])
        secret = self.services.core.master_keys.callback_secret(job["provider"], job["id"])
        return f"{self.url}/callbacks/{job['provider']}/{token}", secret


def environment(
    folder: Path,
    url: str,
    providers: str,
    accounts_with: dict[str, Any],
    own: dict[str, Any] | None = None,
    **settings: str,
) -> dict[str, str]:
    """Return the settings of a deployment. Every account gets `accounts_with` on top.

    `own` are further accounts by name; their providers are simulated, too.
    """
    accounts = {
        name: {"api_key": f"key-{name}", "base_url": f"{providers}/{name}"}
        | {"poll_interval": 0.1, "backstop_after": 600}
        | account_settings(name, f"{providers}/{name}")
        | accounts_with
        for name in SPEAKERS
    }
    for name, account in (own or {}).items():
        usual = {"api_key": f"key-{name}", "base_url": f"{providers}/{name}", "poll_interval": 0.1}
        accounts[name] = usual | account
    return {
        "RINGBACK_DATABASE_URL": ENGINES.url(folder / "story.db"),
        **({} if ENGINES.sqlite else {"RINGBACK_SECRET_KEYS": json.dumps([MASTER])}),
        "RINGBACK_PUBLIC_URL": url,
        "RINGBACK_ADMIN_KEY": KEY,
        "RINGBACK_EGRESS_ALLOW": '["127.0.0.0/8"]',
        "RINGBACK_PROVIDERS": json.dumps(accounts),
        "RINGBACK_SHUTDOWN_GRACE": "1",
        "RINGBACK_RETRY_SCHEDULE": "[0.05, 0.05]",
        **{f"RINGBACK_{name.upper()}": value for name, value in settings.items()},
    }


@contextlib.asynccontextmanager
async def all_listening(*apps: ASGIApp) -> AsyncIterator[list[str]]:
    """Serve every application on a port of its own. Yields the URLs.

    They stop together, in the time that one takes.
    """
    servers = [listening(app) for app in apps]
    urls = [await server.__aenter__() for server in servers]
    try:
        yield urls
    finally:
        await asyncio.gather(*(server.__aexit__(None, None, None) for server in servers))


@contextlib.asynccontextmanager
async def deployed(
    folder: Path,
    knobs: Knobs | None = None,
    accounts_with: dict[str, Any] | None = None,
    clock: Clock | None = None,
    role: Role = Role.ALL,
    own: dict[str, Any] | None = None,
    **settings: str,
) -> AsyncIterator[Deployment]:
    """Run a deployment on a database in `folder`, with `own` accounts at described providers. Yields it."""
    speakers = {name: speaker_in(Path(account["description"])) for name, account in (own or {}).items()}
    hook, later = Hook(), Later()
    config = folder / "ringback.toml"
    config.touch()
    async with (
        world(knobs or Knobs(takes=0.2)) as made,
        all_listening(front := Front(sandbox_app(made, speakers)), hook, later) as (providers, hook.url, url),
        running(
            load(config, environment(folder, url, providers, accounts_with or {}, own, **settings)),
            clock=clock,
            role=role,
        ) as services,
    ):
        later.app = application(services.api)
        headers = {"authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE) as client:
            yield Deployment(client, services, made, front, hook, url, folder)
