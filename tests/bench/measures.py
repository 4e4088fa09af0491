"""The measures, each a function that starts its own processes and returns its figures."""

import asyncio
import gc
import os
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence

import aiohttp

from receiver.egress.address_guard import guard
from receiver.egress.client import HttpCall, HttpClient
from tests.bench.deployment import HERE, Service, notes, service, stub
from tests.bench.load import closed, opened, prepared, quantile

RATE_TURNS, TURNS = 7, 5
FULL, HALF = 1_800, 1_500
"""Callbacks of one turn as fast as they go, and at half of that rate."""
PIECE = 300
"""Number of callbacks, some 0.15 s of load, in one sample of the p99.

About once a second this machine stops a process for 10 to 20 ms, and in a turn of a second that stop is the
slowest hundredth of anything.
"""
PATH_JOBS = RATE_TURNS * 1_200
BARE = 8_000
POSTS = 12_000
POST_TURNS = 7
OFFERED = 200.0
WATCHED, STOPPED = 5.0, 0.002
PAGE, PAGES = 8192, 1000
SECONDS = 4
"""Seconds of one turn of an offered rate."""
AWAKE = 1
"""Seconds of a load before it counts: memory that lay idle for half a second is read 12 times slower here."""

Figures = dict[str, float]


async def machine() -> Figures:
    """Measure the machine itself, with nothing else to do.

    The figures are how often the processor stops for a while, and how long a write takes to be durable.
    """
    stops = await asyncio.to_thread(_stops)
    synced = await asyncio.to_thread(_synced)
    return {
        "stops over 2 ms, a second": len(stops) / WATCHED,
        "longest stop, ms": max(stops, default=0.0),
        "write made durable, p50, ms": quantile(synced, 0.5),
        "write made durable, p99, ms": quantile(synced, 0.99),
    }


def _stops() -> list[float]:
    stops = []
    before = started = time.perf_counter()
    while before - started < WATCHED:
        now = time.perf_counter()
        if now - before > STOPPED:
            stops.append((now - before) * 1000)
        before = now
    return stops


def _synced() -> list[float]:
    took = []
    with tempfile.TemporaryFile(dir=HERE / ".cache") as file:
        file.write(b"\0" * PAGE * PAGES)
        os.fsync(file.fileno())
        for place in range(PAGES):
            started = time.perf_counter()
            os.pwrite(file.fileno(), b"\1" * PAGE, place * PAGE)
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - started) * 1000)
    return took


async def intake() -> Figures:
    """Measure distinct jobs with one final callback each and no endpoint."""
    async with stub("bare") as plain, stub("raw") as provider, service(provider) as ours:
        requests, _ = await ours.callbacks(RATE_TURNS * (FULL + HALF))
        results, halves = [], []

        async def take(part: list[bytes]) -> float:
            results.append(await closed(ours.port, part[:FULL]))
            halves.append((await opened(ours.port, part[FULL:], results[-1].rate / 2))[0])
            return results[-1].rate

        figures = await _in_turns(plain, requests, take, "acknowledged/s")
        pieces = [half.latencies[start : start + PIECE] for half in halves for start in range(0, HALF, PIECE)]
        figures["p99 at half, ms"] = middle(pieces, 0.99)
        figures["p99 at half, whole turns, ms"] = middle([half.latencies for half in halves], 0.99)
        figures["failed"] = sum(one.failed for one in (*halves, *results))
        return figures


async def whole_path() -> Figures:
    """Measure callback, job, event and two deliveries, as fast as they go."""
    async with (
        stub("bare") as plain,
        stub("raw") as provider,
        stub("raw") as downstream,
        service(provider) as ours,
    ):
        for name in ("hook1", "hook2"):
            await ours.endpoint(f"http://127.0.0.1:{downstream}/{name}")
        await warm(ours, downstream, 2)
        requests, _ = await ours.callbacks(PATH_JOBS)
        arrived: list[tuple[str, str, float]] = []
        failed = []

        async def deliver(part: list[bytes]) -> float:
            started = time.monotonic()
            failed.append((await closed(ours.port, part)).failed)
            came = await arrivals(downstream, 2 * len(part))
            arrived.extend(came)
            return len(part) / (max(at for _, _, at in came) - started)

        figures = await _in_turns(plain, requests, deliver, "callbacks/s")
        figures["missing"] = 2 * PATH_JOBS - len({(job, url) for job, url, _ in arrived})
        figures["failed"] = sum(failed)
        return figures


async def _in_turns(
    plain: int, requests: list[bytes], take: Callable[[list[bytes]], Awaitable[float]], name: str
) -> Figures:
    """Return the medians of the service's rate, of the bare route's, and of their ratio.

    They are taken in turns: a machine that is shared runs faster and slower from one second to the next.
    """
    body = b'{"task_id":"x","status":"finished","note":"' + b"x" * 300 + b'"}'
    unread = [prepared(plain, "/callbacks/apiframe/token", "secret", body)] * BARE
    await closed(plain, unread)
    ours, bare = [], []
    size = len(requests) // RATE_TURNS
    for start in range(0, size * RATE_TURNS, size):
        bare.append((await closed(plain, unread)).rate)
        ours.append(await take(requests[start : start + size]))
    ratios = [one / other for one, other in zip(ours, bare, strict=True)]
    return {
        name: quantile(ours, 0.5),
        "bare route/s": quantile(bare, 0.5),
        "of the bare route": quantile(ratios, 0.5),
    }


async def latency() -> Figures:
    """Measure the time from callback sent to delivery received, at 200 a second."""
    async with stub("raw") as provider, stub("raw") as downstream, service(provider) as ours:
        await ours.endpoint(f"http://127.0.0.1:{downstream}/hook1")
        await warm(ours, downstream, 1)
        turns = [await offered(ours, downstream, 1) for _ in range(TURNS)]
    return {"p50, ms": middle(turns, 0.5), "p99, ms": middle(turns, 0.99)}


def middle(turns: Sequence[Sequence[float]], share: float) -> float:
    """Return the median of the turns' quantiles: one stall of the machine decides a single turn."""
    return quantile([quantile(took, share) for took in turns], 0.5)


async def one_dead_of_four() -> Figures:
    """Measure three healthy endpoints, alone and beside one that never answers."""
    turns: dict[bool, list[list[float]]] = {}
    for dead in (False, True):
        async with stub("raw") as provider, stub("raw") as downstream, service(provider) as ours:
            for name in ("hook1", "hook2", "hook3"):
                await ours.endpoint(f"http://127.0.0.1:{downstream}/{name}")
            if dead:
                await ours.endpoint(f"http://127.0.0.1:{downstream}/hang")
            await warm(ours, downstream, 3)
            turns[dead] = [await offered(ours, downstream, 3) for _ in range(TURNS)]
    alone, beside = middle(turns[False], 0.99), middle(turns[True], 0.99)
    sent = 2 * TURNS * 3 * int(OFFERED) * SECONDS
    return {
        "p99 alone, ms": alone,
        "p99 beside it, ms": beside,
        "times alone": beside / alone,
        "missing": sent - sum(len(took) for both in turns.values() for took in both),
    }


async def posts() -> Figures:
    """Measure POSTs per second of one core: the HTTP client against aiohttp, in turns."""
    async with stub("raw") as port:
        url = f"http://127.0.0.1:{port}/post"
        body = b"x" * 400
        gateway = HttpClient(guard(["127.0.0.0/8"], http=True))
        headers = {"content-type": "application/json"}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def ours() -> None:
                await gateway.call(
                    HttpCall(method="POST", url=url, headers=tuple(headers.items()), body=body)
                )

            async def theirs() -> None:
                async with session.post(url, data=body, headers=headers) as answer:
                    await answer.read()

            turns = [(await _per_core(ours), await _per_core(theirs)) for _ in range(POST_TURNS)]
        await gateway.close()
        return {
            "gateway/core-s": quantile([one for one, _ in turns], 0.5),
            "aiohttp/core-s": quantile([other for _, other in turns], 0.5),
            "times aiohttp": quantile([one / other for one, other in turns], 0.5),
        }


async def start() -> Figures:
    """Measure a start from nothing to ready, and the memory while idle."""
    async with stub("raw") as provider, service(provider) as ours:
        await asyncio.sleep(1)
        return {"start to ready, s": ours.ready_after, "resident, MB": ours.memory()}


async def demo() -> Figures:
    """Measure the demo, after set-up."""
    started = time.monotonic()
    finished = await asyncio.to_thread(
        subprocess.run,
        [str(HERE / ".venv/bin/ringback"), "demo", "--once"],
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return {"seconds": time.monotonic() - started, "exit code": finished.returncode}


async def _per_core(post: Callable[[], Awaitable[None]]) -> float:
    left = iter(range(POSTS))

    async def one() -> None:
        for _ in left:
            await post()

    gc.collect()
    started = time.process_time()
    await asyncio.gather(*(one() for _ in range(64)))
    return POSTS / (time.process_time() - started)


async def warm(ours: Service, downstream: int, endpoints: int) -> None:
    """Let every endpoint prove itself and every path be taken once."""
    requests, _ = await ours.callbacks(300)
    await closed(ours.port, requests)
    await arrivals(downstream, 300 * endpoints)


async def offered(ours: Service, downstream: int, endpoints: int, seconds: int = SECONDS) -> list[float]:
    """Return the milliseconds from callback to each delivery at a steady rate, in the order of arrival.

    Those of the first second are left out.
    """
    requests, jobs = await ours.callbacks(int(OFFERED * (AWAKE + seconds)))
    _, sent = await opened(ours.port, requests, OFFERED)
    arrived = await arrivals(downstream, len(jobs) * endpoints)
    unseen = int(OFFERED * AWAKE)
    at = dict(zip(jobs[unseen:], sent[unseen:], strict=True))
    return [(moment - at[job]) * 1000 for job, _, moment in arrived if job in at]


async def arrivals(downstream: int, count: int, seconds: float = 60.0) -> list[tuple[str, str, float]]:
    arrived: list[tuple[str, str, float]] = []
    ends = time.monotonic() + seconds
    while len(arrived) < count and time.monotonic() < ends:
        await asyncio.sleep(0.2)
        arrived += (await notes(downstream))["arrived"]
    return arrived
