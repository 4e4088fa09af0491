"""Deliveries in a real store: settled under their lease, retried, canceled and listed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from handlers.contract import Phase
from receiver.domain.model import Claim, Work
from receiver.store import deliveries, holds
from receiver.store import endpoints as table
from receiver.store.attempts import Attempt
from receiver.store.deliveries import NEWEST, StoredDelivery
from receiver.store.due import HAND_LANES, RETRY_LANE
from receiver.store.record_context import NewDelivery
from receiver.store.settling import Standing, settle
from receiver.store.statements import Lock
from tests.receiver.store_fixture import START, StoreFixture, store_fixture, told, word
from tests.receiver.store_steps import owe, owed, statements, states

URL = "https://me.example/one-off"
AGAIN, BY_HAND = "ep_1" + RETRY_LANE, "ep_1" + HAND_LANES[0]


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """Yield a service at rest with one endpoint."""
    async with store_fixture(tmp_path) as made:
        await made.endpoint("ep_1", "job.succeeded")
        yield made


async def born(fixture: StoreFixture, **others: object) -> list[NewDelivery]:
    """Return the deliveries of a job that just succeeded."""
    job = await fixture.submitted(**others)  # type: ignore[arg-type]  # fields of a job
    [recorded] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED, result={"lyrics": "la"})))
    return list(recorded.deliveries)


async def one(fixture: StoreFixture) -> Claim:
    """Return the claim of a new delivery."""
    [made] = await born(fixture)
    assert made.claim is not None
    return made.claim


async def seen(fixture: StoreFixture, delivery: str) -> tuple[StoredDelivery, list[Attempt]]:
    """Return a delivery as it is shown, with its attempts."""
    found = await fixture.store.read(deliveries.get(delivery))
    assert found is not None
    return found


async def claims(fixture: StoreFixture) -> list[Claim]:
    """Claim the deliveries that are due. Returns the claims."""
    return [one.claim for one in await fixture.claim(Work.DELIVER)]


async def cancel(fixture: StoreFixture, *ids: str, reason: str = "asked") -> None:
    """Cancel these deliveries."""
    await fixture.store.write(lambda: deliveries.cancel(ids, reason, fixture.clock.at))


async def retry(fixture: StoreFixture, delivery: str) -> None:
    """Retry a delivery by hand."""
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
    fixture.clock.pass_(seconds=76)
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
    fixture.clock.pass_(seconds=76)
    [second] = await claims(fixture)
    answers = await asyncio.gather(fixture.settle(first, "exhausted"), fixture.settle(second, "delivered"))
    assert list(answers) == [False, True]
    told_, attempts = await seen(fixture, first.id)
    assert (told_.state, len(attempts)) == ("delivered", 2)


async def test_a_settled_attempt_says_when_the_delivery_is_due_next(fixture: StoreFixture) -> None:
    over, waits, asked, stale = [await one(fixture) for _ in range(4)]
    at = fixture.clock.at + timedelta(seconds=60)
    await retry(fixture, asked.id)
    items = [
        fixture.attempted(over),
        fixture.attempted(waits, "pending", next_at=at),
        fixture.attempted(asked),
        fixture.attempted(replace(stale, fence=9), "pending", next_at=at),
    ]
    found = await fixture.store.write(lambda: settle(items))
    assert [replace(one, samples=()) for one in found] == [
        Standing(mine=True),
        Standing(mine=True, next_at=at),
        Standing(mine=True, next_at=fixture.clock.at),
        Standing(mine=False),
    ]
    attempts = [
        ("delivery_attempts", ("ep_1", "2xx"), None),
        ("delivery_attempt_seconds", ("ep_1",), 0.0015),
    ]
    failed = [("delivery_attempts", ("ep_1", "5xx"), None), attempts[1]]
    ended = [
        ("deliveries", ("ep_1", "delivered"), None),
        ("event_to_delivered_seconds", ("ep_1",), 0.0015),
    ]
    assert [list(one.samples) for one in found] == [attempts + ended, failed, attempts, failed]
    assert await fixture.column("select tries from delivery order by id") == [1, 1, 1, 0]


async def test_an_attempt_holds_its_lane_only_under_its_own_lease(fixture: StoreFixture) -> None:
    claim = await one(fixture)
    at = fixture.clock.at + timedelta(seconds=60)
    assert not await fixture.settle(replace(claim, fence=9), "pending", next_at=at, hold=("ep_9", at))
    assert await fixture.store.read(holds.held(fixture.clock.at, 10)) == {}
    assert await fixture.settle(claim, "pending", next_at=at, hold=("ep_1", at))
    assert await fixture.store.read(holds.held(fixture.clock.at, 10)) == {"ep_1": at}


async def test_an_attempt_of_a_delivery_that_was_removed_is_not_kept(fixture: StoreFixture) -> None:
    claim = await one(fixture)
    await fixture.write("delete from due where id = :id", id=claim.id)
    await fixture.write("delete from delivery where id = :id", id=claim.id)
    assert not await fixture.settle(claim)
    assert await fixture.column("select id from attempt") == []


# Retried.


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


async def test_what_a_removed_endpoint_was_owed_cannot_be_owed_again(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1")
    await owe(fixture, "ep_1", 1)
    await fixture.store.write(lambda: table.remove("ep_1", fixture.clock.at))
    retried = partial(deliveries.retry, f"dlv_{1:032x}", "ep_1", fixture.clock.at)
    assert await fixture.store.write(retried) is False
    assert (await states(fixture), await owed(fixture)) == ({"canceled": 1}, 0)


async def test_a_retry_ends_the_hold_that_it_names_or_that_of_its_lane(fixture: StoreFixture) -> None:
    claim = await one(fixture)
    at = fixture.clock.at + timedelta(hours=1)
    await fixture.store.write(lambda: holds.hold([("ep_1", at), ("ep_1#ab", at)]))
    again = partial(deliveries.retry, claim.id, "ep_1", fixture.clock.at)
    assert await fixture.store.write(partial(again, "ep_1#ab"))
    assert await fixture.store.read(holds.held(fixture.clock.at, 10)) == {"ep_1": at}
    assert await fixture.store.write(again)
    assert await fixture.store.read(holds.held(fixture.clock.at, 10)) == {}


async def test_a_delivery_that_waits_can_be_retried_twice(fixture: StoreFixture) -> None:
    claim = await one(fixture)
    await fixture.settle(claim, "pending", next_at=fixture.clock.at + timedelta(hours=1))
    found = []
    for _ in range(3):
        await retry(fixture, claim.id)
        [row] = await fixture.query("select lane, leased, fence, tries from due where work = 'deliver'")
        found.append((row["lane"], row["leased"], row["fence"], row["tries"]))
    assert found == [(BY_HAND, 0, 2, 0), ("ep_1" + HAND_LANES[1], 0, 3, 0), (BY_HAND, 0, 4, 0)]


async def test_a_delivery_to_a_callback_url_can_be_retried_without_an_endpoint(fixture: StoreFixture) -> None:
    _, to_url = await born(fixture, callback_url=URL, callback_secret=b"sealed")
    await cancel(fixture, to_url.delivery.id)
    origin = "https://me.example"
    assert to_url.lane.startswith(origin)
    for delivery, done in ((to_url.delivery.id, True), ("dlv_unknown", False)):
        again = partial(deliveries.retry, delivery, origin, fixture.clock.at)
        assert await fixture.store.write(again) is done
    assert await fixture.column("select lane from due where id = :id", id=to_url.delivery.id) == [
        origin + HAND_LANES[0]
    ]


# Canceled.


async def test_what_is_cancelled_is_owed_no_more(fixture: StoreFixture) -> None:
    sent, waits, done = [await one(fixture) for _ in range(3)]
    await fixture.settle(waits, "pending", next_at=fixture.clock.at)
    await fixture.settle(done)
    await cancel(fixture, sent.id, waits.id, done.id)
    told_ = [(await seen(fixture, claim.id))[0] for claim in (sent, waits, done)]
    assert [one.state for one in told_] == ["canceled", "canceled", "delivered"]
    assert [one.reason for one in told_] == ["asked", "asked", None]
    assert await claims(fixture) == []


@pytest.mark.parametrize(
    ("state", "told"), [("delivered", ("delivered", None)), ("exhausted", ("canceled", "asked"))]
)
async def test_a_delivery_that_was_canceled_under_way_tells_whether_it_was_taken(
    fixture: StoreFixture, state: str, told: tuple[str, str | None]
) -> None:
    sent, waits = [await one(fixture) for _ in range(2)]
    await cancel(fixture, sent.id, waits.id)
    assert not await fixture.settle(sent, state)
    found, attempts = await seen(fixture, sent.id)
    assert (found.state, found.reason, len(attempts)) == (*told, 1)
    assert (await seen(fixture, waits.id))[0].state == "canceled"
    assert await fixture.column("select id from due where work = 'deliver'") == []


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


async def test_canceling_tells_which_deliveries_were_pending(fixture: StoreFixture) -> None:
    sent, done, other = [await one(fixture) for _ in range(3)]
    await fixture.settle(done)
    ids = [sent.id, done.id, "dlv_unknown"]
    for expected in ({sent.id}, set()):
        canceled = await fixture.store.write(lambda: deliveries.cancel(ids, "asked", fixture.clock.at))
        assert canceled == expected
    assert await fixture.column("select id from due where work = 'deliver'") == [other.id]


def test_deliveries_are_locked_before_they_are_canceled() -> None:
    [first, *_] = statements(deliveries.cancel(["dlv_1"], "asked", START))
    assert (first.lock, first.parameters) == (Lock.WAIT, {"ids": ["dlv_1"]})


async def test_the_deliveries_of_a_target_are_canceled_newest_first_in_pieces(fixture: StoreFixture) -> None:
    await owe(fixture, "ep_1", 5)
    ids = await fixture.column("select id from delivery order by id")
    await fixture.write("update delivery set state = 'delivered' where id = :id", id=ids[3])
    places, canceled, place = [], [], NEWEST
    while place:
        change = partial(deliveries.cancel_some, "ep_1", place, 2, "gone", fixture.clock.at)
        place = await fixture.store.write(change)
        places.append(place)
        canceled.append(await fixture.column("select id from delivery where reason = 'gone' order by id"))
    assert places == [ids[3], ids[1], ""]
    assert canceled == [[ids[4]], [ids[1], ids[2], ids[4]], [ids[0], ids[1], ids[2], ids[4]]]
    assert (await states(fixture), await owed(fixture)) == ({"canceled": 4, "delivered": 1}, 1)
