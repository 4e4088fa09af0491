"""`kill -9` at random moments under load: no acknowledged callback is lost, no terminal event doubled.

A moment is a number of acknowledgements, drawn from a seed, so that the machine's speed does not matter.
`PROOF_ROUNDS` is the number of kills.
"""

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from receiver.domain.event_types import JOB_FINAL
from receiver.egress.http1 import Broken
from tests.bench.deployment import Service, notes, serving, settings_of, stub
from tests.bench.load import connect
from tests.ports import free_port

ROUNDS = int(os.environ.get("PROOF_ROUNDS", "3"))
JOBS = 120
SEED = 20261121
BOUND = 150.0


async def _until_killed(ours: Service, requests: dict[str, bytes], kill_after: int) -> set[str]:
    """Send callbacks until the service is killed. Returns the jobs with an acknowledged callback."""
    acknowledged: set[str] = set()
    waiting = iter(requests.items())

    async def one() -> None:
        connection = await connect(ours.port)
        for job, request in waiting:
            try:
                answer = await connection.ask(request, 4096)
            except (Broken, OSError):
                return
            assert answer.status == 200, answer.body
            acknowledged.add(job)
            if len(acknowledged) == kill_after:
                ours.process.kill()

    await asyncio.gather(*(one() for _ in range(16)))
    ours.process.kill()
    ours.process.wait()
    return acknowledged


async def terminal_events(ours: Service) -> Counter[str]:
    """Return the number of terminal events of each job, by the feed."""
    counted: Counter[str] = Counter()
    after = "0"
    while True:
        page = (await ours.client.get("/v1/events", params={"after": after, "limit": 200})).json()
        counted.update(event["data"]["id"] for event in page["data"] if event["type"] in JOB_FINAL)
        after = page["next_cursor"]
        if not page["has_more"]:
            return counted


async def delivered(downstream: int, seen: set[str], wanted: set[str]) -> None:
    async with asyncio.timeout(BOUND):
        while not wanted <= seen:
            seen |= {job for job, _, _ in (await notes(downstream))["arrived"]}
            await asyncio.sleep(0.05)


@pytest.mark.timeout(300 + 60 * ROUNDS)
async def test_killed_under_load_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    port, sent, arrived = free_port(), set[str](), set[str]()
    async with stub("raw") as provider, stub("raw") as downstream:
        environment = settings_of(str(tmp_path), port, provider)
        for number in range(ROUNDS):
            async with serving(environment, port, provider) as ours:
                if number == 0:
                    await ours.endpoint(f"http://127.0.0.1:{downstream}/hook")
                made, jobs = await ours.callbacks(JOBS)
                requests = dict(zip(jobs, made, strict=True))
                acknowledged = await _until_killed(ours, requests, dice.randint(1, JOBS))
                print(f"kill {number + 1} of {ROUNDS}: {len(acknowledged)} acknowledged", flush=True)
            async with serving(environment, port, provider) as ours:
                counted = await terminal_events(ours)
                assert not [job for job in acknowledged if counted[job] != 1], (
                    "an acknowledged callback is lost"
                )
                await _until_killed(ours, {job: requests[job] for job in jobs if job not in acknowledged}, 0)
            sent |= set(jobs)
        async with serving(environment, port, provider) as ours:
            counted = await terminal_events(ours)
            assert set(counted) == sent
            assert set(counted.values()) == {1}
            await delivered(downstream, arrived, sent)
