"""Use cases of deliveries: listed, shown, retried by hand and canceled."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from handlers.contract import Phase
from receiver.delivery.delivery_service import DeliveryService
from receiver.domain.errors import Conflict, NotFound
from receiver.domain.model import Claim, EndpointState, Work
from receiver.egress.address_guard import origin_of
from receiver.store import holds
from receiver.store.deliveries import DeliveryFilter
from receiver.store.holds import hold_of
from tests.receiver.store_fixture import StoreFixture, store_fixture, told, word
from tests.receiver.woken_worker import register_workers

HOUR = timedelta(hours=1)
ONE_OFF = "https://me.example/one-off"


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """Yield a service at rest with one endpoint."""
    async with store_fixture(tmp_path) as made:
        await made.endpoint("ep_1", "job.succeeded")
        yield made


@pytest.fixture
def service(fixture: StoreFixture) -> DeliveryService:
    """Return its use cases of deliveries."""
    return fixture.services.api.deliveries


async def claims(fixture: StoreFixture, **others: object) -> list[Claim]:
    """Return the claims of the deliveries of a job that just succeeded."""
    job = await fixture.submitted(**others)  # type: ignore[arg-type]  # fields of a job
    [recorded] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
    return [one.claim for one in recorded.deliveries if one.claim is not None]


async def due(fixture: StoreFixture) -> list[tuple[str, str]]:
    """Return the id and the lane of each delivery that is due now, and claim it."""
    return [(one.claim.id, one.claim.lane) for one in await fixture.claim(Work.DELIVER)]


async def test_deliveries_are_listed_newest_first_and_shown_with_their_attempts(
    fixture: StoreFixture, service: DeliveryService
) -> None:
    [first], [second] = await claims(fixture), await claims(fixture)
    await fixture.settle(first, "delivered")
    listed = await service.search(DeliveryFilter(endpoint="ep_1"))
    assert [one.id for one in listed.found] == [second.id, first.id]
    delivery, [attempt] = await service.get(first.id)
    assert (delivery, delivery.state, attempt.status) == (listed.found[1], "delivered", 204)


@pytest.mark.parametrize("name", ["get", "retry", "cancel"])
async def test_a_delivery_that_does_not_exist_is_not_found(service: DeliveryService, name: str) -> None:
    with pytest.raises(NotFound, match="no such delivery; GET /v1/deliveries lists those that are there"):
        await getattr(service, name)("dlv_1")


@pytest.mark.parametrize("state", ["delivered", "exhausted", "canceled"])
async def test_a_delivery_that_ended_is_due_again_once_it_is_retried(
    fixture: StoreFixture, service: DeliveryService, state: str
) -> None:
    [claim] = await claims(fixture)
    await fixture.settle(claim, state, reason="it ended")
    workers = register_workers(fixture)
    delivery = await service.retry(claim.id)
    assert (delivery.state, delivery.reason, delivery.next_at) == ("pending", None, fixture.clock.at)
    assert workers[Work.DELIVER].woken == [None]
    assert await due(fixture) == [(claim.id, "ep_1~hand")]


async def test_a_retry_ends_the_hold_of_its_endpoint_here_and_in_the_store(
    fixture: StoreFixture, service: DeliveryService
) -> None:
    [claim] = await claims(fixture)
    until = fixture.clock.at + HOUR
    await fixture.settle(claim, "pending", next_at=until, hold=("ep_1", until))
    fixture.lanes.hold(Work.DELIVER, "ep_1", 3600)
    await service.retry(claim.id)
    assert fixture.lanes.held("ep_1") == 0
    assert await fixture.store.read(holds.held(fixture.clock.at, 10)) == {}
    assert await due(fixture) == [(claim.id, "ep_1~hand")]


async def test_a_retry_to_a_callback_url_ends_the_hold_of_that_url_only(
    fixture: StoreFixture, service: DeliveryService
) -> None:
    [_, claim] = await claims(fixture, callback_url=ONE_OFF)
    origin, until = origin_of(ONE_OFF), fixture.clock.at + HOUR
    held, other = hold_of(origin, ONE_OFF), hold_of(origin, "https://me.example/another")
    await fixture.settle(claim, "pending", next_at=until, hold=(held, until))
    for name in (held, other):
        fixture.lanes.hold(Work.DELIVER, name, 3600)
    delivery = await service.retry(claim.id)
    assert (delivery.url, delivery.endpoint_id) == (ONE_OFF, None)
    assert (fixture.lanes.held(held), fixture.lanes.held(other)) == (0, 3600)
    assert await fixture.store.read(holds.held(fixture.clock.at, 10)) == {}
    assert await due(fixture) == [(claim.id, "https://me.example~hand")]


async def test_a_delivery_that_is_being_sent_is_sent_once_more_after_its_attempt(
    fixture: StoreFixture, service: DeliveryService
) -> None:
    [claim] = await claims(fixture)
    assert (await service.retry(claim.id)).leased
    assert await due(fixture) == []
    await fixture.settle(claim, "delivered")
    assert await due(fixture) == [(claim.id, "ep_1~hand")]


async def test_a_delivery_to_a_deleted_endpoint_cannot_be_retried(
    fixture: StoreFixture, service: DeliveryService
) -> None:
    [claim] = await claims(fixture)
    await fixture.services.api.endpoints.delete("ep_1")
    workers = register_workers(fixture)
    with pytest.raises(Conflict, match="the endpoint was deleted"):
        await service.retry(claim.id)
    assert (await service.get(claim.id))[0].state == "canceled"
    assert workers[Work.DELIVER].woken == []


async def test_a_pending_delivery_is_canceled_and_a_second_time_changes_nothing(
    fixture: StoreFixture, service: DeliveryService
) -> None:
    await fixture.endpoint("ep_2", "job.succeeded", state=EndpointState.PAUSED)
    await claims(fixture)
    [pending] = (await service.search(DeliveryFilter(endpoint="ep_2"))).found
    canceled = await service.cancel(pending.id)
    assert (canceled.state, canceled.reason, canceled.next_at) == ("canceled", "canceled by hand", None)
    fixture.clock.pass_(seconds=1)
    assert await service.cancel(pending.id) == canceled


@pytest.mark.parametrize("state", ["delivered", "exhausted"])
async def test_a_delivery_that_ended_otherwise_cannot_be_canceled(
    fixture: StoreFixture, service: DeliveryService, state: str
) -> None:
    [claim] = await claims(fixture)
    await fixture.settle(claim, state)
    with pytest.raises(Conflict, match=f"^the delivery is already {state}$"):
        await service.cancel(claim.id)
    assert (await service.get(claim.id))[0].state == state
