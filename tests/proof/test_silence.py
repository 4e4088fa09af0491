"""A replica that falls silent in the middle of its work: stopped and continued later, killed, or cut off.

Others take over its work within 30 s, and its late reports change nothing.
"""

import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from receiver.cli.sandbox import listening
from tests.bench.deployment import Service, serving, settings_of, stub, up
from tests.bench.load import closed
from tests.cluster import Cluster, cluster
from tests.ports import free_port
from tests.proof.test_database import DURABLE, SECRET, STALE
from tests.proof.test_kill import terminal_events
from tests.proof.wire import Wire, wired

JOBS = 20
TAKEN_OVER = 30.0
"""Seconds within which others take over a silent replica's leases, as stated in the README."""
BOUND = 150.0
HELD = """
select delivery.job from due join delivery on delivery.id = due.id
where leased = 1 and owner = (select min(id) from replica)
"""


class Holding:
    """A downstream that answers no request until it is released."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.came: Counter[str] = Counter()
        self._news = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.came[json.loads(await request.body())["data"]["id"]] += 1
        self._news.set()
        await self.go.wait()
        await Response(status_code=204)(scope, receive, send)

    async def until(self, times: int, jobs: list[str]) -> None:
        """Wait until each job's event has arrived `times` times."""
        async with asyncio.timeout(BOUND):
            while any(self.came[job] < times for job in jobs):
                self._news.clear()
                await self._news.wait()


async def states(service: Service) -> list[str]:
    """Return the state of each delivery."""
    told = (await service.client.get("/v1/deliveries", params={"limit": 200})).json()["data"]
    return [one["state"] for one in told]


@asynccontextmanager
async def two(folder: Path, server: Cluster, name: str, ways: list[int]) -> AsyncIterator[list[Service]]:
    """Run two replicas, each with its own route to the database server. Yields them."""
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(stub("raw"))
        ports = [free_port() for _ in ways]
        services = []
        for port, way in zip(ports, ways, strict=True):
            environment = settings_of(
                str(folder),
                port,
                provider,
                database_url=server.url(name).replace(str(server.port), str(way)),
                secret_keys=SECRET,
                public_url=f"http://127.0.0.1:{ports[0]}",
                delivery_timeout="120",
            )
            services.append(await stack.enter_async_context(serving(environment, port, provider)))
        yield services


def fall_silent(how: str, replica: Service, wire: Wire) -> None:
    """Stop, kill or cut off a replica."""
    if how == "cut off":
        wire.down = True
        wire.close()
    else:
        replica.process.send_signal(signal.SIGKILL if how == "killed" else signal.SIGSTOP)


async def come_back(how: str, replica: Service, wire: Wire) -> None:
    """Reconnect and continue a replica, and wait until it is ready, unless it was killed."""
    wire.down = False
    replica.process.send_signal(signal.SIGCONT)
    if how != "killed":
        await up(replica.process, replica.port, "/readyz")


@pytest.mark.parametrize("how", ["stopped", "killed", "cut off"])
@pytest.mark.timeout(600)
async def test_what_a_silent_replica_holds_is_taken_over(tmp_path: Path, how: str) -> None:
    hook = Holding()
    with cluster(16, DURABLE) as server:
        name = server.database().rsplit("/", 1)[1]
        async with (
            listening(hook) as url,
            wired(server.port, random.Random(0)) as wire,
            two(tmp_path, server, name, [wire.port, server.port]) as (silent, other),
        ):
            await silent.endpoint(f"{url}/hook")
            requests, jobs = await silent.callbacks(JOBS)
            assert not (await closed(silent.port, requests)).failed
            held = server.sql(name, HELD).split()
            assert held
            await hook.until(1, held)
            fall_silent(how, silent, wire)
            fell_silent = time.monotonic()
            hook.go.set()
            await hook.until(2, held)
            took = time.monotonic() - fell_silent
            print(f"{how}: {len(held)} deliveries taken over after {took:.1f} s", flush=True)
            assert took < TAKEN_OVER
            await hook.until(1, jobs)
            await come_back(how, silent, wire)
            async with asyncio.timeout(BOUND):
                while set(await states(other)) != {"delivered"}:  # noqa: ASYNC110  # polled over HTTP
                    await asyncio.sleep(0.1)
            assert len(await states(other)) == JOBS
            assert set((await terminal_events(other)).values()) == {1}
            assert server.sql(name, STALE) == "0"
