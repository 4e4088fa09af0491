"""The health of endpoints in a real store: noted with attempts, forgiven, and the deliveries owed to each."""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from handlers.contract import Phase
from receiver.domain.endpoint_health import OPENS_AFTER, EndpointHealth
from receiver.store import deliveries, endpoint_health
from receiver.store import endpoints as table
from receiver.store.attempts import Attempt
from receiver.store.endpoint_health import EndpointAttempt, Owed
from receiver.store.settling import Settled, settle
from tests.receiver.store_fixture import START, StoreFixture, told, word

SECOND = timedelta(seconds=1)


def tried(
    at: datetime, endpoint_id: str = "ep_1", status: int | None = 500, *, counts: bool = True
) -> EndpointAttempt:
    """Return an attempt at an endpoint."""
    made = Attempt(
        id="att_1",
        delivery_id="dlv_1",
        at=at,
        status=status,
        latency_ms=1.0,
        error=None if status else "connect: refused",
    )
    delivered = status is not None and status < 300
    return EndpointAttempt(endpoint_id=endpoint_id, attempt=made, delivered=delivered, counts=counts)


async def note(fixture: StoreFixture, *attempts: EndpointAttempt) -> dict[str, EndpointHealth]:
    """Note attempts in one transaction. Returns the health of those that may be failing."""
    return dict(await fixture.store.write(lambda: endpoint_health.note(attempts)))


async def health(fixture: StoreFixture, endpoint_id: str = "ep_1") -> EndpointHealth:
    """Return the health of an endpoint as it is stored."""
    found, _, _ = await fixture.store.read(endpoint_health.of(endpoint_id))
    return found


async def test_attempts_of_one_transaction_are_noted_in_their_order(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1")
    await fixture.endpoint("ep_2")
    failing = await note(
        fixture,
        tried(START + 2 * SECOND, status=None),
        tried(START, status=204),
        tried(START + SECOND),
        tried(START, "ep_2", 200),
    )
    expected = EndpointHealth(
        failures=2, failing_since=START + SECOND, last_at=START + 2 * SECOND, last_error="connect: refused"
    )
    assert failing == {"ep_1": expected}
    assert await health(fixture) == expected
    assert await health(fixture, "ep_2") == EndpointHealth(last_at=START, last_status=200)
    assert await note(fixture, tried(START + 3 * SECOND, status=200)) == {}
    assert await health(fixture) == EndpointHealth(last_at=START + 3 * SECOND, last_status=200)


async def test_an_attempt_by_hand_is_the_last_attempt_and_no_more(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1")
    await note(fixture, tried(START))
    await note(fixture, tried(START + SECOND, status=200, counts=False))
    assert await health(fixture) == EndpointHealth(
        failures=1, failing_since=START, last_at=START + SECOND, last_status=200
    )


async def test_an_endpoint_that_is_gone_has_no_health(fixture: StoreFixture) -> None:
    assert await note(fixture, tried(START)) == {}
    assert await health(fixture) == EndpointHealth()


async def test_failures_are_announced_once(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1")
    await note(fixture, tried(START))
    announced = partial(endpoint_health.announced, "ep_1", START)
    assert [await fixture.store.write(announced) for _ in range(2)] == [True, False]
    assert (await health(fixture)).announced
    await note(fixture, tried(START + SECOND, status=200))
    await note(fixture, tried(START + 2 * SECOND))
    assert not await fixture.store.write(announced)
    assert not (await health(fixture)).announced


async def test_a_new_url_and_a_resumption_forgive_and_other_changes_do_not(fixture: StoreFixture) -> None:
    endpoint = await fixture.endpoint("ep_1")
    sealer = fixture.services.core.sealer
    await note(fixture, tried(START))
    row = sealer.row(replace(endpoint, description="a note"))
    await fixture.store.write(lambda: table.put(row))
    assert (await health(fixture)).failures == 1
    moved = sealer.row(replace(endpoint, url="https://new.example/"))
    await fixture.store.write(lambda: table.put(moved))
    assert (await health(fixture)).failing_since is None
    await note(fixture, tried(START))
    await fixture.store.write(lambda: table.set_state("ep_1", "paused", None, START))
    assert (await health(fixture)).failures == 1
    await fixture.store.write(lambda: table.set_state("ep_1", "active", None, START))
    assert (await health(fixture)).failures == 0


async def test_settled_attempts_open_the_breaker_for_every_replica(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1")
    for number in range(OPENS_AFTER):
        job = await fixture.submitted()
        [recorded] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
        claim = recorded.deliveries[0].claim
        assert claim is not None
        held = await fixture.query("select until from hold")
        assert held == [], f"after {number} failures"
        attempt = replace(tried(fixture.clock.at).attempt, id=f"att_{number}", delivery_id=claim.id)
        settled = Settled(claim=claim, attempt=attempt, state="exhausted", counts=True)
        [standing] = await fixture.store.write(partial(settle, [settled]))
        fixture.services.core.limits.release(claim.lane)
        assert standing.health is not None
        assert standing.health.failures == number + 1
    _, until, _ = await fixture.store.read(endpoint_health.of("ep_1"))
    assert until == fixture.clock.at + 5 * SECOND


async def test_what_an_endpoint_is_owed_is_counted_with_its_retries(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1")
    await fixture.endpoint("ep_12")
    claims = []
    for number in range(3):
        fixture.clock.at = START + number * SECOND
        job = await fixture.submitted()
        [recorded] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
        claims += [one.claim for one in recorded.deliveries if one.delivery.endpoint_id == "ep_1"]
    first, second, third = claims
    assert first is not None
    assert second is not None
    assert third is not None
    await fixture.settle(third, "delivered")
    await fixture.settle(first, "pending", next_at=START + 60 * SECOND)
    assert (await fixture.store.read(endpoint_health.of("ep_1")))[2] == Owed(2, START)
    await fixture.store.write(lambda: deliveries.retry(second.id, "ep_1", fixture.clock.at))
    assert (await fixture.store.read(endpoint_health.of("ep_1")))[2] == Owed(2, START)
    await fixture.store.write(lambda: deliveries.cancel([first.id], "by hand", fixture.clock.at))
    assert (await fixture.store.read(endpoint_health.of("ep_1")))[2] == Owed(1, START + SECOND)
    assert (await fixture.store.read(endpoint_health.of("ep_none")))[2] == Owed(0, None)
