"""The state that the simulated providers share: accepted jobs, knobs, and callbacks under way."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from handlers.values import immutable
from receiver.domain.bounded import keep
from receiver.egress.client import CallFailed, HttpCall, HttpClient

KEPT = 20_000
"""The most jobs, idempotency keys and prompts that are kept, and the most jobs with callbacks under way."""
QUIRKS = ("late", "lost", "doubled", "reordered", "forged", "lost-answer", "throttled", "slow")
"""The faults. A word in a prompt applies one to that job, a knob to a share of all jobs."""
OUTCOMES = ("fail", "refused", "blocked", "empty")
"""The outcomes that a word in a prompt chooses for its job."""
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")


@immutable(kw_only=True)
class Knobs:
    """The behaviour of the providers: shares of jobs with each quirk, from 0 to 1, and times in seconds.

    `takes` is the time of a generation, `delay` the delay of a late callback, `latency` the delay of a slow
    answer, and `every_answer` the delay of every answer.
    """

    late: float = 0.0
    lost: float = 0.0
    doubled: float = 0.0
    reordered: float = 0.0
    forged: float = 0.0
    lost_answer: float = 0.0
    throttled: float = 0.0
    slow: float = 0.0
    takes: float = 1.0
    delay: float = 3.0
    latency: float = 2.0
    every_answer: float = 0.0

    def share(self, quirk: str) -> float:
        """Return the share of jobs with a quirk."""
        found: float = getattr(self, quirk.replace("-", "_"))
        return found


@dataclass(slots=True, kw_only=True)
class Made:
    """A job that a provider accepted; `words` are its quirks and its outcome.

    `at` is the moment of its signatures; by default the present one.
    """

    id: str
    provider: str
    operation: str
    input: Mapping[str, Any]
    words: frozenset[str]
    key: str = field(repr=False)
    started: float
    takes: float
    origin: str
    callback_url: str | None = None
    secret: str | None = field(default=None, repr=False)
    at: datetime | None = None

    def progress(self, now: float) -> int:
        """Return the progress, from 0 to 100."""
        return max(0, min(100, int(100 * (now - self.started) / self.takes))) if self.takes else 100

    def phase(self, now: float) -> str:
        """Return the phase: `queued`, `running`, `succeeded`, `failed` or `canceled`."""
        if "canceled" in self.words:
            return "canceled"
        progress = self.progress(now)
        if progress >= 100:
            return "failed" if "fail" in self.words else "succeeded"
        return "queued" if progress < 20 else "running"

    def file(self, name: str) -> str:
        """Return the URL of one of the job's files."""
        return f"{self.origin}/files/{self.id}/{name}"


@immutable
class Message:
    """A callback to send: its body, and the headers that prove it."""

    body: bytes
    headers: tuple[tuple[str, str], ...]


Says = Callable[[Made, str, int, bool], Message | None]
"""A function that makes a callback from a job, its phase, its progress, and whether to forge the proof.

It returns None where the provider sends no such callback."""


@dataclass(slots=True, kw_only=True)
class World:
    """All simulated providers of one process."""

    client: HttpClient
    knobs: Knobs
    chance: random.Random = field(default_factory=random.Random)
    jobs: dict[str, Made] = field(default_factory=dict)
    accepted: Counter[str] = field(default_factory=Counter)
    answered: dict[str, str] = field(default_factory=dict)
    throttled: dict[bytes, None] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def now(self) -> float:
        """Return the time of the event loop in seconds, for the progress of jobs."""
        return asyncio.get_running_loop().time()

    def words(self, prompt: str) -> frozenset[str]:
        """Return a job's quirks and outcomes: those named in its prompt, and quirks drawn by the knobs."""
        said = set(_WORD.findall(prompt.lower()))
        named = {word for word in (*QUIRKS, *OUTCOMES) if word in said}
        drawn = {quirk for quirk in QUIRKS if self.chance.random() < self.knobs.share(quirk)}
        return frozenset(named | drawn)

    def accept(self, made: Made, says: Says | None) -> Made:
        """Store a job and start its callbacks."""
        keep(self.jobs, made.id, made, KEPT)
        self.accepted[made.provider] += 1
        rings = made.callback_url is not None and "lost" not in made.words
        if rings and says is not None and len(self._tasks) < KEPT:
            self.later(self._ring(made, says))
        return made

    def known(self, key: str) -> Made | None:
        """Return the job that was accepted under an idempotency key, None when it is not remembered."""
        return self.jobs.get(self.answered.get(key, ""))

    def later(self, work: Any) -> None:
        """Run a coroutine in the background."""
        # The event loop keeps only weak references to tasks.
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def post(self, url: str, message: Message, timeout: float = 10.0) -> bytes | None:
        """Post a callback. Returns the body of the answer, or None when it failed or is not a 2xx."""
        headers = (("content-type", "application/json"), *message.headers)
        try:
            answer = await self.client.call(
                HttpCall(method="POST", url=url, headers=headers, body=message.body, timeout=timeout)
            )
        except CallFailed:
            self.sent["failed"] += 1
            return None
        self.sent[str(answer.status)] += 1
        return answer.body if 200 <= answer.status < 300 else None

    async def close(self) -> None:
        """Cancel the callbacks under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ring(self, made: Made, says: Says) -> None:
        url = made.callback_url or ""
        end = "failed" if "fail" in made.words else "succeeded"
        if "forged" in made.words:
            forged = says(made, "failed", 100, True)
            if forged is not None:
                await self.post(url, forged)
        await asyncio.sleep(made.takes * 0.4)
        progress, final = says(made, "running", 40, False), says(made, end, 100, False)
        if "reordered" not in made.words:
            await self._insist(url, progress)
        # 0.4 + 0.65: the final callback is sent shortly after a poll would find the job final.
        await asyncio.sleep(made.takes * 0.65 + (self.knobs.delay if "late" in made.words else 0.0))
        await self._insist(url, final)
        if "doubled" in made.words:
            await asyncio.gather(self._insist(url, final), self._insist(url, final))
        if "reordered" in made.words:
            await self._insist(url, progress)

    async def _insist(self, url: str, message: Message | None) -> None:
        if message is None:
            return
        for pause in (0.2, 1.0, 3.0):
            if await self.post(url, message) is not None:
                return
            await asyncio.sleep(pause)

    def set(self, **changes: float) -> None:
        """Change knobs at run time."""
        self.knobs = replace(self.knobs, **changes)
