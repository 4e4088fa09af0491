"""Outcomes while the store is away, or when the clock steps: none is lost."""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from receiver.domain.model import Work
from receiver.sandbox.world import Knobs
from tests.engines import ENGINES
from tests.stories.deployment import Deployment, asking, deployed
from tests.stories.tools import SILENT, Moving, asked, ended_job, event_types, gated, settled

QUICK = Knobs(takes=0.0)


@contextlib.asynccontextmanager
async def locked(deployment: Deployment) -> AsyncIterator[None]:
    """Hold locks of another program that no outcome of work passes, as long as the context lasts."""
    path = deployment.folder / "story.db"
    if ENGINES.sqlite:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("begin immediate")
            yield
            other.execute("rollback")
    else:
        connection = await asyncpg.connect(ENGINES.url(path), statement_cache_size=0)
        try:
            await connection.execute("begin; lock table evidence, attempt in share mode")
            yield
            await connection.execute("rollback")
        finally:
            connection.terminate()


async def accepted(deployment: Deployment) -> int:
    """Return the number of jobs that the providers accepted."""
    return sum(deployment.world.accepted.values())


async def waiting(deployment: Deployment, job: dict[str, Any]) -> str | None:
    """Return the reason for which a job waits."""
    found = (await deployment.job(job["id"]))["waiting"]
    return found["reason"] if found else None


async def test_an_answer_that_cannot_be_stored_waits_for_the_store(tmp_path: Path) -> None:
    async with deployed(tmp_path, QUICK) as deployment:
        gate = gated(deployment)
        job = await deployment.submit(asking("aiml"))
        await deployment.in_state(job["id"], "submitting")
        async with locked(deployment):
            gate.open.set()
            await deployment.until(lambda: waiting(deployment, job), lambda reason: reason == "store")
            assert (await deployment.job(job["id"]))["state"] == "submitting"
        done = await deployment.final(job["id"])
        assert (done["state"], done["waiting"]) == ("succeeded", None)
        assert await accepted(deployment) == 1
        assert "job.unconfirmed" not in await event_types(deployment, job["id"])


async def test_a_step_of_the_clock_takes_no_submission_from_its_worker(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, QUICK, clock=moving.clock) as deployment:
        gate = gated(deployment)
        job = await deployment.submit(asking("aiml"))
        await deployment.in_state(job["id"], "submitting")
        moving.wall += timedelta(hours=1)
        await deployment.services.workers[Work.SUBMIT].tick()
        gate.open.set()
        done = await deployment.final(job["id"])
        assert done["state"] == "succeeded"
        assert await accepted(deployment) == 1
        assert "job.unconfirmed" not in await event_types(deployment, job["id"])


@pytest.mark.parametrize(("status", "state"), [(204, "delivered"), (410, "canceled")])
async def test_an_attempt_that_cannot_be_stored_waits_for_the_store(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int, state: str
) -> None:
    caplog.set_level(logging.DEBUG, "ringback.fanout")
    async with deployed(tmp_path, SILENT) as deployment:
        endpoint = await deployment.subscribe("job.canceled")
        deployment.hook.hold, deployment.hook.status = asyncio.Event(), status
        job = await ended_job(deployment)
        await deployment.until(lambda: asyncio.sleep(0, deployment.hook.deliveries), bool)
        async with locked(deployment):
            deployment.hook.hold.set()
            await deployment.until(
                lambda: asyncio.sleep(0, caplog.text), lambda text: "waits for the store" in text
            )
        delivery = await settled(deployment, job=job["id"])
        assert (delivery["state"], [one["status"] for one in delivery["attempts"]]) == (state, [status])
        assert len(deployment.hook.deliveries) == 1
        wanted = "active" if status == 204 else "disabled"
        path = f"/v1/endpoints/{endpoint['id']}"
        await deployment.until(lambda: asked(deployment, "GET", path), lambda told: told["state"] == wanted)
