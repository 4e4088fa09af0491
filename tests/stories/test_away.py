"""Outcomes are not lost while the store is away, or when the clock steps."""

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
async def locked(house: Deployment) -> AsyncIterator[None]:
    """Another program holds locks that no outcome of work passes."""
    path = house.folder / "story.db"
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


async def accepted(house: Deployment) -> int:
    """Return how many jobs the providers took."""
    return sum(house.world.accepted.values())


async def waiting(house: Deployment, job: dict[str, Any]) -> str | None:
    """Return why a job waits."""
    found = (await house.job(job["id"]))["waiting"]
    return found["reason"] if found else None


async def test_an_answer_that_cannot_be_stored_waits_for_the_store(tmp_path: Path) -> None:
    async with deployed(tmp_path, QUICK) as house:
        gate = gated(house)
        job = await house.submit(asking("aiml"))
        await house.in_state(job["id"], "submitting")
        async with locked(house):
            gate.open.set()
            await house.until(lambda: waiting(house, job), lambda reason: reason == "store")
            assert (await house.job(job["id"]))["state"] == "submitting"
        done = await house.final(job["id"])
        assert (done["state"], done["waiting"]) == ("succeeded", None)
        assert await accepted(house) == 1
        assert "job.unconfirmed" not in await event_types(house, job["id"])


async def test_a_step_of_the_clock_takes_no_submission_from_its_worker(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, QUICK, clock=moving.clock) as house:
        gate = gated(house)
        job = await house.submit(asking("aiml"))
        await house.in_state(job["id"], "submitting")
        moving.wall += timedelta(hours=1)
        await house.services.workers[Work.SUBMIT].tick()
        gate.open.set()
        done = await house.final(job["id"])
        assert done["state"] == "succeeded"
        assert await accepted(house) == 1
        assert "job.unconfirmed" not in await event_types(house, job["id"])


@pytest.mark.parametrize(("status", "state"), [(204, "delivered"), (410, "canceled")])
async def test_an_attempt_that_cannot_be_stored_waits_for_the_store(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int, state: str
) -> None:
    caplog.set_level(logging.DEBUG, "ringback.fanout")
    async with deployed(tmp_path, SILENT) as house:
        endpoint = await house.subscribe("job.canceled")
        house.hook.hold, house.hook.status = asyncio.Event(), status
        job = await ended_job(house)
        await house.until(lambda: asyncio.sleep(0, house.hook.deliveries), bool)
        async with locked(house):
            house.hook.hold.set()
            await house.until(
                lambda: asyncio.sleep(0, caplog.text), lambda text: "waits for the store" in text
            )
        delivery = await settled(house, job=job["id"])
        assert (delivery["state"], [one["status"] for one in delivery["attempts"]]) == (state, [status])
        assert len(house.hook.deliveries) == 1
        wanted = "active" if status == 204 else "disabled"
        path = f"/v1/endpoints/{endpoint['id']}"
        await house.until(lambda: asked(house, "GET", path), lambda told: told["state"] == wanted)
