"""Deliveries to unproven one-off callback origins: a few at once, the others in line."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from tests.stories.deployment import Hook, deployed
from tests.stories.tools import SILENT, downstream, ended_job, listed, subscribe

JOBS, PLACES = 9, 2


def origin(hook: Hook, number: int) -> str:
    """Return a callback URL with an origin of its own."""
    return f"http://one-{number}.localhost:{urlsplit(hook.url).port}/own"


async def test_strangers_wait_in_line_and_hold_up_no_endpoint(tmp_path: Path) -> None:
    async with deployed(tmp_path, SILENT, retry_schedule="[0.05]") as deployment, downstream() as known:
        deployment.services.core.limits.unproven.places = PLACES
        await subscribe(deployment, known, "job.canceled")
        deployment.hook.hold = asyncio.Event()
        deployment.hook.answers = [(500, {})] * 3
        for number in range(JOBS):
            await ended_job(deployment, callback_url=origin(deployment.hook, number))
        await deployment.until(lambda: asyncio.sleep(0, known.deliveries), lambda told: len(told) == JOBS)
        await deployment.until(
            lambda: asyncio.sleep(0, deployment.hook.deliveries), lambda told: len(told) == PLACES
        )
        deployment.hook.hold.set()
        await deployment.until(
            lambda: listed(deployment, "/v1/deliveries", state="delivered"),
            lambda told: len(told) == 2 * JOBS,
        )
        assert len(deployment.hook.deliveries) == JOBS + 3
        assert deployment.services.core.limits.unproven.taken == 0
