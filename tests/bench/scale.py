"""The service on large tables: an endpoint with a million deliveries, many jobs, many origins.

The measures are the removal of the endpoint, a start with all stored jobs, and retries that wait for many
origins. The database itself fills its tables while nothing serves it; jobs are copies of a finished one.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from receiver.store.postgres.driver import PostgresDriver
from receiver.store.postgres.url import target
from receiver.store.schema import TABLES
from receiver.store.sqlite.driver import SqliteDriver
from tests.bench.deployment import notes, own_folder, service_in, stub
from tests.bench.load import closed, opened, quantile
from tests.bench.measures import Figures, arrivals
from tests.bench.servers import SECRETS, SETTINGS, VERSION, claims
from tests.cluster import Cluster, cluster

OWED, KEPT, ORIGINS = 1_000_000, 3_000_000, 20_000
RATE, SECONDS = 25.0, 10.0
"""Other writes a second, alone and while an endpoint is removed, and the seconds of each."""
ANSWERED = 60.0
RETRY_AFTER = 45
CLAIMS = 200
SETTLED = 45
"""Seconds until finished origins free their memory: idle connections live for 20, checked as often."""


@dataclass(slots=True)
class Place:
    """A database that is served at times, and filled at others."""

    folder: str
    server: Cluster | None
    url: str = ""

    @property
    def settings(self) -> dict[str, str]:
        """Return the settings of the service for this database."""
        return {"database_url": self.url, "secret_keys": SECRETS} if self.server else {}

    @property
    def file(self) -> Path:
        """Return the path of SQLite's file."""
        return Path(self.folder) / "bench.db"

    @property
    def hex(self) -> str:
        """Return an SQL expression for 20 hexadecimal digits of `n`."""
        return "lpad(to_hex(n), 20, '0')" if self.server else "printf('%020x', n)"

    def numbers(self, count: int) -> str:
        """Return an SQL table of `n` from 1 to `count`."""
        if self.server:
            return f"generate_series(1, {count}) as numbers(n)"
        recursive = f"c(n) as (select 1 union all select n + 1 from c where n < {count})"
        return f"(with recursive {recursive} select n from c)"

    def run(self, *statements: str) -> None:
        """Run statements of SQL.

        A server's log is written over from then on, as after an hour (see `steady`).
        """
        if self.server:
            for one in (*statements, "analyze", "checkpoint", "checkpoint"):
                self.server.sql(self.url.rsplit("/", 1)[1], one)
            return
        with contextlib.closing(sqlite3.connect(self.file, isolation_level=None)) as database:
            for one in ("pragma journal_mode = off", "pragma synchronous = off", *statements):
                database.execute(one)


@contextlib.contextmanager
def place(engine: str) -> Iterator[Place]:
    """Yield an empty database of an engine. It is removed when the context ends."""
    with own_folder() as folder:
        if engine == "sqlite":
            yield Place(folder, None)
            return
        with cluster(VERSION, SETTINGS) as server:
            yield Place(folder, server, server.database())


def now_as_id() -> str:
    """Return the beginning of an id made now."""
    return f"{int(time.time() * 1000):012x}"


async def removal(engine: str) -> Figures:
    """Measure the DELETE of an endpoint with a million pending deliveries, with other writes beside it."""
    with place(engine) as kept:
        async with stub("raw") as provider:
            async with service_in(kept.folder, provider, **kept.settings) as ours:
                made = await ours.client.post(
                    "/v1/endpoints", json={"url": f"http://127.0.0.1:{provider}/hook"}
                )
                endpoint = made.json()["id"]
            await asyncio.to_thread(owe, kept, endpoint)
            async with service_in(kept.folder, provider, **kept.settings) as ours:
                count = int(RATE * SECONDS)
                requests, _ = await ours.callbacks(2 * count)
                alone, _ = await opened(ours.port, requests[:count], RATE)
                writing = asyncio.create_task(opened(ours.port, requests[count:], RATE))
                await asyncio.sleep(1)
                started = time.monotonic()
                answer = await ours.client.delete(f"/v1/endpoints/{endpoint}", timeout=ANSWERED)
                took = time.monotonic() - started
                beside, _ = await writing
    return {
        "answered after, s": took,
        "other writes alone, p50, ms": alone.quantile(0.5),
        "other writes beside, p50, ms": beside.quantile(0.5),
        "slowest alone, ms": max(alone.latencies),
        "slowest beside, ms": max(beside.latencies),
        "slowest is slower by, ms": max(beside.latencies) - max(alone.latencies),
        "failed": alone.failed + beside.failed + (answer.status_code >= 300),
    }


def owe(kept: Place, endpoint: str) -> None:
    """Disable an endpoint and add a million deliveries that wait for it."""
    begins, now = now_as_id(), int(time.time() * 1000)
    kept.run(
        f"update endpoint set state = 'disabled' where id = '{endpoint}'",
        "insert into delivery (id, event, target, origin, state, created_at, updated_at, tries) "
        f"select 'dlv_{begins}' || {kept.hex}, 'evt_{begins}' || {kept.hex}, '{endpoint}', '', 'pending', "
        f"{now}, {now}, 0 from {kept.numbers(OWED)}",
        "insert into due (id, work, lane, at, leased, fence, tries, owner) "
        f"select 'dlv_{begins}' || {kept.hex}, 'deliver', '{endpoint}', {now}, 0, 1, 0, '' "
        f"from {kept.numbers(OWED)}",
    )


async def start(engine: str) -> Figures:
    """Measure a start from nothing to ready with three million stored jobs."""
    with place(engine) as kept:
        async with stub("raw") as provider, stub("raw") as downstream:
            async with service_in(kept.folder, provider, **kept.settings) as ours:
                requests, _ = await ours.callbacks(1, own=[f"http://127.0.0.1:{downstream}/hook1"])
                await closed(ours.port, requests)
                await arrivals(downstream, 1)
            await asyncio.to_thread(_keep, kept)
            async with service_in(kept.folder, provider, **kept.settings) as ours:
                return {"start to ready, s": ours.ready_after, "resident, MB": ours.memory()}


def _keep(kept: Place) -> None:
    """Add copies of the one job that is stored."""
    new = {"id": f"'job_{now_as_id()}' || {kept.hex}", "provider_job_id": f"'task-' || {kept.hex}"}
    columns = TABLES["job"]
    kept.run(
        f"insert into job ({', '.join(columns)}) "
        f"select {', '.join(new.get(column, column) for column in columns)} "
        f"from (select * from job limit 1) as template cross join {kept.numbers(KEPT)}"
    )


async def origins() -> Figures:
    """Measure retries that wait for as many one-off callback URLs, each of its own origin.

    The memory at the start holds the cost of many calls at once, too: other origins were called before, all
    at once.
    """
    with place("sqlite") as kept:
        async with stub("raw") as provider, stub("raw") as downstream:
            settings = {"retry_schedule": f"[{RETRY_AFTER}]"}
            async with service_in(kept.folder, provider, **settings) as ours:
                idle = ours.memory()
                requests, _ = await ours.callbacks(ORIGINS // 2, own=_own("before", downstream, "hook")[::2])
                failed = (await closed(ours.port, requests)).failed
                await arrivals(downstream, ORIGINS // 2)
                requests, _ = await ours.callbacks(ORIGINS, own=_own("own", downstream, "later"))
                before = ours.memory()
                failed += (await closed(ours.port, requests)).failed
                arrived = await _all_failed(downstream)
                waiting = ours.memory()
                with own_folder() as copy:
                    took = await claims(_copied(kept.file, Path(copy) / "copy.db"), CLAIMS, 0)
                arrived += len(await arrivals(downstream, ORIGINS - arrived, 3 * RETRY_AFTER))
                for _ in range(SETTLED):
                    await asyncio.sleep(1)
                after = ours.memory()
    empty, on_server = await _claims_on_server()
    return {
        "SQLite: claim p50, ms": quantile(took, 0.5),
        "PostgreSQL: claim p50, ms": quantile(on_server, 0.5),
        "PostgreSQL: claim where none wait p50, ms": quantile(empty, 0.5),
        "resident, idle, MB": idle,
        "resident before, MB": before,
        "while they wait, MB": waiting,
        "after they are done, +MB": after - before,
        "missing": ORIGINS - arrived,
        "failed": failed,
    }


def _own(name: str, downstream: int, path: str) -> list[str]:
    """Return callback URLs, each of an origin of its own."""
    return [f"http://{name}{number}.localhost:{downstream}/{path}" for number in range(ORIGINS)]


async def _all_failed(downstream: int, seconds: float = 2.0 * RETRY_AFTER) -> int:
    """Wait until every first attempt has failed. Returns the number of second ones that arrived meanwhile."""
    arrived = 0
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        told = await notes(downstream)
        arrived += len(told["arrived"])
        if told["failed"] >= ORIGINS:
            break
        await asyncio.sleep(0.2)
    return arrived


def _copied(source: Path, to: Path) -> SqliteDriver:
    """Return a driver on a copy of a database in use. Work that waits there waits for an hour more."""
    with (
        contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as database,
        contextlib.closing(sqlite3.connect(to)) as copy,
    ):
        database.backup(copy)
        copy.execute("update due set at = at + 3600000")
        copy.commit()
    return SqliteDriver(to, on_fatal=print)


async def _claims_on_server() -> tuple[list[float], list[float]]:
    """Return the milliseconds of the same claims on PostgreSQL, where nothing waits and where retries do."""
    with place("postgresql") as kept:
        empty = await claims(PostgresDriver(target(kept.url)), CLAIMS, 0)
        later = int(time.time() * 1000) + 3_600_000
        kept.run(
            "insert into due (id, work, lane, at, leased, fence, tries, owner) "
            f"select 'dlv_{now_as_id()}' || {kept.hex}, 'deliver', 'http://own' || n || '.example~', "
            f"{later} + n, 0, 1, 1, '' from {kept.numbers(ORIGINS)}"
        )
        waiting = await claims(PostgresDriver(target(kept.url)), CLAIMS, 0)
        return empty, waiting
