"""Signals: the first lets running work end, within one grace for all of it; the second ends at once."""

import asyncio
import subprocess
import sys
from pathlib import Path

from receiver.api import application
from receiver.api.server import new_server
from receiver.cli import serve
from receiver.sandbox.world import Knobs
from receiver.work.heartbeat import Role
from tests.stories.deployment import PATIENCE, Deployment, asking, deployed
from tests.stories.tools import SILENT, open_job

HELD = Knobs(takes=3600, latency=600)
"""Settings of providers that take ten minutes for every answer."""
LEAVES = """
import threading
from receiver.cli.serve import leave_threads
threading.Thread(target=threading.Event().wait).start()
leave_threads(3)
"""


async def under_way(deployment: Deployment) -> None:
    """Submit a job, and wait until its submission is on its way."""
    await deployment.submit(asking("apiframe", "a tide, slow"))

    async def accepted() -> int:
        return deployment.world.accepted.total()

    await deployment.until(accepted, lambda count: count == 1)


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    async with deployed(tmp_path, HELD, shutdown_grace="600") as deployment:
        await under_way(deployment)
        http = new_server(application(deployment.services.api), "127.0.0.1", 0, 600)
        stop = serve._stop(http, deployment.services, Role.WORKER)
        stop()
        for _ in range(9):
            await asyncio.sleep(0)
        assert not http.should_exit
        assert deployment.services.core.shutdown.begun
        assert deployment.services.core.shutdown.time_left > 500
        stop()

        async def exits() -> bool:
            return http.should_exit

        await deployment.until(exits, bool)
        assert http.force_exit
        assert deployment.services.core.shutdown.time_left == 0.0


async def test_all_that_stops_shares_one_grace(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT, shutdown_grace="600") as deployment:
        services = deployment.services
        services.core.shutdown.hurry(600.0)
        left = services.core.shutdown.time_left
        services.core.shutdown.hurry(600.0)
        assert services.core.shutdown.time_left <= left
        await services.drain()
        assert services.core.shutdown.time_left <= left
        services.core.shutdown.hurry(0.0)
        await services.drain()
        assert services.core.shutdown.time_left == 0.0


async def test_a_call_that_waits_is_answered_when_the_service_stops(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT, shutdown_grace="600") as deployment:
        job = await open_job(deployment)
        waiting = asyncio.create_task(deployment.job(job["id"], wait=60))

        async def waits() -> bool:
            return bool(deployment.services.core.waiting_calls._jobs)

        await deployment.until(waits, bool)
        await deployment.services.drain()
        assert (await waiting)["state"] == "queued"


def test_a_thread_that_still_waits_does_not_keep_the_process() -> None:
    found = subprocess.run([sys.executable, "-c", LEAVES], timeout=PATIENCE, check=False)
    assert found.returncode == 3
