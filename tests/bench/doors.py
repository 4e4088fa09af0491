"""The time for which a single request at its size limit keeps all others waiting, for every call.

`/healthz` is asked all the while over a connection of its own. The hold of a request is the longest answer
during it less the longest during a rest of the same length. A request that holds up the loop does so each
time, and the machine does not: the least of three tries counts.
"""

import asyncio
import contextlib
import functools
import http.client
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

from tests.bench.bodies import SHAPES
from tests.bench.deployment import KEY, Service, notes, service, stub
from tests.bench.load import closed
from tests.bench.measures import Figures
from tests.bench.stubs import TAKES

HELD = 50.0
"""Milliseconds that a request may hold the event loop."""
TRIES = 3
EVERY = 0.002
LONGEST_REST = 1.0
AFTERWARDS = 0.3
"""Seconds for which the work after an answer is watched."""
MIB = 1 << 20
LISTED = 200
RESULT = "x" * 60_000
MINIMAX = {
    "providers__minimax__api_key": "bench",
    "providers__minimax__backstop_after": "0.3",
    "providers__minimax__poll_interval": "5",
}
KEYED = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
UNKEYED = {"content-type": "application/json"}
Ask = Callable[[], Awaitable[int]]
"""A function that sends one request and returns its status, 0 where there was no answer."""


class Probe:
    """A thread that asks `/healthz` again and again, and keeps the time of each answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends = threading.Event()
        self._took: list[tuple[float, float]] = []
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> "Probe":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def longest(self, since: float, until: float) -> float:
        """Return the longest time of an answer that was waited for in between, in milliseconds."""
        return max((took for at, took in self._took if at < until and at + took / 1000 > since), default=0.0)

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._ends.wait(EVERY):
            started = time.monotonic()
            try:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                connection.close()
                continue
            self._took.append((started, (time.monotonic() - started) * 1000))
        connection.close()


@dataclass(slots=True)
class Door:
    """The cost of the requests of one kind: the longest hold, the most memory, and the number of failures."""

    held: float = 0.0
    memory: float = 0.0
    failed: int = 0
    worst: str = ""

    async def take(self, ours: Service, name: str, ask: Ask) -> None:
        """Measure one request."""
        await asyncio.sleep(0.2)
        before = ours.memory()
        ours.forget_peak()
        held = float("inf")
        with Probe(ours.port) as probe:
            for number in range(TRIES):
                started = time.monotonic()
                status = await ask()
                self.failed += status == 0 or status >= 500
                await asyncio.sleep(AFTERWARDS)
                ended = time.monotonic()
                if number == 0:
                    self.memory = max(self.memory, ours.memory("VmHWM") - before)
                await asyncio.sleep(min(ended - started, LONGEST_REST))
                over = probe.longest(started, ended) - probe.longest(ended, time.monotonic())
                held = min(held, max(over, 0.0))
                if held <= HELD:
                    break
        if held >= self.held:
            self.held, self.worst = held, name


def post(port: int, path: str, body: bytes, headers: dict[str, str], method: str = "POST") -> Ask:
    """Return a function that sends a request on a connection of its own."""

    def ask() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    return lambda: asyncio.to_thread(ask)


def within(head: bytes, size: int, tail: bytes = b"}") -> Iterator[tuple[str, bytes]]:
    """Yield every shape as the last value of an object, as large as `size` allows."""
    for name, shape in SHAPES.items():
        yield name, head + shape(size - len(head) - len(tail) - 8) + tail


async def jobs() -> Door:
    """Measure submissions of 32 MiB, each to a new service, because its memory is measured, too."""
    door = Door()
    head = b'{"provider":"apiframe","operation":"runway-imagine","input":{"prompt":"a tide","a":'
    for name, body in within(head, 32 * MIB, b"}}"):
        async with stub("raw") as provider, service(provider) as ours:
            await door.take(ours, name, post(ours.port, "/v1/jobs", body, KEYED))
    return door


async def callbacks() -> Door:
    """Measure callbacks of 1 MiB to an account that needs no proof."""
    door = Door()
    async with minimax() as (provider, ours):
        await submit(ours, "a tide")
        [(task, url, _)] = await taken(provider, 1)
        path = "/" + url.split("/", 3)[3]
        head = b'{"task_id":"%s","status":"Processing","x":' % task.encode()
        for name, body in within(head, MIB):
            await door.take(ours, name, post(ours.port, path, body, UNKEYED))
    return door


async def files() -> Door:
    """Measure a proved callback of 1 MiB that names as many files as fit."""
    door = Door()
    async with stub("raw") as provider, service(provider) as ours, stub("raw") as downstream:
        await ours.endpoint(f"http://127.0.0.1:{downstream}/hook1")
        [request], _ = await ours.callbacks(1)
        head, _, body = request.partition(b"\r\n\r\n")
        told = json.loads(body)
        told["video_urls"] = [f"http://cdn.example.com/{number}" for number in range(30_000)]
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        path = head.split(b" ")[1].decode()
        sent = {name: value for name, value in headers.items() if name.lower() != "content-length"}
        await door.take(ours, "files", post(ours.port, path, json.dumps(told).encode(), sent))
    return door


async def endpoints() -> Door:
    """Measure endpoints of 256 KiB, made and changed."""
    door = Door()
    async with stub("raw") as provider, service(provider) as ours:
        made = await ours.client.post("/v1/endpoints", json={"url": f"http://127.0.0.1:{provider}/hook"})
        path = f"/v1/endpoints/{made.json()['id']}"
        for name, body in within(b'{"url":"http://127.0.0.1:%d/hook","events":' % provider, MIB // 4):
            await door.take(ours, f"POST {name}", post(ours.port, "/v1/endpoints", body, KEYED))
        for name, body in within(b'{"description":', MIB // 4):
            await door.take(ours, f"PATCH {name}", post(ours.port, path, body, KEYED, "PATCH"))
    return door


async def answers(call: str) -> Door:
    """Measure answers of 4 MiB to one kind of call.

    Each shape goes to a service of its own, because useless answers make the account's calls rare.
    """
    door = Door()
    for name in SHAPES:
        async with minimax() as (provider, ours):
            ask = functools.partial(_answered, ours, provider, call, name)
            await door.take(ours, name, ask)
    return door


async def _answered(ours: Service, provider: int, call: str, shape: str) -> int:
    """Have one job answered with a shape, and cancel it. Returns the status of the cancellation."""
    job = await submit(ours, f"{call} {shape}")
    [(task, _, _)] = await taken(provider, 1)
    await _polled(provider, task, call)
    dropped = await ours.client.post(f"/v1/jobs/{job}/cancel")
    return dropped.status_code


async def lists() -> Door:
    """Measure lists of as many jobs and events as one answer holds, with the largest results."""
    door = Door()
    async with stub("raw") as provider, service(provider) as ours:
        requests, _ = await ours.callbacks(LISTED, RESULT)
        assert not (await closed(ours.port, requests)).failed
        for path in (f"/v1/jobs?limit={LISTED}", f"/v1/events?limit={LISTED}"):
            await door.take(ours, path, post(ours.port, path, b"", KEYED, "GET"))
    return door


async def one_request() -> Figures:
    """Measure every kind of call with its worst request."""
    doors = {
        "POST /v1/jobs": await jobs(),
        "callbacks": await callbacks(),
        "files in a callback": await files(),
        "endpoints": await endpoints(),
        "answers to a submission": await answers("submit"),
        "answers to a poll": await answers("poll"),
        "lists": await lists(),
    }
    figures = {f"{name} ({door.worst}), held ms": door.held for name, door in doors.items()}
    figures |= {f"{name}, memory +MB": door.memory for name, door in doors.items()}
    return {
        **figures,
        "longest held, ms": max(door.held for door in doors.values()),
        "most memory, +MB": max(door.memory for door in doors.values()),
        "failed": sum(door.failed for door in doors.values()),
    }


@contextlib.asynccontextmanager
async def minimax(**settings: str) -> AsyncIterator[tuple[int, Service]]:
    """Run a provider of MiniMax's format, and the service with an account there. Yields both."""
    async with stub("minimax") as provider:
        base = {"providers__minimax__base_url": f"http://127.0.0.1:{provider}"}
        async with service(provider, **{**MINIMAX, **base, **settings}) as ours:
            yield provider, ours


async def submit(ours: Service, prompt: str) -> str:
    """Submit a job to the account of MiniMax's format. Returns its id."""
    wish = {"provider": "minimax", "input": {"model": "T2V-01", "prompt": prompt}}
    answer = await ours.client.post("/v1/jobs", json=wish)
    answer.raise_for_status()
    return str(answer.json()["id"])


async def taken(provider: int, count: int, seconds: float = 20.0) -> list[tuple[str, str, float]]:
    """Return the tasks that the provider took since the last call: id, callback URL, moment."""
    found: list[tuple[str, str, float]] = []
    ends = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < ends:
        await asyncio.sleep(0.01)
        found += [(task, url, at) for task, url, at in (await notes(provider))["taken"]]
    return found


async def _polled(provider: int, task: str, call: str, seconds: float = 10.0) -> None:
    """Wait until the large answer to this call has been on its way for a moment."""
    ends = time.monotonic() + seconds
    while call == "poll" and time.monotonic() < ends:
        if task in (await notes(provider))["polls"]:
            break
        await asyncio.sleep(0.05)
    await asyncio.sleep(TAKES)
