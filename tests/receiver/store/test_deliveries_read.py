"""Deliveries as they are read: claimed, listed and shown one by one."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from receiver.delivery.sender import SETTLE
from receiver.domain.model import Event, PendingDelivery, Work
from receiver.store import deliveries
from receiver.store import endpoints as table
from receiver.store.deliveries import ClaimedDelivery, DeliveryFilter
from receiver.store.generation import generation
from tests.receiver.store.test_deliveries import born, seen
from tests.receiver.store_fixture import StoreFixture, store_fixture
from tests.receiver.store_steps import failed

URL = "https://me.example/one-off"


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """Yield a service at rest with one endpoint."""
    async with store_fixture(tmp_path) as made:
        await made.endpoint("ep_1", "job.succeeded")
        yield made


async def test_what_sending_needs_comes_with_the_claim(fixture: StoreFixture) -> None:
    to_endpoint, to_url = await born(fixture, callback_url=URL, callback_secret=b"sealed")
    fixture.clock.pass_(seconds=76)
    owed: dict[str, PendingDelivery] = {
        one.claim.id: one.delivery for one in await fixture.claim(Work.DELIVER)
    }
    assert owed[to_endpoint.delivery.id] == to_endpoint.delivery
    event: Event = to_endpoint.delivery.event
    job_id = event.job_id
    assert owed[to_url.delivery.id] == PendingDelivery(
        id=to_url.delivery.id, event=event, endpoint_id=None, job_id=job_id, url=URL, secret=b"sealed"
    )
    assert event.result == b'{"lyrics":"la"}'
    assert b"lyrics" not in event.body


async def test_deliveries_are_found_newest_first(fixture: StoreFixture) -> None:
    made = [await born(fixture, callback_url=URL, callback_secret=b"sealed") for _ in range(3)]
    ids = [one.delivery.id for each in made for one in each]
    owed = made[1][0].delivery
    await fixture.settle_born(made[0][0])
    searches: list[tuple[DeliveryFilter, list[int]]] = [
        (DeliveryFilter(), [5, 4, 3, 2, 1, 0]),
        (DeliveryFilter(limit=2), [5, 4]),
        (DeliveryFilter(limit=2, before=ids[4]), [3, 2]),
        (DeliveryFilter(endpoint="ep_1"), [4, 2, 0]),
        (DeliveryFilter(endpoint="callback"), [5, 3, 1]),
        (DeliveryFilter(state="delivered"), [0]),
        (DeliveryFilter(state="pending", endpoint="ep_1"), [4, 2]),
        (DeliveryFilter(event=owed.event.id), [3, 2]),
        (DeliveryFilter(job=owed.job_id), [3, 2]),
        (DeliveryFilter(endpoint="ep_2"), []),
    ]
    for search, expected in searches:
        listed = await fixture.store.read(deliveries.search(search))
        assert [ids.index(one.id) for one in listed.found] == expected, search
        assert listed.place is None
    [own] = (
        await fixture.store.read(deliveries.search(DeliveryFilter(endpoint="callback", job=owed.job_id)))
    ).found
    assert (own.endpoint_id, own.url) == (None, URL)
    assert await fixture.store.read(deliveries.get("dlv_unknown")) is None


async def test_a_list_that_no_index_knows_looks_at_so_many_and_tells_where_to_go_on(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "SCAN", 3)
    await fixture.endpoint("ep_1", "job.failed")
    for _ in range(7):
        await failed(fixture)
    oldest, *others = await fixture.column("select id from delivery order by id")
    await fixture.write("update delivery set state = 'delivered' where id = :id", id=oldest)
    for endpoint in (None, "ep_1"):
        wanted = deliveries.DeliveryFilter(endpoint=endpoint, state="delivered")
        places, found = [], []
        while True:
            listed = await fixture.store.read(deliveries.search(wanted))
            found += [one.id for one in listed.found]
            places.append(listed.place)
            if listed.place is None:
                break
            wanted = replace(wanted, before=listed.place)
        assert (found, places) == ([oldest], [others[3], others[0], None])


@pytest.mark.parametrize("state", ["exhausted", "canceled"])
async def test_seldom_ends_are_found_among_many(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(deliveries, "SCAN", 1)
    await fixture.endpoint("ep_1", "job.failed")
    for _ in range(3):
        await failed(fixture)
    oldest, *_ = await fixture.column("select id from delivery order by id")
    await fixture.write("update delivery set state = :state where id = :id", id=oldest, state=state)
    listed = await fixture.store.read(deliveries.search(deliveries.DeliveryFilter(state=state)))
    assert ([one.id for one in listed.found], listed.place) == ([oldest], None)


async def test_deliveries_in_one_state_are_found_for_one_job_and_for_all(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [await born(fixture, callback_url=URL, callback_secret=b"sealed") for _ in range(2)]
    ids = [one.delivery.id for each in made for one in each]
    await fixture.settle_born(made[0][0])
    await fixture.settle_born(made[1][1])
    first = made[0][0].delivery
    searches: list[tuple[DeliveryFilter, list[int]]] = [
        (DeliveryFilter(state="pending"), [2, 1]),
        (DeliveryFilter(state="pending", limit=1), [2]),
        (DeliveryFilter(state="pending", before=ids[2], limit=1), [1]),
        (DeliveryFilter(state="pending", job=first.job_id), [1]),
        (DeliveryFilter(state="delivered", job=first.job_id), [0]),
        (DeliveryFilter(state="delivered", event=first.event.id, endpoint="callback"), []),
        (DeliveryFilter(state="delivered", job=first.job_id, limit=1), [0]),
        (DeliveryFilter(state="delivered", limit=1), [3]),
        (DeliveryFilter(state="exhausted"), []),
    ]
    monkeypatch.setattr(deliveries, "SCAN", 1)
    for search, expected in searches:
        listed = await fixture.store.read(deliveries.search(search))
        assert ([ids.index(one.id) for one in listed.found], listed.place) == (expected, None), search
    of_endpoint = DeliveryFilter(state="pending", endpoint="callback")
    listed = await fixture.store.read(deliveries.search(of_endpoint))
    assert (listed.found, listed.place) == ([], ids[3]), "only so many are looked at"


async def test_a_delivery_is_due_next_only_while_its_endpoint_is_served(fixture: StoreFixture) -> None:
    [made] = await born(fixture)
    assert made.claim is not None
    told_, _ = await seen(fixture, made.delivery.id)
    assert (told_.leased, told_.next_at) == (True, None)
    at = fixture.clock.at + timedelta(seconds=60)
    await fixture.settle(made.claim, "pending", next_at=at)
    found = []
    for state in ("active", "paused", "disabled", "active"):
        await fixture.store.write(partial(table.set_state, "ep_1", state, None, fixture.clock.at))
        told_, _ = await seen(fixture, made.delivery.id)
        found.append((told_.leased, told_.next_at))
    assert found == [(False, at), (False, None), (False, None), (False, at)]


async def test_a_delivery_is_shown_with_its_attempts_and_the_outcome_of_the_last(
    fixture: StoreFixture,
) -> None:
    [made] = await born(fixture)
    assert made.claim is not None
    first = fixture.attempted(made.claim, "pending", next_at=fixture.clock.at)
    failed_ = replace(first.attempt, status=None, error="connect: refused", answer=b"")
    await fixture.store.do(SETTLE, replace(first, attempt=failed_))
    told_, attempts = await seen(fixture, made.delivery.id)
    assert (told_.status, told_.error, told_.tries, attempts) == (None, "connect: refused", 1, [failed_])
    [again] = await fixture.claim(Work.DELIVER)
    fixture.clock.pass_(seconds=1)
    last = fixture.attempted(again.claim, "exhausted", reason="500")
    await fixture.store.do(SETTLE, last)
    told_, attempts = await seen(fixture, made.delivery.id)
    assert (told_.status, told_.error, told_.tries, told_.reason) == (500, None, 2, "500")
    assert attempts == [failed_, last.attempt]
    assert told_.updated_at == told_.created_at + timedelta(seconds=1)


async def test_deliveries_are_loaded_with_the_generation_and_without_those_that_are_gone(
    fixture: StoreFixture,
) -> None:
    [made] = await born(fixture)
    assert made.claim is not None
    claims = [replace(made.claim, id="dlv_gone"), made.claim]
    present = await fixture.store.read(generation())
    loaded = await fixture.store.read(deliveries.load(claims))
    assert loaded == (present, [ClaimedDelivery(made.claim, made.delivery)])
    assert await fixture.store.read(deliveries.load(claims[:1])) == ("", [])
