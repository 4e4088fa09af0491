"""The world around the service: providers and downstreams that answer as the script has it."""

import asyncio
import functools
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from receiver.egress.address_guard import split
from receiver.egress.client import CallFailed, HttpCall, HttpClient
from receiver.egress.http1 import Answer
from tests.simulation.faces import FACES, Face, base_url, callback_body
from tests.simulation.loop import VirtualTime
from tests.simulation.plan import GOOD, Ring, Script

if TYPE_CHECKING:
    from tests.simulation.replica import Process

MARK = re.compile(rb'"j(\d+)"')
HOOK = re.compile(rb"https://hooks\.test/callbacks/(\w+)/([\w.-]+)")
SECRET = re.compile(rb'"webhook_secret": ?"([\w-]+)"')
ACCEPTS = frozenset({GOOD, "slow", "hang", "lost", "500", "garbled"})
CERTAIN = frozenset({"429", "429 after 7", "unreachable", "401", "402", "403", "422"})
"""Answers that prove that nothing was accepted."""
SOON = 0.02
LATE = 12.0
RING_TRIES = 6


@dataclass
class Generation:
    """A job at the provider."""

    id: str
    job: int
    account: str
    started: float
    script: Script
    hook: tuple[str, str] | None
    secret: str | None
    canceled: bool = False
    cancels: int = 0
    heard_cancel: bool = False
    answered: "list[tuple[float, Process]]" = field(default_factory=list)

    @property
    def ends(self) -> float:
        """Return the moment at which the job is done."""
        return self.started + self.script.runs

    def phase(self, now: float) -> str:
        """Return the phase of the job."""
        if self.canceled:
            return "canceled"
        if now < self.ends:
            return "queued" if now < self.started + min(1.0, self.script.runs / 2) else "running"
        return self.script.ends


@dataclass
class Sent:
    """A submission that reached the provider: its `answer`, and the moment at which a process received it."""

    at: float
    process: "Process"
    answer: str
    told: float | None = None


@dataclass(frozen=True)
class Rung:
    """A callback that was answered 200."""

    at: float
    generation: Generation
    phase: str
    proved: bool
    body: bytes


class ScriptedClient(HttpClient):
    """The scripted HTTP client of one process."""

    def __init__(self, world: "World", process: "Process") -> None:
        self._world = world
        self._process = process

    def check(self, url: str) -> None:
        """Raise `BadUrl` when `url` is none."""
        split(url)

    async def call(self, call: HttpCall) -> Answer:
        """Return the world's answer. Raises `CallFailed` when the call fails or its time is over."""
        future = self._world.take(self._process, call)

        def late() -> None:
            if not future.done():
                future.set_exception(CallFailed("read", "timed out", written=True))

        timer = self._process.loop.call_later(call.timeout, late)
        try:
            return await future
        finally:
            timer.cancel()

    async def close(self) -> None:
        """Do nothing: there are no connections."""


class World:
    """Providers, downstreams, and the history of a run."""

    def __init__(self, time: VirtualTime) -> None:
        self.time = time
        self.history: list[tuple[float, str]] = []
        self.scripts: dict[int, Script] = {}
        self.generations: dict[str, Generation] = {}
        self.by_key: dict[str, Generation] = {}
        self.sent: defaultdict[int, list[Sent]] = defaultdict(list)
        self.polled: Counter[int] = Counter()
        self.cancel_calls: Counter[int] = Counter()
        self.rung: list[Rung] = []
        self.refusing: dict[str, str] = {}
        self.down: dict[int, str] = {}
        self.gone: set[str] = set()
        self.taken: dict[str, str] = {}
        self.bodies: dict[str, str] = {}
        self.slowly = 0.0
        self.processes: list[Process] = []
        self.healed = False
        self.point: Callable[[str, int], object] = lambda _name, _job: None
        self.called: Callable[[Process, str, str], object] = lambda _process, _account, _kind: None
        self.ring_at: Callable[[Ring, Generation, bytes, dict[str, str], Callable[[int], None]], object]
        self.signed: Callable[[str, HttpCall], object] = lambda _url, _call: None
        self.unix: Callable[[], int] = lambda: 0

    def note(self, text: str) -> None:
        """Add a line to the history."""
        self.history.append((self.time.now, text))

    def take(self, process: "Process", call: HttpCall) -> "asyncio.Future[Answer]":
        """Return the answer to a call, which comes some time later."""
        future: asyncio.Future[Answer] = process.loop.create_future()
        parts = urlsplit(call.url)
        account = (parts.hostname or "").removesuffix(".test")
        if account in FACES:
            path = call.url.removeprefix(base_url(account))
            self._provider(process, FACES[account], account, f"{call.method} {path} ", call, future)
        else:
            self._downstream(process, call, future)
        return future

    # Providers.

    def _provider(
        self,
        process: "Process",
        face: Face,
        account: str,
        line: str,
        call: HttpCall,
        future: "asyncio.Future[Answer]",
    ) -> None:
        if face.cancel is not None and (found := face.cancel.match(line)):
            self._cancel(process, face, self.generations[found[1]], future)
        elif line == f"POST {face.submit} ":
            self.called(process, account, "submit")
            self._submit(process, face, account, call, future)
        else:
            found = face.poll.match(line + body_of(call).decode())
            assert found is not None, line
            self.called(process, account, "poll")
            self._poll(process, face, self.generations.get(found[1]), future)

    def _submit(
        self, process: "Process", face: Face, account: str, call: HttpCall, future: "asyncio.Future[Answer]"
    ) -> None:
        mark = MARK.search(body_of(call))
        assert mark is not None
        job = int(mark[1])
        script = self.scripts[job]
        how = self._how(account, script.submits, len(self.sent[job]))
        sent = Sent(self.time.now, process, how)
        self.sent[job].append(sent)
        generation = self._accept(face, account, job, script, call) if how in ACCEPTS else None
        told = f"accepts it as {generation.id}" if generation else "takes nothing"
        self.note(f"{process.name} submits j{job}: {account} {told} ({how})")
        self.point("sent", job)

        def heard() -> None:
            sent.told = self.time.now
            if generation is not None and how in {GOOD, "slow"}:
                generation.answered.append((self.time.now, process))
            self.note(f"{process.name} has the answer about j{job} ({how})")
            self.point("answered", job)

        body = face.told(generation.id, "queued", False) if generation else {}
        self._reply(process, future, how, body, heard)

    def _how(self, account: str, planned: tuple[str, ...], nth: int) -> str:
        if self.healed:
            return GOOD
        return self.refusing.get(account) or (planned[nth] if nth < len(planned) else GOOD)

    def _accept(self, face: Face, account: str, job: int, script: Script, call: HttpCall) -> Generation:
        key = dict(call.headers).get("idempotency-key") if face.keyed else None
        if key is not None and key in self.by_key:
            return self.by_key[key]
        hook, secret = HOOK.search(body_of(call)), SECRET.search(body_of(call))
        generation = Generation(
            f"g{len(self.generations)}-{account}",
            job,
            account,
            self.time.now,
            script,
            (hook[1].decode(), hook[2].decode()) if hook else None,
            secret[1].decode() if secret else None,
        )
        self.generations[generation.id] = generation
        if key is not None:
            self.by_key[key] = generation
        for ring in script.rings if generation.hook else ():
            start = {"early": 0.0, "running": min(1.0, script.runs / 2), "end": script.runs}[ring.moment]
            for turn in range(ring.times):
                when = start + ring.delay + 0.001 * turn
                self.time.after(when, functools.partial(self._ring, generation, ring))
        return generation

    def _poll(
        self, process: "Process", face: Face, generation: Generation | None, future: "asyncio.Future[Answer]"
    ) -> None:
        if generation is None:
            self._reply(process, future, "404", {}, lambda: None)
            return
        how = self._how("", generation.script.polls, self.polled[generation.job])
        self.polled[generation.job] += 1
        phase = generation.phase(self.time.now)
        self.note(f"{process.name} polls j{generation.job}: {phase} ({how})")
        self.point("polled", generation.job)
        body = face.told(generation.id, phase, self.has_words(generation))
        self._reply(process, future, how, body, lambda: None, self.slowly)

    def _cancel(
        self, process: "Process", face: Face, generation: Generation, future: "asyncio.Future[Answer]"
    ) -> None:
        how = self._how("", generation.script.cancels, self.cancel_calls[generation.job])
        self.cancel_calls[generation.job] += 1
        generation.cancels += 1
        generation.heard_cancel |= how == GOOD
        if how == GOOD and self.time.now < generation.ends:
            generation.canceled = True
        self.note(f"{process.name} asks to cancel {generation.id} ({how})")
        body = face.told(generation.id, generation.phase(self.time.now), self.has_words(generation))
        self._reply(process, future, how, body, lambda: None)

    @staticmethod
    def has_words(generation: Generation) -> bool:
        """Return whether a job makes words instead of a file."""
        return FACES[generation.account].words and generation.job % 2 == 0

    def _ring(self, generation: Generation, ring: Ring) -> None:
        face = FACES[generation.account]
        phase = generation.phase(self.time.now)
        body = callback_body(face, generation.id, phase, self.has_words(generation))
        proof = face.sign(body, generation.secret, self.unix()) if face.sign else {}
        if ring.forged and proof:
            proof = {name: value[:-2] + "00" for name, value in proof.items()}

        def answered(status: int) -> None:
            if status == 200:
                proved = bool(proof) and not ring.forged
                self.rung.append(Rung(self.time.now, generation, phase, proved, body))
                self.note(f"{generation.account} rang about j{generation.job}: {phase}")
                self.point("rang", generation.job)

        self.ring_at(ring, generation, body, proof, answered)

    # Downstreams.

    def _downstream(self, process: "Process", call: HttpCall, future: "asyncio.Future[Answer]") -> None:
        number = int(re.sub(r"\D", "", urlsplit(call.url).path) or 0)
        how = GOOD if self.healed else self.down.get(number, GOOD)
        event = dict(call.headers)["webhook-id"]
        digest = hashlib.sha256(body_of(call)).hexdigest()
        same = self.bodies.setdefault(f"{event} {number}", digest) == digest
        if not same:
            self.note(f"downstream {number} gets another body for {event}")
        self.signed(call.url, call)
        self.note(f"{process.name} sends {json.loads(body_of(call))['type']} to {call.url} ({how})")
        if how in {GOOD, "slow"}:
            self.taken[f"{event} {number}"] = digest
        if how in {"410", "disable"}:
            self.gone.add(call.url)
        self._reply(process, future, how, {}, lambda: None)

    # Both.

    def _reply(
        self,
        process: "Process",
        future: "asyncio.Future[Answer]",
        how: str,
        body: dict[str, Any],
        heard: Callable[[], None],
        slower: float = 0.0,
    ) -> None:
        if how == "hang":
            return
        wait = SOON + (LATE if how == "slow" else 0.0) + (0.0 if self.healed else slower)
        outcome = _outcome(how, body)

        def settle() -> None:
            if future.done():
                return
            if isinstance(outcome, CallFailed):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
            heard()

        self.time.after(wait, lambda: process.loop.call_soon(settle))


def body_of(call: HttpCall) -> bytes:
    """Return the body of a call that is small enough to be one value."""
    assert isinstance(call.body, bytes)
    return call.body


def _outcome(how: str, body: dict[str, Any]) -> Answer | CallFailed:
    """Return the answer that a process receives, or the failure of its call."""
    status, _, after = how.partition(" after ")
    if how == "unreachable":
        return CallFailed("connect", "connection refused")
    if how == "lost":
        return CallFailed("read", "the connection broke", written=True)
    if how in {"disable", "abort-message"}:
        return Answer(500, (("webhook-delivery", how),), b"")
    if status.isdigit():
        headers = (("retry-after", after),) if after else ()
        return Answer(int(status), headers, b'{"error":"no"}')
    if how == "garbled":
        return Answer(200, (), b"<html>")
    return Answer(200, (("content-type", "application/json"),), json.dumps(body).encode())
