"""The standing: owed deliveries by endpoint, and the age of the oldest that is past due and may be sent."""

from datetime import timedelta

from receiver.domain.endpoint_health import OPENS_AFTER
from receiver.domain.model import EndpointState
from receiver.domain.statistics import CALLBACK_URL
from receiver.store import holds
from receiver.store.standing import DeploymentStanding, standing
from receiver.store.statements import Transaction, insert, ms
from tests.receiver.store_fixture import StoreFixture

ORIGIN = "https://a.example"


async def owe(fixture: StoreFixture, *lanes: tuple[str, float]) -> None:
    """Add a delivery to each of these lanes, due so many seconds from now."""

    def fill() -> Transaction[None]:
        moments = [(lane, ms(fixture.clock.at + timedelta(seconds=ahead))) for lane, ahead in lanes]
        yield insert(
            "due",
            [(f"dlv_{n}", "deliver", lane, at, 0, 0, 1, "") for n, (lane, at) in enumerate(moments)],
        )

    await fixture.store.write(fill)


async def read(fixture: StoreFixture) -> DeploymentStanding:
    """Return the standing of now."""
    return await fixture.store.read(standing(fixture.clock.at))


async def test_fresh_deliveries_and_retries_of_every_kind_are_owed_to_their_endpoint(
    fixture: StoreFixture,
) -> None:
    for name in ("ep_1", "ep_2"):
        await fixture.endpoint(name)
    lanes = [
        ("ep_1", -3),
        ("ep_1", -9),
        ("ep_1~", 60),
        ("ep_1~now", -5),
        ("ep_1~hand", 0),
        ("ep_1~replay", 0),
    ]
    await owe(fixture, *lanes, (ORIGIN, -2), (f"{ORIGIN}~", -7), ("https://b.example~", 60))
    found = await read(fixture)
    assert found.owed == {"ep_1": 6, "ep_2": 0, CALLBACK_URL: 3}
    assert found.oldest_due == {"ep_1": 9.0, "ep_2": 0.0, CALLBACK_URL: 7.0}


async def test_a_retry_is_behind_once_its_moment_is_over_and_not_before(fixture: StoreFixture) -> None:
    await fixture.endpoint()
    await owe(fixture, ("ep_1~", 60), ("ep_1~", 90))
    assert (await read(fixture)).oldest_due == {"ep_1": 0.0}
    fixture.clock.pass_(seconds=100)
    found = await read(fixture)
    assert (found.owed, found.oldest_due) == ({"ep_1": 2}, {"ep_1": 40.0})


async def test_deliveries_that_are_held_or_paused_are_owed_and_not_behind(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1")
    await fixture.endpoint("ep_2", state=EndpointState.PAUSED)
    until = fixture.clock.at + timedelta(seconds=30)
    await fixture.store.write(lambda: holds.hold([("ep_1", until)]))
    await owe(fixture, ("ep_1", -3), ("ep_2", -9))
    found = await read(fixture)
    assert (found.owed, found.oldest_due) == ({"ep_1": 1, "ep_2": 1}, {"ep_1": 0.0, "ep_2": 0.0})
    assert found.endpoints == {"ep_1": "active", "ep_2": "paused"}
    fixture.clock.pass_(seconds=30)
    assert (await read(fixture)).oldest_due == {"ep_1": 33.0, "ep_2": 0.0}


async def test_an_endpoint_with_an_open_breaker_is_told_unless_it_is_paused(fixture: StoreFixture) -> None:
    for name, state, failures in (
        ("ep_1", EndpointState.ACTIVE, OPENS_AFTER - 1),
        ("ep_2", EndpointState.ACTIVE, OPENS_AFTER),
        ("ep_3", EndpointState.PAUSED, OPENS_AFTER),
    ):
        await fixture.endpoint(name, state=state)
        await fixture.write(
            "insert into endpoint_health (endpoint, failures, announced) values (:name, :failures, 0) "
            "on conflict (endpoint) do update set failures = excluded.failures",
            name=name,
            failures=failures,
        )
    assert (await read(fixture)).endpoints == {"ep_1": "active", "ep_2": "breaker open", "ep_3": "paused"}
