"""Events in a real store: the feed in the order of commits, and its positions after removals."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from handlers.contract import Phase
from receiver.domain.model import EndpointState, Event
from receiver.store import deliveries, erasure, events
from receiver.store import endpoints as table
from receiver.store.events import EventDelivery, Page
from receiver.store.rows import delivery_row, first_id
from receiver.store.statements import Transaction, insert, ms, query
from tests.receiver.store_fixture import StoreFixture, store_fixture, told, word
from tests.receiver.store_steps import ended, remove


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """Yield a service at rest that keeps a day of history."""
    async with store_fixture(tmp_path, retention_days="1") as made:
        yield made


async def feed(
    fixture: StoreFixture,
    after: int | str | None = None,
    types: Sequence[str] = (),
    prefixes: Sequence[str] = (),
    job: str | None = None,
    limit: int = 100,
) -> Page:
    """Return a page of the feed."""
    return await fixture.store.read(events.feed(after, types, prefixes, job, limit))


async def blocked(fixture: StoreFixture, number: int) -> Event:
    """Return an event without a job."""
    recording = fixture.services.core.recorder
    made = recording.event("provider.blocked", "aiml", str(number), {"object": "provider"}, fixture.clock.at)

    def blocking() -> Transaction[list[Event]]:
        yield query("select 1")
        return [made]

    await recording.write(blocking)
    return made


# The feed.


async def test_the_feed_is_read_to_its_end_in_the_order_of_commits(fixture: StoreFixture) -> None:
    made = [await ended(fixture) for _ in range(3)]
    whole = await feed(fixture)
    assert [event.job_id for event in whole.events] == [job.id for job in made for _ in range(2)]
    assert [event.type for event in whole.events] == ["job.running", "job.succeeded"] * 3
    read: list[Event] = []
    place: int | str | None = None
    while (page := await feed(fixture, place, limit=4)).events:
        read += page.events
        place = page.after
        assert page.more == (len(read) < 6)
    assert read == list(whole.events)
    assert (await feed(fixture, place)).after == place
    await ended(fixture)
    assert len((await feed(fixture, place)).events) == 2


async def test_the_feed_goes_on_behind_an_events_id(fixture: StoreFixture) -> None:
    await ended(fixture)
    first, second = (await feed(fixture)).events
    assert list((await feed(fixture, first.id)).events) == [second]
    assert list((await feed(fixture, second.id)).events) == []
    assert list((await feed(fixture, 0)).events) == [first, second]


async def test_the_feed_can_be_narrowed(fixture: StoreFixture) -> None:
    first, second = await ended(fixture), await ended(fixture)
    about_none = await blocked(fixture, 1)
    narrowed = [
        ({"types": ["job.running"]}, ["job.running"] * 2),
        ({"prefixes": ["provider."]}, ["provider.blocked"]),
        ({"types": ["job.running"], "prefixes": ["provider."]}, ["job.running"] * 2 + ["provider.blocked"]),
        ({"job": second.id}, ["job.running", "job.succeeded"]),
        ({"job": first.id, "types": ["job.failed"]}, []),
        ({"prefixes": ["x"]}, []),
    ]
    for how, expected in narrowed:
        found = await feed(fixture, **how)  # type: ignore[arg-type]  # one way or another
        assert [event.type for event in found.events] == expected, how
    page = await feed(fixture, types=["job.running"], limit=1)
    assert (page.more, len(page.events)) == (True, 1)
    last = (await feed(fixture)).events[-1]
    assert (last.id, last.job_id, last.body) == (about_none.id, None, about_none.body)


# Positions after removals.


async def test_a_place_that_retention_removed_is_told_as_lost(fixture: StoreFixture) -> None:
    made = [await ended(fixture) for _ in range(3)]
    places = [(await feed(fixture, limit=count)).after for count in range(1, 7)]
    ids = [event.id for event in (await feed(fixture)).events]
    await remove(fixture, made[0].id, made[1].id)
    for lost in (0, places[0], places[2], ids[0], ids[3], "evt_unknown"):
        page = await feed(fixture, lost)
        assert (page.lost, page.oldest, page.events) == (True, ids[4], ())
    for kept in (None, places[3], places[4], ids[4]):
        page = await feed(fixture, kept)
        assert not page.lost
    assert len((await feed(fixture, places[3])).events) == 2
    await remove(fixture, made[2].id)
    page = await feed(fixture, places[3])
    assert (page.lost, page.oldest) == (True, None)
    assert not (await feed(fixture, places[5])).lost
    later = await ended(fixture)
    assert [event.job_id for event in (await feed(fixture, places[5])).events] == [later.id] * 2


async def test_a_place_is_lost_even_while_older_events_are_kept(fixture: StoreFixture) -> None:
    open_job = await fixture.submitted()
    await fixture.hear(word(open_job, fixture, told(Phase.RUNNING)))
    place = (await feed(fixture)).after
    await remove(fixture, (await ended(fixture)).id)
    assert (await feed(fixture, place)).lost


async def test_who_read_to_the_end_lost_nothing_when_the_last_job_is_erased(fixture: StoreFixture) -> None:
    await ended(fixture)
    newest = await ended(fixture)
    end = (await feed(fixture)).after
    await fixture.store.write(lambda: erasure.erase([newest.id], fixture.clock.at))
    page = await feed(fixture, end)
    assert (page.lost, page.after, list(page.events)) == (False, end, [])
    later = await ended(fixture)
    assert [event.job_id for event in (await feed(fixture, end)).events] == [later.id] * 2


async def test_a_place_is_lost_where_events_of_no_job_were_removed(fixture: StoreFixture) -> None:
    for number in range(3):
        await blocked(fixture, number)
    places = [(await feed(fixture, limit=count)).after for count in range(1, 4)]
    [first, second] = await fixture.store.read(events.old(fixture.clock.at + timedelta(seconds=1), 2))
    await fixture.store.write(lambda: events.remove([first[0], second[0]]))
    assert (await feed(fixture, places[0])).lost


async def test_a_reader_behind_a_job_that_was_erased_by_hand_goes_on(fixture: StoreFixture) -> None:
    first, second = [await fixture.submitted() for _ in range(2)]
    [one] = await fixture.hear(word(first, fixture, told(Phase.FAILED)))
    [two] = await fixture.hear(word(second, fixture, told(Phase.FAILED)))
    place = one.events[0].id
    await fixture.services.api.jobs.erase(first.id)
    page = await fixture.store.read(events.feed(place, [], [], None, 10))
    assert (page.lost, [event.id for event in page.events]) == (False, [two.events[0].id])
    fixture.clock.pass_(days=1, seconds=1)
    await fixture.services.retention.sweep()
    assert (await fixture.store.read(events.feed(place, [], [], None, 10))).lost
    assert await fixture.column("select count(*) from erased") == [0]


async def test_a_page_that_is_just_full_says_whether_more_follows(fixture: StoreFixture) -> None:
    await ended(fixture)
    await ended(fixture)
    places = await fixture.column("select seq from event order by seq")
    pages = [await feed(fixture, limit=limit) for limit in (1, 3, 4, 5)]
    found = [(len(page.events), page.more, page.after) for page in pages]
    assert found == [(1, True, places[0]), (3, True, places[2]), (4, False, places[3]), (4, False, places[3])]


async def test_events_that_are_dropped_by_their_time_are_told_as_lost(fixture: StoreFixture) -> None:
    moments, places = [], []
    for _ in range(3):
        moments.append(ms(fixture.clock.at))
        await ended(fixture)
        places.append((await feed(fixture)).after)
        fixture.clock.pass_(seconds=1)
    low, high = first_id("evt", moments[0]), first_id("evt", moments[2])
    for until in (high, first_id("evt", moments[1])):
        await fixture.store.write(partial(events.note_removed_between, low, until))
    lost = [(await feed(fixture, place)).lost for place in (0, places[0], places[1], places[2])]
    assert lost == [True, True, False, False], "the mark never falls"
    await fixture.store.write(partial(events.note_removed_between, "evt_", low))
    assert (await feed(fixture, places[1])).lost is False


async def test_kept_positions_are_forgotten_with_their_time(fixture: StoreFixture) -> None:
    for _ in range(2):
        await ended(fixture)
    first, second = [event.id for event in (await feed(fixture)).events[::2]]
    place = {row["id"]: row["seq"] for row in await fixture.query("select id, seq from event")}
    await fixture.store.write(partial(events.remember_places, [first], fixture.clock.at))
    fixture.clock.pass_(seconds=1)
    await fixture.store.write(partial(events.remember_places, [first, second, "evt_gone"], fixture.clock.at))
    await fixture.store.write(partial(events.forget_places, fixture.clock.at))
    rows = await fixture.query("select id, place from erased")
    assert [tuple(row) for row in rows] == [(second, place[second])], "the first was kept at its first time"
    await fixture.write("delete from event where id in (:ids)", ids=[first, second])
    lost = await feed(fixture, first)
    assert (lost.lost, lost.more, lost.after, lost.events) == (True, False, 0, ())
    assert (await feed(fixture, second, limit=1)).events[0].type == "job.succeeded"


async def test_a_kept_position_is_lost_with_the_events_after_it(fixture: StoreFixture) -> None:
    await ended(fixture)
    first, second = [event.id for event in (await feed(fixture)).events]
    await fixture.store.write(partial(events.remember_places, [first], fixture.clock.at))
    lost = []
    for removed in (first, second):
        await fixture.store.write(partial(events.remove, [removed]))
        lost.append((await feed(fixture, first)).lost)
    assert lost == [False, True]


# Single events.


async def test_an_event_tells_where_it_went(fixture: StoreFixture) -> None:
    for name, patterns in {"a": ("*",), "b": ("job.failed",), "c": ("job.*",), "d": ("job.*",)}.items():
        await fixture.endpoint(
            name, *patterns, state=EndpointState.PAUSED if name == "c" else EndpointState.ACTIVE
        )
    job = await fixture.submitted(callback_url="https://me.example/", callback_secret=b"sealed")
    [recorded] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
    await fixture.settle_born(recorded.deliveries[0])
    await fixture.store.write(lambda: table.remove("d", fixture.clock.at))
    found = await fixture.store.read(events.get(recorded.events[0].id, fixture.clock.at))
    assert found is not None
    event, places = found
    assert event == recorded.events[0]
    assert [(one.endpoint_id, one.status, one.delivery_id is None) for one in places] == [
        ("a", "delivered", False),
        ("b", "not-subscribed", True),
        ("c", "paused", False),
        ("d", "canceled", False),
        (None, "pending", False),
    ]
    assert await fixture.store.read(events.get("evt_unknown", fixture.clock.at)) is None


@pytest.mark.parametrize("state", ["canceled", "exhausted", "pending"])
async def test_an_event_that_went_stays_delivered_whatever_a_replay_of_it_did(
    fixture: StoreFixture, state: str
) -> None:
    await fixture.endpoint("a")
    job = await fixture.submitted()
    [recorded] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
    [born] = recorded.deliveries
    event = recorded.events[0].id
    row = delivery_row(id="dlv_z", event=event, target="a", job=job.id, at=fixture.clock.at, origin="rpl_1")

    def replayed() -> Transaction[None]:
        yield insert("delivery", [row])

    await fixture.settle_born(born)
    await fixture.store.write(replayed)
    await fixture.write("update delivery set state = :state where id = 'dlv_z'", state=state)
    found = await fixture.store.read(events.get(event, fixture.clock.at))
    assert found is not None
    assert found[1] == [EventDelivery("a", born.delivery.id, "delivered")]


async def test_an_event_tells_of_endpoints_that_it_did_not_reach(fixture: StoreFixture) -> None:
    for name, state in (
        ("a", EndpointState.DISABLED),
        ("b", EndpointState.ACTIVE),
        ("c", EndpointState.PAUSED),
    ):
        await fixture.endpoint(name, state=state)
    job = await fixture.submitted()
    [recorded] = await fixture.hear(word(job, fixture, told(Phase.FAILED)))
    deliveries_ = {one.delivery.endpoint_id: one for one in recorded.deliveries}
    claim = deliveries_["b"].claim
    assert claim is not None
    await fixture.settle(claim, "exhausted", reason="connect: refused")
    gone = deliveries_["c"].delivery.id
    await fixture.store.write(lambda: deliveries.cancel([gone], "by hand", fixture.clock.at))
    fixture.clock.pass_(milliseconds=1)
    await fixture.endpoint("d", "job.failed")
    found = await fixture.store.read(events.get(recorded.events[0].id, fixture.clock.at))
    assert found is not None
    assert found[1] == [
        EventDelivery("a", deliveries_["a"].delivery.id, "disabled"),
        EventDelivery("b", claim.id, "exhausted", "connect: refused"),
        EventDelivery("c", gone, "canceled", "by hand"),
        EventDelivery("d", None, "created-later", "it was created after the event"),
    ]


# Events of no job.


async def test_events_of_no_job_go_with_what_was_owed_for_them(tmp_path: Path) -> None:
    async with store_fixture(tmp_path, retention_days="1") as fixture:
        await fixture.endpoint("ep_1", "provider.*", "job.succeeded")
        await blocked(fixture, 1)
        fixture.clock.pass_(hours=1)
        await ended(fixture)
        fixture.clock.pass_(hours=23, milliseconds=1)
        await blocked(fixture, 2)
        await fixture.services.retention.sweep()
        await only_the_first_is_gone(fixture)


async def only_the_first_is_gone(fixture: StoreFixture) -> None:
    """Check that the event that is older than a day was removed, with its delivery, and no other."""
    assert [event.type for event in (await feed(fixture)).events] == [
        "job.running",
        "job.succeeded",
        "provider.blocked",
    ]
    assert await fixture.column("select count(*) from delivery") == [2]
    assert await fixture.column("select count(*) from due where work = 'deliver'") == [2]


async def test_old_events_of_no_job_are_found_oldest_first_with_their_deliveries(
    fixture: StoreFixture,
) -> None:
    await ended(fixture)
    made = [await blocked(fixture, 0)]
    await fixture.endpoint("ep_1", "provider.*")
    await fixture.endpoint("ep_2", "*")
    for number in (1, 2):
        fixture.clock.pass_(seconds=1)
        made.append(await blocked(fixture, number))
    ids = [event.id for event in made]
    assert await fixture.store.read(events.old(made[0].at, 10)) == []
    assert await fixture.store.read(events.old(made[2].at, 10)) == [(ids[0], 0), (ids[1], 2)]
    later = made[2].at + timedelta(milliseconds=1)
    assert await fixture.store.read(events.old(later, 1)) == [(ids[0], 0)]
    await fixture.store.write(partial(events.remove, ids[:2]))
    assert await fixture.store.read(events.old(later, 10)) == [(ids[2], 2)]
