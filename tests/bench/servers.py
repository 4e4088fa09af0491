"""The measures of PostgreSQL: beside SQLite in one run, several replicas, a backlog, a server that died."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from receiver.domain.model import Claim, Work
from receiver.store.due import ClaimRequest, claim
from receiver.store.postgres.driver import PostgresDriver
from receiver.store.postgres.url import target
from receiver.store.sqlite.driver import SqliteDriver
from receiver.store.statements import Transaction
from tests.bench.deployment import Service, notes, service, stub
from tests.bench.load import closed, quantile
from tests.bench.measures import Figures, arrivals, middle, offered, warm
from tests.cluster import Cluster, cluster

VERSION = 16
SETTINGS = ("shared_buffers=256MB", "min_wal_size=1GB", "max_wal_size=4GB")
SEGMENTS = 40
TURNS, PATH_TURNS = 7, 9
PART = 600
NOTICED = 6.0
"""Seconds after which replicas know their number."""
BACKLOG = 1_000_000
WATCHED = float(os.environ.get("BENCH_WATCHED", "60"))
"""Seconds for which memory is watched. The bar is for ten minutes: BENCH_WATCHED=600."""
CLAIMS = 1_000
ROOM = 16
SECRETS = json.dumps(["m" * 40])


@contextlib.contextmanager
def steady() -> Iterator[Cluster]:
    """Run a server as it is after an hour. Yields it.

    The files of its log exist and are written over. A new server makes each as it goes, which holds up every
    commit for 50 to 100 ms, once in 16 MB.
    """
    with cluster(VERSION, SETTINGS) as server:
        for _ in range(SEGMENTS):
            server.sql(
                "postgres", "select pg_logical_emit_message(false, 'bench', 'segment'), pg_switch_wal()"
            )
        for _ in range(2):
            server.sql("postgres", "checkpoint")
        yield server


@contextlib.asynccontextmanager
async def on_postgres(server: Cluster, provider: int, url: str = "") -> AsyncIterator[Service]:
    """Run the service on a database of a server. Yields it."""
    async with service(provider, database_url=url or server.database(), secret_keys=SECRETS) as ours:
        yield ours


@contextlib.asynccontextmanager
async def beside(server: Cluster) -> AsyncIterator[tuple[tuple[Service, int], tuple[Service, int]]]:
    """Run the service on a server, and one on SQLite, each with a downstream of its own. Yields both."""
    async with (
        stub("raw") as provider,
        stub("raw") as other,
        stub("raw") as downstream,
        stub("raw") as elsewhere,
        on_postgres(server, provider) as ours,
        service(other) as plain,
    ):
        yield (ours, downstream), (plain, elsewhere)


async def path() -> Figures:
    """Measure the whole path on PostgreSQL and on SQLite, in turns."""
    with steady() as server:
        async with beside(server) as sides:
            takes = []
            for one, to in sides:
                for name in ("hook1", "hook2"):
                    await one.endpoint(f"http://127.0.0.1:{to}/{name}")
                await warm(one, to, 2)
                requests, _ = await one.callbacks(PATH_TURNS * PART)
                takes.append((one, to, requests))
            rates: list[list[float]] = [[], []]
            for turn in range(PATH_TURNS):
                for (one, to, requests), found in zip(takes, rates, strict=True):
                    part = requests[turn * PART : (turn + 1) * PART]
                    found.append(await _rate([one], to, part))
        ratios = [one / other for one, other in zip(*rates, strict=True)]
        return {
            "PostgreSQL, callbacks/s": quantile(rates[0], 0.5),
            "SQLite, callbacks/s": quantile(rates[1], 0.5),
            "of SQLite": quantile(ratios, 0.5),
        }


async def latency() -> Figures:
    """Measure callback sent to delivery received on PostgreSQL, at 200 a second, and on SQLite in turns.

    A stop of the machine for 10 ms once a second is the slowest hundredth of both.
    """
    with steady() as server:
        async with beside(server) as sides:
            for one, to in sides:
                await one.endpoint(f"http://127.0.0.1:{to}/hook1")
                await warm(one, to, 1)
            turns = [[await offered(one, to, 1) for one, to in sides] for _ in range(TURNS)]
    on_server, in_file = zip(*turns, strict=True)
    return {
        "p50, ms": middle(on_server, 0.5),
        "p99, ms": middle(on_server, 0.99),
        "p99 on SQLite, ms": middle(in_file, 0.99),
    }


async def replicas() -> Figures:
    """Measure two replicas against one, in turns.

    The figure is the cost of a callback in all processes, the database's included.
    """
    with steady() as server:
        alone, shared = server.database(), server.database()
        async with (
            stub("raw") as provider,
            stub("raw") as downstream,
            on_postgres(server, provider, alone) as single,
            on_postgres(server, provider, shared) as first,
            on_postgres(server, provider, shared) as second,
        ):
            for subscribed in (single, first):
                for name in ("hook1", "hook2"):
                    await subscribed.endpoint(f"http://127.0.0.1:{downstream}/{name}")
            await asyncio.sleep(NOTICED)
            sides = ([single], [first, second])
            for side in sides:
                await _cost(server, side, downstream)
            costs = [[await _cost(server, side, downstream) for side in sides] for _ in range(PATH_TURNS)]
    one, two = zip(*costs, strict=True)
    return {
        "one, callbacks/s": quantile([rate for rate, _ in one], 0.5),
        "two, callbacks/s": quantile([rate for rate, _ in two], 0.5),
        "one, us of CPU each": quantile([cost for _, cost in one], 0.5),
        "two, us of CPU each": quantile([cost for _, cost in two], 0.5),
        "CPU of two to one": quantile([both / single for (_, single), (_, both) in costs], 0.5),
    }


async def backlog() -> Figures:
    """Measure a claim, a start and the memory, with a million waiting deliveries and with none."""
    with steady() as server:
        url = server.database()
        _owe(server, url, "live", 20_000)
        empty = await _claims(url)
        server.sql(_name(url), "delete from due")
        for lane in ("dead1", "dead2", "dead3"):
            _owe(server, url, lane, BACKLOG // 3)
        _owe(server, url, "live", 20_000)
        full = await _claims(url)
        async with stub("raw") as provider, on_postgres(server, provider, url) as ours:
            await asyncio.sleep(30)
            before = ours.memory()
            await asyncio.sleep(WATCHED)
            figures = {"start to ready, s": ours.ready_after, "resident, MB": ours.memory()}
            figures[f"grown in {WATCHED:.0f} s, MB"] = ours.memory() - before
    return {
        "claim p99, empty, ms": quantile(empty, 0.99),
        "claim p99, 1,000,000 wait, ms": quantile(full, 0.99),
        "times empty": quantile(full, 0.99) / quantile(empty, 0.99),
        **figures,
    }


async def recovery() -> Figures:
    """Measure the time from the restart of a dead database to the first delivery."""
    with steady() as server:
        async with stub("raw") as provider, stub("raw") as downstream, on_postgres(server, provider) as ours:
            await ours.endpoint(f"http://127.0.0.1:{downstream}/hook1")
            await warm(ours, downstream, 1)
            requests, _ = await ours.callbacks(50)
            await asyncio.to_thread(server.stop, signal.SIGQUIT)
            await asyncio.sleep(8)
            await asyncio.to_thread(server.start)
            up = time.monotonic()
            for request in requests:
                if not (await closed(ours.port, [request])).failed:
                    break
                await asyncio.sleep(0.1)
            came = await arrivals(downstream, 1, 30)
            return {"first delivery after, s": min(at for _, _, at in came) - up if came else float("nan")}


async def _rate(services: list[Service], downstream: int, requests: list[bytes]) -> float:
    """Return the callbacks per second, until the last of two deliveries each was received."""
    started = time.monotonic()
    shares = [requests[number :: len(services)] for number in range(len(services))]
    await asyncio.gather(*(closed(one.port, part) for one, part in zip(services, shares, strict=True)))
    came = await arrivals(downstream, 2 * len(requests))
    return len(requests) / (max(at for _, _, at in came) - started)


async def _cost(server: Cluster, services: list[Service], downstream: int) -> tuple[float, float]:
    requests, _ = await services[0].callbacks(2 * PART)
    await notes(downstream)
    before = _cpu(server, services)
    rate = await _rate(services, downstream, requests)
    return rate, (_cpu(server, services) - before) / len(requests) * 1e6


def _cpu(server: Cluster, services: list[Service]) -> float:
    """Return the seconds of CPU of the services and of the server with all its processes."""
    pids = [one.process.pid for one in services]
    assert server.process is not None
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(status.read_text().rsplit(")", 1)[1].split()[1]) == server.process.pid:
                pids.append(int(status.parent.name))
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


def _name(url: str) -> str:
    return url.rsplit("/", 1)[1]


def _owe(server: Cluster, url: str, lane: str, count: int) -> None:
    """Add deliveries that were due long ago."""
    server.sql(
        _name(url),
        f"insert into due select 'dlv_{lane}_' || n, 'deliver', '{lane}', n, 0, 1, 0, '' "
        f"from generate_series(1, {count}) n; analyze due",
    )


async def _claims(url: str) -> list[float]:
    """Return the milliseconds of claims from the only lane with room."""
    return await claims(PostgresDriver(target(url)), CLAIMS, ROOM)


async def claims(driver: PostgresDriver | SqliteDriver, count: int, found: int) -> list[float]:
    """Return the milliseconds of `count` claims, each of which takes `found` rows."""
    await driver.open()
    took = []
    try:
        for _ in range(count):
            request = _request()
            started = time.perf_counter()
            taken = await driver.write(claim(request))
            took.append((time.perf_counter() - started) * 1000)
            assert len(taken.prepared) == found
    finally:
        await driver.close()
    return took


def _request() -> ClaimRequest:
    now = datetime.now(UTC)

    def prepare(claims: Sequence[Claim]) -> Transaction[Sequence[Claim]]:
        yield from ()
        return claims

    return ClaimRequest(
        work=Work.DELIVER,
        owner="bench",
        now=now,
        lease_until=now + timedelta(seconds=30),
        until=0.0,
        room=lambda lane: ROOM if lane == "live" else 0,
        prepare=prepare,
    )
