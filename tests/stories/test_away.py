"""What happened outside while the store was away, or the clock stepped, is not lost."""

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.model import Work
from receiver.sandbox.world import Knobs
from tests.stories.deployment import Deployment, asking, deployed
from tests.stories.tools import Moving, event_types, gated

QUICK = Knobs(takes=0.0)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Another program holds the write lock of the database."""
    with contextlib.closing(sqlite3.connect(folder / "story.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        yield
        other.execute("rollback")


async def accepted(house: Deployment) -> int:
    """Return how many jobs the providers took."""
    return sum(house.world.accepted.values())


async def waiting(house: Deployment, job: dict[str, Any]) -> str | None:
    """Return why a job waits."""
    found = (await house.job(job["id"]))["waiting"]
    return found["reason"] if found else None


@pytest.mark.usefixtures("on_sqlite")
async def test_an_answer_that_cannot_be_stored_waits_for_the_store(tmp_path: Path) -> None:
    async with deployed(tmp_path, QUICK) as house:
        gate = gated(house)
        job = await house.submit(asking("aiml"))
        await house.in_state(job["id"], "submitting")
        with locked(house.folder):
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
