"""Every method of the client, once, against a real service."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from ringback import (
    AsyncRingback,
    JobCanceled,
    JobUnconfirmed,
    NotFound,
    Ringback,
    ServiceError,
    Webhook,
)
from tests.stories.deployment import KEY, PATIENCE, Deployment, asking

LOST = "a tide, lost-answer, lost"


@pytest.fixture
def used(deployment: Deployment) -> Iterator[Ringback]:
    """Yield a blocking client of the deployment, to be used in a thread."""
    with Ringback(deployment.url, KEY, timeout=PATIENCE) as client:
        yield client


async def test_every_method_about_jobs_and_events(used: Ringback) -> None:
    await asyncio.to_thread(jobs_and_events, used)


def jobs_and_events(client: Ringback) -> None:
    """Use every method about jobs and events."""
    done = client.jobs.run(**asking("apiframe"), metadata={"order": "42"}, timeout=PATIENCE)
    assert done.succeeded
    assert client.jobs.wait(done.id) == client.jobs.get(done.id, wait=1)
    assert done.assets[0].kind == "video"
    job = client.jobs.submit(**asking("aiml"), wait=1)
    assert client.jobs.cancel(job.id).state == "canceled"
    assert [one.id for one in client.jobs.list(metadata={"order": "42"})] == [done.id]
    assert [one.id for one in client.jobs.list(page_size=1)] == [job.id, done.id]
    assert list(client.jobs.list(created_after=datetime.now(UTC) + timedelta(days=1))) == []
    assert "event" in {entry.kind for entry in client.jobs.timeline(done.id, page_size=2)}

    lost = client.jobs.submit(**asking("apiframe", LOST))
    event = next(client.events.follow(type="job.unconfirmed", job=lost.id))
    assert isinstance(event, JobUnconfirmed)
    assert client.jobs.resolve(lost.id, fail=True).state == "failed"
    page = client.events.page(job=job.id, type="job.canceled", limit=5)
    assert [type(one) for one in page.items] == [JobCanceled]
    assert not page.has_more
    assert client.events.get(page.items[0].id).deliveries == ()
    token = client.jobs.token(done.id, seconds=60)
    assert token.expires_at > datetime.now(UTC)
    with Ringback(client._settings.url, token.token) as reader:
        assert reader.jobs.get(done.id).id == token.job == done.id
        with pytest.raises(ServiceError, match="forbidden"):
            reader.jobs.cancel(done.id)
    revoked = client.jobs.revoke_assets(done.id)
    assert [asset.url for asset in revoked.assets] == [None]
    client.jobs.erase(job.id)
    with pytest.raises(NotFound):
        client.jobs.get(job.id)


async def test_every_method_about_endpoints(deployment: Deployment, used: Ringback) -> None:
    await asyncio.to_thread(endpoints, used, deployment.hook.url)
    assert len(deployment.hook.deliveries) == 1


def endpoints(client: Ringback, url: str) -> None:
    """Use every method about endpoints."""
    made = client.endpoints.create(url, events=["job.*"], headers={"x-env": "prod"}, retry_schedule=[])
    assert repr(Webhook(made.secret)) == "Webhook(1 keys)"
    assert client.endpoints.secret(made.id).secret == made.secret
    assert client.endpoints.get(made.id).owed == 0
    assert client.endpoints.get(made.id).retry_schedule == ()
    assert [one.id for one in client.endpoints.list()] == [made.id]
    changed = client.endpoints.update(made.id, description="a note", retry_schedule=None)
    assert (changed.description, changed.retry_schedule) == ("a note", None)
    assert client.endpoints.test(made.id).status == 204
    assert client.endpoints.pause(made.id).state == "paused"
    assert client.endpoints.resume(made.id).state == "active"
    rotated = client.endpoints.rotate_secret(made.id, overlap_seconds=60)
    assert rotated.secret != made.secret
    assert len(rotated.previous_secrets_until) == 1
    assert client.endpoints.explain(made.id, type="job.failed", data={}).matches
    client.endpoints.delete(made.id)
    with pytest.raises(NotFound):
        client.endpoints.get(made.id)


async def test_every_method_about_deliveries_and_replays(deployment: Deployment, used: Ringback) -> None:
    await asyncio.to_thread(deliveries_and_replays, used, deployment.hook.url)


def deliveries_and_replays(client: Ringback, url: str) -> None:
    """Use every method about deliveries and replays."""
    endpoint = client.endpoints.create(url, events=["job.*"], state="paused")
    job = client.jobs.cancel(client.jobs.submit(**asking("aiml")).id)
    [pending] = client.deliveries.list(job=job.id, endpoint=endpoint.id, state="pending")
    assert client.deliveries.cancel(pending.id).state == "canceled"
    shown = client.deliveries.get(pending.id)
    assert (shown.event, shown.type, shown.attempts) == (pending.event, "job.canceled", ())
    assert client.deliveries.retry(pending.id).state == "pending"
    assert client.endpoints.replay(endpoint.id, only="all", dry_run=True).total == 1
    replay = client.endpoints.replay(endpoint.id, only="all", since=job.created_at)
    assert replay.id is not None
    assert client.replays.get(replay.id).only == "all"
    assert [one.id for one in client.replays.list()] == [replay.id]
    assert client.replays.cancel(replay.id).state == "canceled"


async def test_every_method_about_keys_and_providers(used: Ringback) -> None:
    await asyncio.to_thread(keys_and_providers, used)


def keys_and_providers(client: Ringback) -> None:
    """Use every method about keys, providers and signing keys."""
    ends = datetime.now(UTC) + timedelta(days=1)
    made = client.keys.create("a reader", ["jobs:read"], expires_at=ends)
    with Ringback(client._settings.url, made.key) as reader:
        assert "apiframe" in {one.id for one in reader.providers.list()}
        with pytest.raises(ServiceError) as caught:
            reader.keys.delete(made.id)
        assert (caught.value.code, caught.value.status) == ("forbidden", 403)
    assert made.id in {key.id for key in client.keys.list()}
    assert list(client.sources.list()) == []
    client.keys.delete(made.id)
    assert made.id not in {key.id for key in client.keys.list()}
    [key] = client.signing_keys()
    assert repr(Webhook(key.public_key)) == "Webhook(1 keys)"


async def test_the_async_client_does_the_same(deployment: Deployment, client: AsyncRingback) -> None:
    endpoint = await client.endpoints.create(deployment.hook.url)
    job = await client.jobs.run(**asking("imagineo"), timeout=PATIENCE)
    assert job.succeeded
    assert [one.id async for one in client.jobs.list()] == [job.id]
    assert "submission" in [entry.kind async for entry in client.jobs.timeline(job.id)]
    event = await anext(client.events.follow(type="job.succeeded"))
    assert (await client.events.get(event.id)).deliveries[0].endpoint == endpoint.id
    assert [one.type async for one in client.deliveries.list(endpoint=endpoint.id)] == ["job.succeeded"]
    await client.endpoints.delete(endpoint.id)
    assert [one async for one in client.endpoints.list()] == []
