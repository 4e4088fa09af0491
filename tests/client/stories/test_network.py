"""The clients and a real deployment, over a network that loses answers and cuts connections."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from ringback import (
    AsyncRingback,
    EndpointTest,
    FilePlace,
    JobCanceled,
    JobSucceeded,
    MemoryPlace,
    PlaceLost,
    Retry,
    Ringback,
    VerificationError,
    Webhook,
)
from ringback.awaiting import AsyncFollower
from ringback.blocking import Follower
from ringback.following import Following
from tests.flaky import Flaky, flaky
from tests.stories.deployment import KEY, PATIENCE, Deployment, asking, deployed
from tests.stories.tools import SILENT, asked, at_least, ended_job, listed

QUICK = Retry(first=0.01, longest=0.05)
VIDEO: dict[str, Any] = asking("apiframe")
CUTS = 20
"""Disconnects that a follower lives through."""
LARGEST_CUT = 1500
"""Bytes of answers before a cut: less than two pages of one event, so that no cut is left over."""
EVENTS = 24


def blocking(url: str) -> Ringback:
    """Return a blocking client that does not pause for long."""
    return Ringback(url, KEY, retry=QUICK, timeout=PATIENCE)


def awaiting(url: str) -> AsyncRingback:
    """Return an async client that does not pause for long."""
    return AsyncRingback(url, KEY, retry=QUICK, timeout=PATIENCE)


async def connections(proxy: Flaky) -> int:
    """Return the number of connections that a proxy took."""
    return proxy.connections


async def test_a_submission_whose_answer_is_lost_is_charged_once(deployment: Deployment) -> None:
    def submit(url: str) -> str:
        with blocking(url) as client:
            return client.jobs.submit(**VIDEO).id

    async with flaky(deployment.url) as proxy, awaiting(proxy.url) as client:
        proxy.cuts.extend([0, 40])
        first = await asyncio.to_thread(submit, proxy.url)
        assert proxy.cut == 2
        proxy.cuts.append(0)
        second = (await client.jobs.submit(**VIDEO)).id
        assert proxy.cut == 3
    assert first != second
    assert {job["id"] for job in await listed(deployment, "/v1/jobs")} == {first, second}
    for job_id in (first, second):
        assert (await deployment.final(job_id))["state"] == "succeeded"
    assert deployment.world.accepted["apiframe"] == 2


async def test_two_calls_under_one_key_are_one_submission(client: AsyncRingback) -> None:
    first, second = [await client.jobs.submit(**VIDEO, idempotency_key="order-42") for _ in range(2)]
    assert first.id == second.id


async def test_the_secret_of_a_callback_url_outlives_a_lost_answer(deployment: Deployment) -> None:
    async with flaky(deployment.url) as proxy, awaiting(proxy.url) as client:
        proxy.cuts.append(0)
        job = await client.jobs.submit(**VIDEO, callback_url=deployment.hook.url)
        assert (proxy.cut, job.callback_secret is None) == (1, False)
    await deployment.until(lambda: listed(deployment, "/v1/deliveries", job=job.id, state="delivered"), bool)
    [(headers, body)] = deployment.hook.deliveries
    event = Webhook(str(job.callback_secret)).parse(body, headers)
    assert isinstance(event, JobSucceeded)
    assert event.job.id == job.id


async def test_a_wait_lasts_across_a_restart(tmp_path: Path) -> None:
    def wait(url: str, job_id: str) -> str:
        with blocking(url) as client:
            return client.jobs.wait(job_id, timeout=PATIENCE).state

    async with flaky(None) as proxy, awaiting(proxy.url) as client:
        async with deployed(tmp_path, SILENT) as before:
            proxy.target = before.url
            job = await before.submit(asking("apiframe"))
            async_wait = asyncio.ensure_future(client.jobs.wait(job["id"], timeout=PATIENCE))
            thread_wait = asyncio.ensure_future(asyncio.to_thread(wait, proxy.url, job["id"]))
            await before.until(lambda: connections(proxy), at_least(2))
            proxy.target = None
        refused = proxy.connections
        async with deployed(tmp_path, SILENT) as after:
            # Both are refused, and ask again.
            await after.until(lambda: connections(proxy), at_least(refused + 4))
            assert not async_wait.done()
            assert not thread_wait.done()
            proxy.target = after.url
            await asked(after, "POST", f"/v1/jobs/{job['id']}/cancel")
            assert ((await async_wait).state, await thread_wait) == ("canceled", "canceled")


class Killed(Exception):
    """The end of a program within the body of its loop."""


def handled(event_id: str, dice: random.Random, started: list[str], done: list[str]) -> None:
    """Handle an event. Raises `Killed` now and then."""
    started.append(event_id)
    if dice.random() < 0.2:
        raise Killed
    done.append(event_id)


FOLLOWING = Following(page_size=1, wait=1.0)


def follow_in_thread(url: str, file: Path, seed: int) -> tuple[list[str], list[str]]:
    """Follow the feed with a blocking client until every event is handled. Returns those begun and done."""
    dice, started, done = random.Random(seed), list[str](), list[str]()
    with blocking(url) as client:
        while len(done) < EVENTS:
            follower = Follower(client, FilePlace(file), FOLLOWING)
            try:
                for event in follower:
                    handled(event.id, dice, started, done)
                    if len(done) == EVENTS:
                        follower.stop()
            except Killed:
                continue
    return started, done


async def follow_in_thread_of_its_own(url: str, file: Path, seed: int) -> tuple[list[str], list[str]]:
    """Follow the feed with a blocking client in a thread."""
    return await asyncio.to_thread(follow_in_thread, url, file, seed)


async def follow_in_loop(url: str, file: Path, seed: int) -> tuple[list[str], list[str]]:
    """Follow the feed with an async client until every event is handled. Returns those begun and done."""
    dice, started, done = random.Random(seed), list[str](), list[str]()
    async with awaiting(url) as client:
        while len(done) < EVENTS:
            follower = AsyncFollower(client, FilePlace(file), FOLLOWING)
            try:
                async for event in follower:
                    handled(event.id, dice, started, done)
                    if len(done) == EVENTS:
                        follower.stop()
            except Killed:
                continue
    return started, done


def with_repetitions(truth: list[str], seed: int) -> list[str]:
    """Return the events that a follower begins with: one again for each time that it was killed."""
    dice, started, done = random.Random(seed), list[str](), list[str]()
    for event_id in truth:
        while event_id not in done:
            try:
                handled(event_id, dice, started, done)
            except Killed:
                continue
    return started


async def test_a_follower_loses_and_doubles_nothing_across_disconnects_and_kills(
    deployment: Deployment, tmp_path: Path
) -> None:
    for _ in range(EVENTS):
        await ended_job(deployment)
    truth = [event["id"] for event in await listed(deployment, "/v1/events")]
    assert len(truth) == EVENTS
    for seed, follow in ((1, follow_in_thread_of_its_own), (2, follow_in_loop)):
        dice = random.Random(seed)
        async with flaky(deployment.url) as proxy:
            proxy.cuts.extend(dice.randrange(LARGEST_CUT) for _ in range(CUTS))
            started, done = await follow(proxy.url, tmp_path / f"place-{seed}", seed)
            assert proxy.cut == CUTS
        assert done == truth
        assert started == with_repetitions(truth, seed)
        assert len(started) > len(truth)


async def test_a_follower_waits_for_the_next_event_and_across_a_restart(tmp_path: Path) -> None:
    async with flaky(None) as proxy, awaiting(proxy.url) as client:
        follower = client.events.follow(type="job.*", place=FilePlace(tmp_path / "place"))
        for _ in range(2):
            coming = asyncio.ensure_future(anext(follower))
            refused = proxy.connections
            async with deployed(tmp_path) as deployment:
                await deployment.until(lambda: connections(proxy), at_least(refused + 1))
                proxy.target = deployment.url
                job = await ended_job(deployment)
                event = await coming
                proxy.target = None
            assert isinstance(event, JobCanceled)
            assert event.job.id == job["id"]


async def test_a_place_that_is_not_there_any_more_is_an_error_or_a_new_beginning(
    deployment: Deployment, client: AsyncRingback
) -> None:
    job = await ended_job(deployment)
    [oldest] = (await client.events.page()).items
    gone = "evt_" + "0" * (len(oldest.id) - 4)
    with pytest.raises(PlaceLost) as caught:
        await anext(client.events.follow(place=MemoryPlace(gone)))
    assert caught.value.oldest == oldest.id
    told: list[PlaceLost] = []
    event = await anext(client.events.follow(place=MemoryPlace(gone), on_lost=told.append))
    assert isinstance(event, JobCanceled)
    assert (event.job.id, [one.oldest for one in told]) == (job["id"], [oldest.id])


async def test_deliveries_verify_through_a_rotation(deployment: Deployment, client: AsyncRingback) -> None:
    endpoint = await client.endpoints.create(
        deployment.hook.url, events=["job.*", "endpoint.test"], signatures=["v1", "v1a"]
    )
    await client.endpoints.test(endpoint.id)
    rotated = await client.endpoints.rotate_secret(endpoint.id)
    await client.endpoints.test(endpoint.id)
    ended = await client.endpoints.rotate_secret(endpoint.id, overlap_seconds=0)
    await client.endpoints.test(endpoint.id)
    public = [key.public_key for key in await client.signing_keys()]
    keys = (endpoint.secret, rotated.secret, ended.secret)
    assert [[verifies(secret, delivery) for secret in keys] for delivery in deployment.hook.deliveries] == [
        [True, False, False],
        [True, True, False],
        [True, False, True],
    ]
    for headers, body in deployment.hook.deliveries:
        assert isinstance(Webhook(*keys).parse(body, headers), EndpointTest)
        Webhook(*public).verify(body, headers)


def verifies(secret: str, delivery: tuple[dict[str, str], bytes]) -> bool:
    """Return whether a delivery verifies with a secret."""
    headers, body = delivery
    try:
        Webhook(secret).verify(body, headers)
    except VerificationError:
        return False
    return True
