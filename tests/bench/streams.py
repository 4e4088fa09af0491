"""Readers of the event stream: the memory of many that wait, and the time until an event reaches them all."""

import asyncio
import resource
import time
from typing import Any

import httpx

from receiver.egress.request_bytes import request_bytes
from tests.bench.deployment import KEY, Service, service, stub
from tests.bench.load import closed, quantile
from tests.bench.measures import Figures

READERS, EVENTS = 2_000, 20
FILES = READERS + 500
"""Files that the service and the process of the readers each need."""
EVERY = 0.5
"""Seconds between two events."""
OPENED, REACHED = 60.0, 30.0
"""Seconds within which all streams are open, and within which an event reaches all."""
WARM = 100


async def readers() -> Figures:
    """Measure 2,000 idle readers of the stream, and events that reach them all."""
    _more_files()
    async with stub("raw") as provider, stub("readers") as ours_readers, service(provider) as ours:
        requests, _ = await ours.callbacks(WARM + EVENTS)
        assert not (await closed(ours.port, requests[:WARM])).failed
        # Everything that one stream needs is loaded before the memory is looked at.
        await open_readers(ours, ours_readers, 1)
        await asyncio.sleep(1)
        resident, own = ours.memory(), ours.shared_memory()
        started = time.monotonic()
        await open_readers(ours, ours_readers, READERS)
        opened = time.monotonic() - started
        await asyncio.sleep(1)
        idle = {"RSS": ours.memory() - resident, "PSS": ours.shared_memory() - own}
        took = [await _reaches(ours, ours_readers, request) for request in requests[WARM:]]
        after = {"RSS": ours.memory() - resident, "PSS": ours.shared_memory() - own}
        ended = (await _ask(ours_readers, "/notes"))["ended"]
    return {
        "resident before, MB": resident,
        "all open after, s": opened,
        "idle, +MB": max(idle.values()),
        "after events, +MB": max(after.values()),
        "reaches all after, p50, ms": quantile(took, 0.5),
        "slowest reaches all after, ms": max(took),
        "ended": ended,
    }


def _more_files() -> None:
    """Allow this process and those that it starts as many files as needed. Raises `RuntimeError`."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < FILES:
        raise RuntimeError(
            f"{READERS:,} readers need {FILES:,} open files and the hard limit is {most:,}: "
            "raise it with `ulimit -Hn`"
        )
    if soft < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, most))


async def open_readers(ours: Service, readers: int, count: int, query: str = "") -> None:
    """Open so many streams more, and wait until each has begun. Raises `RuntimeError` when one has not."""
    headers = [("authorization", f"Bearer {KEY}")]
    request = request_bytes("GET", f"/v1/events/stream{query}", f"127.0.0.1:{ours.port}", headers, b"")
    wanted = (await _ask(readers, "/notes"))["begun"] + count
    await _ask(readers, "/open", port=ours.port, request=request.decode(), count=count)
    ends = time.monotonic() + OPENED
    begun = 0
    while time.monotonic() < ends:
        begun = (await _ask(readers, "/notes"))["begun"]
        if begun == wanted:
            return
        await asyncio.sleep(0.05)
    raise RuntimeError(f"{begun} of {wanted} streams have begun within {OPENED:.0f} s")


async def _reaches(ours: Service, readers: int, request: bytes) -> float:
    """Return the milliseconds from a callback until its event has reached every reader."""
    before = (await _ask(readers, "/notes"))["events"]
    started = time.monotonic()
    assert not (await closed(ours.port, [request])).failed
    ends = started + REACHED
    while time.monotonic() < ends:
        await asyncio.sleep(EVERY)
        found = (await _ask(readers, "/notes"))["events"]
        [(count, at)] = [found[name] for name in found.keys() - before.keys()] or [(0, 0.0)]
        if count == READERS + 1:
            return float((at - started) * 1000)
    raise RuntimeError(f"{count} of {READERS + 1} readers got an event within {REACHED:.0f} s")


async def _ask(readers: int, path: str, **wanted: Any) -> dict[str, Any]:
    async with httpx.AsyncClient(timeout=100) as client:
        told: dict[str, Any] = (await client.post(f"http://127.0.0.1:{readers}{path}", json=wanted)).json()
        return told
