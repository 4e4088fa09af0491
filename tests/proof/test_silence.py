"""A replica that falls silent in the middle of its work: what it holds is others' within 30 s, and what it
says when it comes back changes nothing. It may be stopped and go on later, killed, or cut off.
"""

import asyncio
import json
import random
import signal
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from receiver.sandbox.command import listening
from tests.bench.load import closed
from tests.bench.stage import Service, serving, settings_of, stub, up
from tests.cluster import cluster
from tests.ports import free_port
from tests.proof.test_database import DURABLE, SECRET, STALE
from tests.proof.test_kill import terminal_events
from tests.proof.wire import wired

JOBS = 20
TAKEN_OVER = 30.0
"""Seconds within which a silent replica's leases are others'; the promise of the issue and of the README."""
BOUND = 60.0
HELD = """
select delivery.job from due join delivery on delivery.id = due.id
where leased = 1 and owner = (select min(id) from replica)
"""


class Holding:
    """A downstream that answers nobody until it is let go."""

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
        """Wait until each job's event came so often."""
        async with asyncio.timeout(BOUND):
            while any(self.came[job] < times for job in jobs):
                self._news.clear()
                await self._news.wait()


async def settled(service: Service) -> list[tuple[str, int]]:
    """Each delivery's state and how many attempts were made."""
    told = (await service.client.get("/v1/deliveries", params={"limit": 200})).json()["data"]
    return [(one["state"], one["attempts_made"]) for one in told]


@pytest.mark.parametrize("how", ["stopped", "killed", "cut off"])
@pytest.mark.timeout(240)
async def test_what_a_silent_replica_holds_is_taken_over(tmp_path: Path, how: str) -> None:
    hook = Holding()
    with cluster(16, DURABLE) as server:
        name = server.database().rsplit("/", 1)[1]
        async with AsyncExitStack() as stack:
            url = await stack.enter_async_context(listening(hook))
            wire = await stack.enter_async_context(wired(server.port, random.Random(0)))
            provider = await stack.enter_async_context(stub("raw"))
            ports = [free_port(), free_port()]
            services = []
            for port, way in zip(ports, (wire.port, server.port), strict=True):
                environment = settings_of(
                    str(tmp_path),
                    port,
                    provider,
                    database_url=f"postgresql://postgres@127.0.0.1:{way}/{name}",
                    secret_keys=SECRET,
                    public_url=f"http://127.0.0.1:{ports[0]}",
                    delivery_timeout="120",
                )
                services.append(await stack.enter_async_context(serving(environment, port, provider)))
            silent, other = services
            await silent.endpoint(f"{url}/hook")
            requests, jobs = await silent.callbacks(JOBS)
            assert not (await closed(silent.port, requests)).failed
            held = server.sql(name, HELD).split()
            assert held
            await hook.until(1, held)
            fell_silent = time.monotonic()
            if how == "cut off":
                wire.down = True
                wire.close()
            else:
                silent.process.send_signal(signal.SIGKILL if how == "killed" else signal.SIGSTOP)
            hook.go.set()
            await hook.until(2, held)
            took = time.monotonic() - fell_silent
            await hook.until(1, jobs)
            print(f"{how}: {len(held)} deliveries taken over after {took:.1f} s", flush=True)
            assert took < TAKEN_OVER
            wire.down = False
            silent.process.send_signal(signal.SIGCONT)
            async with asyncio.timeout(BOUND):
                while {state for state, _ in await settled(other)} != {"delivered"}:  # noqa: ASYNC110  # it asks
                    await asyncio.sleep(0.1)
                if how != "killed":
                    await up(silent.process, silent.port, "/readyz")
            assert set((await terminal_events(other)).values()) == {1}
            assert server.sql(name, STALE) == "0"
            assert len(await settled(other)) == JOBS
