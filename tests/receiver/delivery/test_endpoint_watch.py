"""The watch over endpoints: the consequences of failure, their announcement, and the stored successes."""

import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from handlers import json
from receiver.delivery.endpoint_watch import EndpointWatch
from receiver.domain.endpoint_health import OPENS_AFTER, EndpointHealth
from receiver.domain.errors import StoreUnavailable
from receiver.domain.model import Endpoint, EndpointState, Work
from receiver.store import endpoint_health
from tests.receiver.store.test_endpoint_health import tried
from tests.receiver.store_fixture import START, StoreFixture

DAY = timedelta(days=1)


@pytest.fixture
def watch(fixture: StoreFixture) -> EndpointWatch:
    """Return the watch of a service that disables an endpoint after two days."""
    return replace(fixture.services.sender.watch, disable_after=2 * DAY)


async def failed(fixture: StoreFixture, after: timedelta, failures: int = 1) -> EndpointHealth:
    """Return the health of an endpoint whose last attempt failed so long after the first one."""
    fixture.clock.at = START + after
    health = EndpointHealth(
        failures=failures, failing_since=START, last_at=fixture.clock.at, last_error="connect: refused"
    )
    await fixture.store.write(lambda: endpoint_health.note([tried(START)]))
    return health


async def told(fixture: StoreFixture) -> list[tuple[str, dict[str, object], list[str]]]:
    """Return every event with its data and the endpoints that it is delivered to."""
    found = await fixture.query("select id, type, body from event order by seq")
    targets = await fixture.query("select event, target from delivery order by id")
    return [
        (
            row["type"],
            json.read_object(bytes(row["body"]))["data"],
            [one["target"] for one in targets if one["event"] == row["id"]],
        )
        for row in found
    ]


async def two(fixture: StoreFixture) -> Endpoint:
    """Return an endpoint that takes events about endpoints, beside another one."""
    await fixture.endpoint("ep_other", "endpoint.*")
    return await fixture.endpoint("ep_1", "endpoint.*", "job.*")


async def test_failure_is_announced_once_at_half_time_to_the_others(
    fixture: StoreFixture, watch: EndpointWatch, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = await two(fixture)
    await watch.follow(endpoint, await failed(fixture, DAY - timedelta(seconds=1)))
    assert await told(fixture) == []
    health = await failed(fixture, DAY)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        await watch.follow(endpoint, health)
        await watch.follow(endpoint, health)
    [(event_type, data, targets)] = await told(fixture)
    assert (event_type, targets) == ("endpoint.failing", ["ep_other"])
    assert data == {
        "object": "endpoint",
        "id": "ep_1",
        "url": "https://app.example",
        "state": "active",
        "failing_since": "2026-11-21T10:00:00.000Z",
        "disable_at": "2026-11-23T10:00:00.000Z",
        "last_status": None,
        "last_error": "connect: refused",
        "sequence": 1,
    }
    [record] = caplog.records
    assert record.message == (
        "endpoint ep_1 did nothing but fail since 2026-11-21T10:00:00.000Z; "
        "it is disabled at 2026-11-23T10:00:00.000Z"
    )


async def test_an_endpoint_that_failed_long_enough_is_disabled(
    fixture: StoreFixture, watch: EndpointWatch
) -> None:
    endpoint = await two(fixture)
    await watch.follow(endpoint, await failed(fixture, 2 * DAY))
    stored = await fixture.services.api.endpoints.get("ep_1")
    assert stored.state is EndpointState.DISABLED
    assert stored.disabled_reason == "every attempt failed since 2026-11-21T10:00:00.000Z"
    # Where no attempt came after half of the time, it is announced in the same moment, and first.
    found = [(event_type, data["state"], targets) for event_type, data, targets in await told(fixture)]
    assert found == [
        ("endpoint.failing", "active", ["ep_other"]),
        ("endpoint.disabled", "disabled", ["ep_other"]),
    ]


async def test_an_endpoint_that_was_announced_is_only_disabled(
    fixture: StoreFixture, watch: EndpointWatch
) -> None:
    endpoint = await two(fixture)
    await watch.follow(endpoint, await failed(fixture, DAY))
    await watch.follow(endpoint, replace(await failed(fixture, 2 * DAY), announced=True))
    assert [event_type for event_type, _, _ in await told(fixture)] == [
        "endpoint.failing",
        "endpoint.disabled",
    ]


async def test_an_open_breaker_leaves_one_probe(fixture: StoreFixture, watch: EndpointWatch) -> None:
    endpoint, limits = await two(fixture), fixture.services.core.limits
    await watch.follow(endpoint, await failed(fixture, timedelta(seconds=20), OPENS_AFTER - 1))
    assert limits.room(Work.DELIVER, "ep_1") == 4
    await watch.follow(endpoint, await failed(fixture, timedelta(seconds=20), OPENS_AFTER))
    assert limits.held("ep_1") == 10.0
    assert limits.room(Work.DELIVER, "ep_1") == 0
    limits.end_hold("ep_1")
    assert limits.room(Work.DELIVER, "ep_1") == 1
    limits.succeeded("ep_1")
    assert limits.room(Work.DELIVER, "ep_1") == 2


async def test_nothing_follows_from_a_success(fixture: StoreFixture, watch: EndpointWatch) -> None:
    endpoint = await two(fixture)
    fixture.clock.at = START + 9 * DAY
    await watch.follow(endpoint, EndpointHealth(last_at=fixture.clock.at, last_status=204))
    assert await told(fixture) == []
    assert fixture.services.core.limits.room(Work.DELIVER, "ep_1") == 4


async def test_successes_are_stored_once_a_second_and_the_last_one_in_the_end(
    fixture: StoreFixture, watch: EndpointWatch
) -> None:
    await two(fixture)
    found = []
    for tenths in (0, 1, 9, 10, 11):
        fixture.clock.at = START + timedelta(seconds=tenths / 10)
        found.append(watch.notes(tried(fixture.clock.at, status=200)))
    assert found == [True, False, False, True, False]
    await watch.flush()
    health, _, _ = await fixture.store.read(endpoint_health.of("ep_1"))
    assert health == EndpointHealth(last_at=fixture.clock.at, last_status=200)


async def test_a_success_is_not_stored_after_a_later_failure(
    fixture: StoreFixture, watch: EndpointWatch
) -> None:
    await two(fixture)
    later = START + timedelta(seconds=0.2)
    assert watch.notes(tried(START, status=200))
    assert not watch.notes(tried(START + timedelta(seconds=0.1), status=200))
    assert watch.notes(tried(later))
    await fixture.store.write(lambda: endpoint_health.note([tried(later)]))
    await watch.flush()
    health, _, _ = await fixture.store.read(endpoint_health.of("ep_1"))
    assert (health.failing_since, health.last_status) == (later, 500)
    assert watch.notes(tried(later, status=200))
    assert watch.notes(tried(later, status=200, counts=False))


async def test_a_success_that_cannot_be_stored_now_is_stored_later_unless_a_failure_came(
    fixture: StoreFixture, watch: EndpointWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two(fixture)
    last = START + timedelta(seconds=0.5)
    for endpoint_id in ("ep_1", "ep_other"):
        assert watch.notes(tried(START, endpoint_id, 200))
        assert not watch.notes(tried(last, endpoint_id, 200))

    async def away(_transaction: object) -> None:
        assert watch.notes(tried(last, "ep_other"))
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(watch.store, "write", away)
        with pytest.raises(StoreUnavailable):
            await watch.flush()
        health, _, owed = await fixture.services.api.endpoints.health("ep_1")
    assert (health.last_at, owed.count) == (None, 0)
    await watch.flush()
    stored = [(await fixture.store.read(endpoint_health.of(one)))[0] for one in ("ep_1", "ep_other")]
    assert [one.last_at for one in stored] == [last, None]
