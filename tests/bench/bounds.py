"""The harm that one caller can do to all others: names without an answer, forged hints, waiting calls."""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from receiver.egress.request_bytes import request_bytes
from tests.bench.deployment import KEY, Service, final, notes, own_folder, process, service, stub
from tests.bench.doors import minimax, submit, taken
from tests.bench.load import closed, connect, opened, prepared, quantile
from tests.bench.measures import Figures
from tests.bench.servers import SETTINGS, VERSION, on_postgres
from tests.bench.stubs import TAKES
from tests.cluster import cluster

SILENT = 8
NAMED = 12
"""Number of honest submissions, each to an account by a name without a lookup in the last seconds."""
GAP = 0.5
NAMED_BARS = (
    "submission, times alone",
    "slowest submission, times alone",
    "delivery, times alone",
    "slowest delivery, times alone",
    "end beyond grace, s",
)
GRACE = 1.0
HINTS, HINT_SECONDS, HINT_SIZE = 300, 10.0, 16_000
WAITING, LOOKED_AT = 1_000, 5.0


async def silent_names() -> Figures:
    """Measure honest calls by name, alone and beside endpoints and callbacks with silent name servers.

    Also measures how long the service takes to end meanwhile. Without root all figures are NaN.
    """
    if os.geteuid() != 0:
        print("  a name server of our own needs root (a mount namespace): not measured, so not passed")
        return dict.fromkeys(NAMED_BARS, float("nan"))
    async with stub("raw") as provider, stub("raw") as downstream, own_names() as within:
        base = f"http://provider{{}}.good.test:{provider}"
        accounts = {
            f"providers__p{number}__{key}": value
            for number in range(NAMED)
            for key, value in {
                "handler": "apiframe",
                "api_key": "bench-key",
                "base_url": base.format(number),
            }.items()
        }
        async with service(provider, within, **accounts) as ours:
            alone = await _honest(ours, downstream, "alone")
            for number in range(SILENT):
                await ours.endpoint(f"http://endpoint{number}.silent.test:{downstream}/hook1")
            own = [f"http://own{number}.silent.test:{downstream}/hook1" for number in range(SILENT)]
            requests, _ = await ours.callbacks(SILENT, own=own)
            await closed(ours.port, requests)
            beside = await _honest(ours, downstream, "beside")
            started = time.monotonic()
            ours.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(ours.process.wait, 60)
            ended = time.monotonic() - started
    figures: Figures = {}
    for name, one, other in zip(("submission", "delivery"), alone, beside, strict=True):
        figures |= {
            f"{name} alone, ms": quantile(one, 0.5),
            f"{name} beside, ms": quantile(other, 0.5),
            f"{name}, times alone": quantile(other, 0.5) / quantile(one, 0.5),
            f"slowest {name}, times alone": max(other) / max(one),
        }
    return {**figures, "end beyond grace, s": max(0.0, ended - GRACE)}


async def _honest(ours: Service, downstream: int, tag: str) -> tuple[list[float], list[float]]:
    """Return the milliseconds of submissions and of deliveries, each with a lookup of its own."""
    submissions, deliveries = [], []
    for number in range(NAMED):
        own = f"http://{tag}{number}.good.test:{downstream}/hook-{tag}"
        wish = {"provider": f"p{number}", "operation": "runway-imagine", "input": {"prompt": "a"}}
        started = time.monotonic()
        answer = await ours.client.post("/v1/jobs", json={**wish, "callback_url": own})
        answer.raise_for_status()
        [(url, secret, task)] = await _until(ours.provider, "taken", lambda _: True)
        # The id of a task holds the monotonic nanoseconds at which the provider took it.
        submissions.append(int(task.split("-")[1]) / 1e6 - started * 1000)
        await asyncio.sleep(GAP / 2)
        started = time.monotonic()
        assert not (await closed(ours.port, [final(ours.port, url, secret, task)])).failed
        [(_, _, at), *_] = await _until(downstream, "arrived", lambda one: one[1].endswith(tag))
        deliveries.append((at - started) * 1000)
        await asyncio.sleep(GAP / 2)
    return submissions, deliveries


async def _until(port: int, which: str, wanted: Callable[[Any], bool], seconds: float = 60.0) -> list[Any]:
    """Return the first notes of a stub that are wanted. Raises `RuntimeError` when none comes in time."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if found := [one for one in (await notes(port))[which] if wanted(one)]:
            return found
        await asyncio.sleep(0.02)
    raise RuntimeError(f"nothing was {which} within {seconds:.0f} s")


@contextlib.asynccontextmanager
async def own_names() -> AsyncIterator[tuple[str, ...]]:
    """Run a name server. Yields the command within which a process asks this server and no other."""
    host = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
    with own_folder() as folder, process("-m", "tests.bench.stubs", "names", host) as server:
        place = Path(folder) / "resolv.conf"
        place.write_text(f"nameserver {host}\noptions timeout:5 attempts:2\n")
        await asyncio.to_thread(_answers, host, server)
        mounted = f'mount --bind "{place}" /etc/resolv.conf && exec "$0" "$@"'
        yield ("unshare", "-m", "sh", "-c", mounted)


def _answers(host: str, server: subprocess.Popen[bytes]) -> None:
    """Wait until the name server answers. Raises `RuntimeError` when it does not."""
    question = b"\1\2\1\0\0\1\0\0\0\0\0\0\4good\4test\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.2)
        for _ in range(50):
            asking.sendto(question, (host, 53))
            with contextlib.suppress(OSError):
                asking.recv(512)
                return
            if server.poll() is not None:
                break
            time.sleep(0.05)
    raise RuntimeError("the name server of the bench did not start")


async def forged_hints() -> Figures:
    """Measure hints without proof at one job, with a callback URL that others know."""
    async with minimax(providers__minimax__backstop_after="180") as (provider, ours):
        job = await submit(ours, "open")
        [(task, url, _)] = await taken(provider, 1)
        alone = await _others(ours, provider)
        before = (await notes(provider))["polls"].get(task, 0)
        hints = asyncio.create_task(_hints(ours.port, task, url))
        beside = await _others(ours, provider)
        failed = await hints
        polls = (await notes(provider))["polls"].get(task, 0) - before
        path = ours.database.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            [(stored,)] = database.execute(
                "select sum(length(told) + coalesce(length(headers), 0) + coalesce(length(body), 0)) "
                "from evidence where job = ?",
                (job,),
            )
    return {
        "polls": polls,
        "stored, KB": stored / 1024,
        "another job alone, ms": quantile(alone, 0.5),
        "another job beside, ms": quantile(beside, 0.5),
        "slowest other job, times alone": max(beside) / max(alone),
        "failed": failed,
    }


async def _hints(port: int, task: str, url: str) -> int:
    """Send forged hints at a steady rate, each different. Returns the number that was not accepted."""
    path = "/" + url.split("/", 3)[3]
    words = ("Success", "Processing", "Queueing", "Fail", "Unheard", "")
    requests = []
    for number in range(HINTS):
        told = {
            "task_id": task,
            "status": words[number % len(words)],
            "pad": os.urandom(HINT_SIZE // 2).hex(),
        }
        requests.append(prepared(port, path, "", json.dumps(told).encode()))
    result, _ = await opened(port, requests, HINTS / HINT_SECONDS)
    return result.failed


async def _others(ours: Service, provider: int) -> list[float]:
    """Return the milliseconds of other jobs of the account, one after the other.

    The time of a job is the one until the provider took it, and the one from its provider's callback to its
    end.
    """
    took = []
    ends = time.monotonic() + HINT_SECONDS
    while time.monotonic() < ends:
        started = time.monotonic()
        job = await submit(ours, "done")
        [(task, url, at)] = await taken(provider, 1)
        took_it = at - started
        await asyncio.sleep(2 * TAKES)
        told = json.dumps({"task_id": task, "status": "Success"}).encode()
        started = time.monotonic()
        await closed(ours.port, [prepared(ours.port, "/" + url.split("/", 3)[3], "", told)])
        answer = await ours.client.get(f"/v1/jobs/{job}", params={"wait": 20})
        assert answer.json()["state"] == "succeeded"
        took.append((took_it + time.monotonic() - started) * 1000)
    return took


async def long_polls() -> Figures:
    """Measure the cost of calls that wait for a job or for the feed while nothing happens."""
    figures: Figures = {}
    with cluster(VERSION, SETTINGS) as server:
        for engine in ("SQLite", "PostgreSQL"):
            async with (
                stub("raw") as provider,
                on_postgres(server, provider) if engine == "PostgreSQL" else service(provider) as ours,
            ):
                _, [job] = await ours.callbacks(1)
                place = (await ours.client.get("/v1/events")).json()["next_cursor"]
                figures[f"{engine}: none, % of a core"] = await _share(ours)
                for name, path in {"job": f"/v1/jobs/{job}", "feed": f"/v1/events?after={place}"}.items():
                    async with _waiting(ours, path):
                        figures[f"{engine}: {WAITING:,} for the {name}, % of a core"] = await _share(ours)
    return {**figures, "most, % of a core": max(figures.values())}


async def _share(ours: Service) -> float:
    """Return the percentage of a core that the service takes."""
    await asyncio.sleep(1)
    before, started = ours.cpu(), time.monotonic()
    await asyncio.sleep(LOOKED_AT)
    return (ours.cpu() - before) / (time.monotonic() - started) * 100


@contextlib.asynccontextmanager
async def _waiting(ours: Service, path: str) -> AsyncIterator[None]:
    """Keep many calls waiting for news as long as the context lasts.

    Raises `RuntimeError` when one of them was answered.
    """
    path += ("&" if "?" in path else "?") + "wait=60"
    headers = [("authorization", f"Bearer {KEY}")]
    request = request_bytes("GET", path, f"127.0.0.1:{ours.port}", headers, b"")
    connections = [await connect(ours.port) for _ in range(WAITING)]
    waiting = [connection.ask(request, 1 << 20) for connection in connections]
    yield
    answered = sum(one.done() for one in waiting)
    for connection, one in zip(connections, waiting, strict=True):
        one.cancel()
        connection.close()
    if answered:
        raise RuntimeError(f"{answered} of {WAITING} calls did not wait")
