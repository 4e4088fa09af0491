"""Steps of the wall clock by an hour, both ways and again and again, under load.

Nothing is lost or doubled, and work goes on at once. `PROOF_ROUNDS` is the number of steps.
"""

import asyncio
import os
from pathlib import Path

import pytest

from tests.bench.deployment import serving, settings_of, stub
from tests.bench.load import closed
from tests.ports import free_port
from tests.proof.test_kill import delivered, terminal_events

ROUNDS = min(int(os.environ.get("PROOF_ROUNDS", "3")), 20)
JOBS = 100
HOUR = 3600
STEPS = (HOUR, 0, -HOUR, 0)
"""The offset of the clock in each round, in seconds: every step is one of an hour."""
BOUND = 150.0


@pytest.mark.timeout(300 + 60 * ROUNDS)
async def test_steps_of_the_clock_lose_double_and_delay_nothing(tmp_path: Path) -> None:
    port, sent, arrived = free_port(), set[str](), set[str]()
    steps = tmp_path / "steps"
    steps.write_text("0")
    async with stub("raw") as provider, stub("raw") as downstream:
        environment = settings_of(str(tmp_path), port, provider, job_deadline="1800")
        environment["STEPPED_BY"] = str(steps)
        async with serving(environment, port, provider, program="tests.proof.stepped") as ours:
            await ours.endpoint(f"http://127.0.0.1:{downstream}/hook")
            for number in range(ROUNDS):
                made, jobs = await ours.callbacks(JOBS)
                sent |= set(jobs)
                half = JOBS // 2
                assert not (await closed(ours.port, made[:half])).failed
                steps.write_text(str(STEPS[number % len(STEPS)]))
                assert not (await closed(ours.port, made[half:])).failed
                await asyncio.wait_for(delivered(downstream, arrived, sent), BOUND)
                print(f"step {number + 1} of {ROUNDS}: {len(arrived)} delivered", flush=True)
            counted = await terminal_events(ours)
            assert set(counted) == sent
            assert set(counted.values()) == {1}
            for state in ("expired", "unconfirmed", "failed"):
                found = await ours.client.get("/v1/jobs", params={"state": state})
                assert found.json()["data"] == []
