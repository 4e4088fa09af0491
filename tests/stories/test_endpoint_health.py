"""The health of endpoints: shown, a breaker that drops nothing, and an end that is announced and undone."""

import functools
import re
from datetime import datetime
from pathlib import Path
from typing import Any

from receiver.domain.endpoint_health import OPENS_AFTER
from tests.stories.deployment import Deployment, deployed
from tests.stories.tools import Moving, asked, downstream, ended_job, listed, settled, subscribe

PLENTY = [1.0] * 20


async def shown(deployment: Deployment, endpoint: dict[str, Any]) -> dict[str, Any]:
    """Return an endpoint with its health."""
    return await asked(deployment, "GET", f"/v1/endpoints/{endpoint['id']}")


def ends_with(kind: str, found: list[dict[str, Any]]) -> bool:
    """Return whether the newest of these events is of a kind."""
    return bool(found) and found[-1]["type"] == kind


async def test_an_endpoint_shows_how_it_does_and_what_it_is_owed(deployment: Deployment) -> None:
    made = await deployment.subscribe("job.canceled", retry_schedule=[3600])
    fresh = await shown(deployment, made)
    assert (fresh["last_attempt"], fresh["owed"], fresh["breaker"]) == (None, 0, "closed")
    deployment.hook.status = 500
    job = await ended_job(deployment)
    [delivery] = await deployment.until(
        lambda: listed(deployment, "/v1/deliveries", job=job["id"]),
        lambda found: found[0]["attempts_made"] == 1,
    )
    [attempt] = (await asked(deployment, "GET", f"/v1/deliveries/{delivery['id']}"))["attempts"]
    failing = await shown(deployment, made)
    assert failing["failing_since"] == attempt["at"]
    assert failing["last_attempt"] == {"at": attempt["at"], "status": 500, "error": None}
    assert (failing["owed"], failing["oldest_owed_at"]) == (1, delivery["created_at"])
    deployment.hook.status = 204
    await asked(deployment, "POST", f"/v1/deliveries/{delivery['id']}/retry", 202)
    await settled(deployment, job=job["id"])
    retried = await shown(deployment, made)
    assert retried["failing_since"] == attempt["at"]
    assert (retried["last_attempt"]["status"], retried["owed"], retried["oldest_owed_at"]) == (204, 0, None)
    other = await ended_job(deployment)
    await settled(deployment, job=other["id"])
    assert (await shown(deployment, made))["failing_since"] is None


async def test_a_breaker_saves_attempts_and_drops_nothing(tmp_path: Path) -> None:
    moving = Moving()
    async with deployed(tmp_path, clock=moving.clock) as deployment:
        made = await deployment.subscribe("job.canceled", retry_schedule=PLENTY)
        moving.stop()
        deployment.hook.status = 500
        jobs = [await ended_job(deployment) for _ in range(OPENS_AFTER + 20)]
        opened = await deployment.until(
            lambda: shown(deployment, made), lambda found: found["breaker"] == "open"
        )
        assert opened["owed"] == len(jobs)
        assert OPENS_AFTER <= len(deployment.hook.deliveries) < OPENS_AFTER + 4
        # What waits says why, and until when.
        [event] = await listed(deployment, "/v1/events", job=jobs[-1]["id"])
        [place] = (await asked(deployment, "GET", f"/v1/events/{event['id']}"))["deliveries"]
        assert place["status"] == "pending"
        assert re.search(r"the endpoint is left alone until \d{4}-\S+Z", place["reason"])
        [waiting] = await listed(deployment, "/v1/deliveries", job=jobs[-1]["id"])
        assert datetime.fromisoformat(waiting["next_attempt_at"]) > moving.clock.now()
        deployment.hook.status = 204
        moving.wait(6.0)
        assert (await shown(deployment, made))["breaker"] == "half-open"
        moving.go()
        closed = await deployment.until(lambda: shown(deployment, made), lambda found: found["owed"] == 0)
        assert (closed["breaker"], closed["failing_since"]) == ("closed", None)
        delivered = {event["data"]["id"] for event in deployment.hook.events()}
        assert delivered == {job["id"] for job in jobs}
        states = {one["state"] for one in await listed(deployment, "/v1/deliveries")}
        assert states == {"delivered"}


async def test_an_endpoint_that_only_fails_is_announced_disabled_and_resumed(tmp_path: Path) -> None:
    moving = Moving()
    async with (
        deployed(tmp_path, clock=moving.clock, endpoint_disable_after="100") as deployment,
        downstream() as other,
    ):
        await subscribe(deployment, other, "endpoint.*")
        made = await deployment.subscribe("job.canceled", "endpoint.*", retry_schedule=[3600])
        deployment.hook.status = 500
        await ended_job(deployment)
        await deployment.until(
            lambda: shown(deployment, made), lambda found: found["last_attempt"] is not None
        )
        for kind in ("endpoint.failing", "endpoint.disabled"):
            moving.wait(55.0)
            await ended_job(deployment)
            await deployment.until(
                lambda: listed(deployment, "/v1/events", type="endpoint.*"),
                functools.partial(ends_with, kind),
            )
        await deployment.until(lambda: listed(deployment, "/v1/events"), lambda _: len(other.deliveries) == 2)
        assert [event["type"] for event in other.events()] == ["endpoint.failing", "endpoint.disabled"]
        disabled = await shown(deployment, made)
        assert (disabled["state"], disabled["owed"]) == ("disabled", 3)
        assert disabled["disabled_reason"] == f"every attempt failed since {disabled['failing_since']}"
        deployment.hook.status = 204
        collected = await ended_job(deployment)
        assert (await asked(deployment, "POST", f"/v1/endpoints/{made['id']}/resume"))["state"] == "active"
        await settled(deployment, job=collected["id"])
        # What waited for a later attempt goes out at once, too.
        resumed = await deployment.until(lambda: shown(deployment, made), lambda told: told["owed"] == 0)
        assert resumed["failing_since"] is None
