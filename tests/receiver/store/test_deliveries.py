"""Deliveries in a real store: settled under their lease, owed again or no more, and told as they stand."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from handlers.contract import Phase
from receiver.delivery.sender import SETTLE
from receiver.domain.model import Claim, Event, PendingDelivery, Work
from receiver.store import deliveries
from receiver.store import endpoints as table
from receiver.store.attempts import Attempt
from receiver.store.deliveries import DeliveryFilter, StoredDelivery
from receiver.store.due import HAND_LANES, RETRY_LANE
from receiver.store.record import NewDelivery
from tests.receiver.store_fixture import StoreFixture, store_fixture, told, word

URL = "https://me.example/one-off"
AGAIN, BY_HAND = "ep_1" + RETRY_LANE, "ep_1" + HAND_LANES[0]


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """A service at rest with one endpoint."""
    async with store_fixture(tmp_path) as made:
        await made.endpoint("ep_1", "job.succeeded")
        yield made


async def born(fixture: StoreFixture, **others: object) -> list[NewDelivery]:
    """What is owed for a job that just ended."""
    job = await fixture.submitted(**others)  # type: ignore[arg-type]  # fields of a job
    [recorded] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED, result={"lyrics": "la"})))
    return list(recorded.born)


async def one(fixture: StoreFixture) -> Claim:
    """The claim under which one delivery was born."""
    [made] = await born(fixture)
    assert made.claim is not None
    return made.claim


async def seen(fixture: StoreFixture, delivery: str) -> tuple[StoredDelivery, list[Attempt]]:
    """A delivery as it is told, with its attempts."""
    found = await fixture.store.read(deliveries.get(delivery))
    assert found is not None
    return found


async def claims(fixture: StoreFixture) -> list[Claim]:
    """The claims of what is due for delivery."""
    return [one.claim for one in await fixture.claim(Work.DELIVER)]


async def cancel(fixture: StoreFixture, *ids: str, reason: str = "asked") -> None:
    """Owe these deliveries no more."""
    await fixture.store.write(lambda: deliveries.cancel(ids, reason, fixture.clock.at))


async def retry(fixture: StoreFixture, delivery: str) -> None:
    """Owe a delivery again."""
    await fixture.store.write(lambda: deliveries.retry(delivery, "ep_1", fixture.clock.at))


# Settled.


async def test_a_delivery_that_went_is_over(fixture: StoreFixture) -> None:
    claim = await one(fixture)
    fixture.clock.pass_(seconds=1)
    assert await fixture.settle(claim)
    told_, attempts = await seen(fixture, claim.id)
    assert (told_.state, told_.tries, told_.next_at, told_.reason) == ("delivered", 1, None, None)
    assert (told_.event_type, told_.endpoint_id, told_.url) == ("job.succeeded", "ep_1", None)
    assert [(one.status, one.latency_ms, one.at) for one in attempts] == [(204, 1.5, fixture.clock.at)]
    assert await fixture.column("select id from due where work = 'deliver'") == []
    assert await claims(fixture) == []


async def test_a_delivery_that_did_not_go_is_owed_in_the_retry_lane(fixture: StoreFixture) -> None:
    claim = await one(fixture)
    for tries in (1, 2, 3):
        next_at = fixture.clock.at + timedelta(seconds=60)
        assert await fixture.settle(claim, "pending", next_at=next_at)
        told_, attempts = await seen(fixture, claim.id)
        assert (told_.state, told_.tries, told_.next_at, told_.leased) == ("pending", tries, next_at, False)
        assert len(attempts) == tries
        assert await claims(fixture) == []
        fixture.clock.at = next_at
        [claim] = await claims(fixture)
        assert (claim.lane, claim.tries, claim.fence) == (AGAIN, tries, tries + 1)
    assert await fixture.settle(claim, "exhausted", reason="tls: it is over")
    told_, attempts = await seen(fixture, claim.id)
    assert (told_.state, told_.reason, told_.tries, len(attempts)) == ("exhausted", "tls: it is over", 4, 4)


async def test_many_attempts_settle_in_one_transaction(fixture: StoreFixture) -> None:
    made = [await one(fixture) for _ in range(4)]
    at = fixture.clock.at + timedelta(seconds=5)
    answers = await asyncio.gather(
        fixture.settle(made[0]),
        fixture.settle(made[1], "pending", next_at=at),
        fixture.settle(made[2], "canceled", reason="410"),
        fixture.settle(made[3], "pending", next_at=at),
    )
    assert list(answers) == [True] * 4
    states = [(await seen(fixture, claim.id))[0].state for claim in made]
    assert states == ["delivered", "pending", "canceled", "pending"]
    assert await fixture.column("select id from due where work = 'deliver'") == [made[1].id, made[3].id]


@pytest.mark.parametrize("state", ["delivered", "exhausted", "pending"])
async def test_an_attempt_under_a_stale_lease_is_kept_and_changes_nothing(
    fixture: StoreFixture, state: str
) -> None:
    first = await one(fixture)
    fixture.clock.pass_(seconds=31)
    [second] = await claims(fixture)
    before = await fixture.query("select * from due where id = :id", id=first.id)
    at = fixture.clock.at if state == "pending" else None
    assert not await fixture.settle(first, state, next_at=at)
    assert await fixture.query("select * from due where id = :id", id=first.id) == before
    told_, attempts = await seen(fixture, first.id)
    assert (told_.state, told_.tries, told_.leased, len(attempts)) == ("pending", 1, True, 1)
    assert await fixture.settle(second)
    assert not await fixture.settle(first, state, next_at=at)
    told_, attempts = await seen(fixture, first.id)
    assert (told_.state, told_.tries, len(attempts)) == ("delivered", 3, 3)


async def test_of_two_settles_in_one_transaction_only_the_holders_counts(fixture: StoreFixture) -> None:
    first = await one(fixture)
    fixture.clock.pass_(seconds=31)
    [second] = await claims(fixture)
    answers = await asyncio.gather(fixture.settle(first, "exhausted"), fixture.settle(second, "delivered"))
    assert list(answers) == [False, True]
    told_, attempts = await seen(fixture, first.id)
    assert (told_.state, len(attempts)) == ("delivered", 2)


# Owed again, or no more.


@pytest.mark.parametrize("state", ["delivered", "exhausted", "canceled"])
async def test_a_delivery_that_is_over_can_be_owed_again(fixture: StoreFixture, state: str) -> None:
    claim = await one(fixture)
    await fixture.settle(claim, state, reason="why")
    await retry(fixture, claim.id)
    told_, attempts = await seen(fixture, claim.id)
    assert (told_.state, told_.reason, told_.next_at) == ("pending", None, fixture.clock.at)
    assert len(attempts) == 1
    [again] = await claims(fixture)
    assert (again.id, again.lane, again.tries) == (claim.id, BY_HAND, 0)
    assert await fixture.settle(again)
    assert len((await seen(fixture, claim.id))[1]) == 2


async def test_a_delivery_that_waits_is_owed_at_once(fixture: StoreFixture) -> None:
    claim = await one(fixture)
    await fixture.settle(claim, "pending", next_at=fixture.clock.at + timedelta(hours=1))
    assert await claims(fixture) == []
    await retry(fixture, claim.id)
    [again] = await claims(fixture)
    assert (again.lane, again.tries) == (BY_HAND, 0)
    assert not await fixture.settle(claim)


async def test_a_delivery_that_is_being_sent_is_sent_again_when_it_is_retried_by_hand(
    fixture: StoreFixture,
) -> None:
    claim = await one(fixture)
    await retry(fixture, claim.id)
    assert await claims(fixture) == []
    assert await fixture.settle(claim)
    assert (await seen(fixture, claim.id))[0].state == "pending"
    [again] = await claims(fixture)
    assert (again.lane, again.tries) == (BY_HAND, 0)
    await retry(fixture, claim.id)
    assert await fixture.settle(again)
    [once_more] = await claims(fixture)
    assert await fixture.settle(once_more)
    assert (await seen(fixture, claim.id))[0].state == "delivered"


async def test_what_is_cancelled_is_owed_no_more(fixture: StoreFixture) -> None:
    sent, waits, done = [await one(fixture) for _ in range(3)]
    await fixture.settle(waits, "pending", next_at=fixture.clock.at)
    await fixture.settle(done)
    await cancel(fixture, sent.id, waits.id, done.id)
    told_ = [(await seen(fixture, claim.id))[0] for claim in (sent, waits, done)]
    assert [one.state for one in told_] == ["canceled", "canceled", "delivered"]
    assert [one.reason for one in told_] == ["asked", "asked", None]
    assert await claims(fixture) == []
    assert not await fixture.settle(sent)
    assert len((await seen(fixture, sent.id))[1]) == 1
    assert (await seen(fixture, sent.id))[0].state == "canceled"


async def test_a_lease_from_before_a_cancel_stays_stale(fixture: StoreFixture) -> None:
    first = await one(fixture)
    await cancel(fixture, first.id)
    await retry(fixture, first.id)
    [second] = await claims(fixture)
    assert not await fixture.settle(first, "exhausted")
    assert await fixture.settle(second)


async def test_an_endpoint_that_goes_is_owed_nothing_more(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_2", "job.succeeded")
    made = [await born(fixture) for _ in range(2)]
    await fixture.settle_born(made[0][0])
    now = fixture.clock.at
    await fixture.store.write(lambda: table.remove("ep_1", now))
    rows = await fixture.query("select target, state from delivery order by id")
    assert [tuple(row.values()) for row in map(dict, rows)] == [
        ("ep_1", "delivered"),
        ("ep_2", "pending"),
        ("ep_1", "canceled"),
        ("ep_2", "pending"),
    ]
    assert len(await fixture.column("select id from due where work = 'deliver'")) == 2


async def test_a_callback_url_that_is_turned_off_is_so_for_its_job_only(fixture: StoreFixture) -> None:
    first, second = [await born(fixture, callback_url=URL, callback_secret=b"sealed") for _ in range(2)]
    job_id = first[0].delivery.job_id
    assert job_id is not None
    now = fixture.clock.at
    await fixture.store.write(lambda: deliveries.cancel_target("callback", job_id, "410", now))
    rows = await fixture.query(
        "select job, state, reason from delivery where target = 'callback' order by id"
    )
    assert [(row["state"], row["reason"]) for row in rows] == [("canceled", "410"), ("pending", None)]
    assert await fixture.column("select callback_off from job order by id") == [1, 0]
    assert {one.delivery.endpoint_id for one in second} == {"ep_1", None}


# Told.


async def test_what_sending_needs_comes_with_the_claim(fixture: StoreFixture) -> None:
    to_endpoint, to_url = await born(fixture, callback_url=URL, callback_secret=b"sealed")
    fixture.clock.pass_(seconds=31)
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


async def test_an_attempt_of_which_nobody_knows_whether_it_is_stored_is_stored_once(
    fixture: StoreFixture,
) -> None:
    await fixture.endpoint()
    job = await fixture.submitted(theirs="p1")
    [ended] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED, "p1")))
    [born] = ended.born
    assert born.claim is not None
    settled = fixture.attempted(born.claim)
    first = await fixture.store.do(SETTLE, settled)
    second = await fixture.store.do(SETTLE, replace(settled, again=True))
    assert (first.mine, second.mine) == (True, False)
    assert await fixture.column("select id from attempt") == [settled.attempt.id]
    assert await fixture.column("select state from delivery") == ["delivered"]
