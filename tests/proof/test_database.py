"""Three replicas, a database that stops as if its machine died, and COMMITs without an answer.

No acknowledged callback is lost, no terminal event is doubled, no late write changes anything. `PROOF_ROUNDS`
is the number of rounds. Each round cuts COMMITs, and two of three also stop the database.
"""

import asyncio
import json
import os
import random
import signal
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from receiver.egress.http1 import Broken
from tests.bench.deployment import Service, serving, settings_of, stub
from tests.bench.load import connect
from tests.cluster import Cluster, cluster
from tests.ports import free_port
from tests.proof.test_kill import delivered, terminal_events
from tests.proof.wire import Wire, wired

ROUNDS = int(os.environ.get("PROOF_ROUNDS", "2"))
JOBS = 60
CUTS = 3
REPLICAS = 3
SEED = 20261122
BOUND = 150.0
DURABLE = ("shared_buffers=32MB", "max_connections=100")
SECRET = json.dumps(["m" * 40])
STALE = """
select count(*) from job j where completed_at is null
or (select count(*) from event e where e.job = j.id and e.type in ('job.succeeded', 'job.failed')) <> 1
or exists (select 1 from due where due.id = j.id)
"""


async def _acknowledged(services: list[Service], requests: list[bytes], trouble: Counter[str]) -> int:
    """Send every callback until it is acknowledged, each time to another replica. Returns their number."""
    waiting = iter(enumerate(requests))
    count = 0

    async def one() -> None:
        nonlocal count
        for index, request in waiting:
            turn = index
            while True:
                turn += 1
                try:
                    connection = await connect(services[turn % REPLICAS].port)
                    status = (await connection.ask(request, 4096)).status
                    connection.close()
                except (Broken, OSError):
                    status = 0
                if status == 200:
                    count += 1
                    break
                assert status in {0, 503}, status
                trouble[str(status)] += 1
                await asyncio.sleep(0.02)

    async with asyncio.timeout(BOUND):
        await asyncio.gather(*(one() for _ in range(12)))
    return count


def _stopped(services: list[Service]) -> None:
    for one in services:
        one.process.terminate()
    for one in services:
        one.process.wait(BOUND)


async def _trouble(server: Cluster, wire: Wire, number: int) -> None:
    """Cause the faults of a round: cut COMMITs and, in two of three rounds, a stop of the database."""
    wire.armed += CUTS + 1
    if number % 3 != 2:
        await asyncio.to_thread(server.stop, signal.SIGQUIT)
        await asyncio.to_thread(server.start)


@pytest.mark.timeout(300 + 60 * ROUNDS)
async def test_nothing_acknowledged_is_lost_whatever_happens_to_the_database(tmp_path: Path) -> None:
    dice, trouble = random.Random(SEED), Counter[str]()
    arrived: set[str] = set()
    sent: set[str] = set()
    with cluster(16, DURABLE) as server:
        name = server.database().rsplit("/", 1)[1]
        async with AsyncExitStack() as stack:
            wire = await stack.enter_async_context(wired(server.port, dice))
            provider = await stack.enter_async_context(stub("raw"))
            downstream = await stack.enter_async_context(stub("raw"))
            ports = [free_port() for _ in range(REPLICAS)]
            services = []
            for port in ports:
                environment = settings_of(
                    str(tmp_path),
                    port,
                    provider,
                    database_url=f"postgresql://postgres@127.0.0.1:{wire.port}/{name}",
                    secret_keys=SECRET,
                    public_url=f"http://127.0.0.1:{ports[0]}",
                )
                services.append(await stack.enter_async_context(serving(environment, port, provider)))
            await services[0].endpoint(f"http://127.0.0.1:{downstream}/hook")
            for number in range(ROUNDS):
                requests, jobs = await services[0].callbacks(JOBS)
                sent |= set(jobs)
                sending = asyncio.create_task(_acknowledged(services, requests, trouble))
                await _trouble(server, wire, number)
                assert await sending == JOBS
                print(f"round {number + 1} of {ROUNDS}: {wire.cuts} cuts, {dict(trouble)}", flush=True)
            wire.armed = 0
            counted = await terminal_events(services[1])
            assert set(counted) == sent
            assert set(counted.values()) == {1}
            await delivered(downstream, arrived, sent)
            assert server.sql(name, STALE) == "0"
            await asyncio.to_thread(_stopped, services)
