"""A client of server-sent events for the stories: it keeps its place and may lose its connection anywhere."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.stories.deployment import Deployment


@dataclass
class Listener:
    """The events, position and headers that a client has received."""

    last: str = ""
    retry: int | None = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    gaps: list[dict[str, Any]] = field(default_factory=list)
    comments: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def types(self) -> list[str]:
        """Return the type of each event."""
        return [event["type"] for event in self.events]

    async def read(self, answer: httpx.Response) -> None:
        """Read blocks until the response ends, by the rules of the standard for `id`, `data` and `event`."""
        self.status, self.headers = answer.status_code, dict(answer.headers)
        block: dict[str, str] = {}
        async for line in answer.aiter_lines():
            name, _, value = line.partition(":")
            if line and not name:
                self.comments += 1
            elif line:
                block[name] = value.removeprefix(" ")
            else:
                self._take(block)
                block = {}
        self.ended.set()

    def _take(self, block: dict[str, str]) -> None:
        self.last = block.get("id", self.last)
        self.retry = int(block["retry"]) if "retry" in block else self.retry
        if block.get("event") == "gap":
            self.gaps.append(json.loads(block["data"]))
        elif "data" in block:
            self.events.append(json.loads(block["data"]))
            self.ids.append(block["id"])


@contextlib.asynccontextmanager
async def listening_to(
    deployment: Deployment, path: str, listener: Listener | None = None, **request: Any
) -> AsyncIterator[Listener]:
    """Read a stream as long as the context lasts; it continues at the listener's position. Yields it."""
    listener = listener or Listener()
    headers = {**request.pop("headers", {}), **({"last-event-id": listener.last} if listener.last else {})}
    opened = asyncio.Event()

    async def read() -> None:
        with contextlib.suppress(httpx.RemoteProtocolError):
            async with deployment.client.stream("GET", path, headers=headers, **request) as answer:
                opened.set()
                await listener.read(answer)

    task = asyncio.create_task(read())
    waiting = asyncio.create_task(opened.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield listener
    finally:
        waiting.cancel()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def has(deployment: Deployment, done: Callable[[], object]) -> None:
    """Wait until a condition on listeners holds."""

    async def look() -> object:
        return done()

    await deployment.until(look, bool)
