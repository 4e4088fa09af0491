"""Replays in a real store: the range of a time, bounded steps, and the end."""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest

from handlers.contract import Phase
from receiver.domain.model import Endpoint
from receiver.store import endpoints, events, replays
from receiver.store.deliveries import BY_HAND
from receiver.store.replays import Range, Replay, ReplayProgress, ReplayState, Which
from tests.receiver.store_fixture import START, StoreFixture, told, word

HOUR = timedelta(hours=1)


async def at_hours(fixture: StoreFixture, hours: int) -> list[int]:
    """Record one event in each of so many hours. Returns their numbers."""
    for _ in range(hours):
        job = await fixture.submitted()
        await fixture.hear(word(job, fixture, told(Phase.FAILED)))
        fixture.clock.pass_(hours=1)
    return [row["seq"] for row in await fixture.query("select seq from event order by seq")]


def planned(endpoint: Endpoint, found: Range, which: Which = Which.ALL, replay_id: str = "rpl_1") -> Replay:
    """Return a replay of a range."""
    return Replay(
        id=replay_id,
        endpoint_id=endpoint.id,
        which=which,
        since=None,
        until=None,
        events=None,
        place=found.place,
        last=found.last,
        total=0,
        created_at=START,
    )


async def range_of(fixture: StoreFixture, since: datetime | None, until: datetime | None) -> Range:
    """Return the range of a time."""
    return await fixture.store.read(replays.range_of(since, until))


async def test_the_range_of_a_time_reaches_a_minute_beyond_it(fixture: StoreFixture) -> None:
    assert await range_of(fixture, None, None) == Range(0, 0)
    numbers = await at_hours(fixture, 9)
    before = [numbers[0] - 1, *numbers]
    assert await range_of(fixture, None, None) == Range(before[0], before[9])
    for first in range(10):
        for last in range(first, 10):
            found = await range_of(fixture, START + first * HOUR, START + last * HOUR)
            # The event at the very end is within the minute.
            assert found == Range(before[first], before[min(last + 1, 9)]), (first, last)
    assert await range_of(fixture, START + 99 * HOUR, None) == Range(before[9], before[9])


async def test_a_time_of_which_retention_removed_a_part_is_lost(fixture: StoreFixture) -> None:
    await at_hours(fixture, 3)
    ids = [row["id"] for row in await fixture.query("select id from event order by seq")]
    await fixture.store.write(lambda: events.remove(ids[:1]))
    assert await range_of(fixture, START, None) == Range(0, 0, lost=True, oldest=ids[1])
    assert not (await range_of(fixture, START + HOUR, None)).lost
    assert not (await range_of(fixture, None, None)).lost
    await fixture.store.write(lambda: events.remove(ids))
    assert await range_of(fixture, START + HOUR, None) == Range(0, 0, lost=True)


async def test_a_step_makes_no_more_deliveries_than_may_be_pending(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "UNDER_WAY", 3)
    await at_hours(fixture, 5)
    endpoint = await fixture.endpoint("ep_1", "job.*")
    whole = planned(endpoint, await range_of(fixture, None, None))
    assert await fixture.store.write(lambda: replays.add(whole))
    step = partial(replays.step, whole.id, endpoint, fixture.services.core.ids, fixture.clock.at)
    assert [await fixture.store.write(step) for _ in range(3)] == [3, 0, 0]
    due = await fixture.query("select id, lane from due where work = 'deliver' order by id")
    assert {row["lane"] for row in due} == {"ep_1~replay"}
    await fixture.write("update delivery set state = 'delivered' where id = :id", id=due[0]["id"])
    await fixture.write("update delivery set state = 'exhausted' where id = :id", id=due[1]["id"])
    assert [await fixture.store.write(step) for _ in range(2)] == [2, 0]
    found = await fixture.store.read(replays.get(whole.id))
    assert found is not None
    assert (found[0].made, found[0].state, found[1]) == (
        5,
        ReplayState.RUNNING,
        ReplayProgress(pending=3, delivered=1, failed=1, canceled=0),
    )
    await fixture.write("update delivery set state = 'delivered' where state = 'pending'")
    assert await fixture.store.write(step) == 0
    assert await fixture.store.read(replays.running()) == []
    [(done, progress)] = await fixture.store.read(replays.page("rpl_g", 5))
    assert (done.state, done.ended_at, progress.delivered) == (ReplayState.DONE, fixture.clock.at, 4)


async def test_deliveries_that_wait_for_a_later_attempt_hold_up_no_others(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "UNDER_WAY", 2)
    monkeypatch.setattr(replays, "MOST_PENDING", 5)
    await at_hours(fixture, 8)
    endpoint = await fixture.endpoint("ep_1", "job.*")
    whole = planned(endpoint, await range_of(fixture, None, None))
    assert await fixture.store.write(lambda: replays.add(whole))
    step = partial(replays.step, whole.id, endpoint, fixture.services.core.ids, fixture.clock.at)
    made = []
    for _ in range(4):
        made.append(await fixture.store.write(step))
        await fixture.write("update delivery set tries = 1 where state = 'pending'")
    assert made == [2, 2, 1, 0]
    await fixture.write("update delivery set state = 'delivered' where state = 'pending'")
    assert [await fixture.store.write(step) for _ in range(2)] == [2, 0]


async def test_a_step_passes_by_events_that_are_not_chosen_up_to_a_bound(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "UNDER_WAY", 2)
    endpoint = await fixture.endpoint("ep_1", "job.*")
    numbers = await at_hours(fixture, 9)
    await fixture.write("delete from due where work = 'deliver'")
    for missing in numbers[6:]:
        await fixture.write(
            "delete from delivery where event = (select id from event where seq = :seq)", seq=missing
        )
    whole = planned(endpoint, await range_of(fixture, None, None), Which.MISSING)
    assert await fixture.store.write(lambda: replays.add(whole))
    step = partial(replays.step, whole.id, endpoint, fixture.services.core.ids, fixture.clock.at)
    monkeypatch.setattr(replays, "CHUNK", 4)
    assert await fixture.store.write(step) == 0
    [one] = await fixture.store.read(replays.running())
    assert one.place == numbers[3]
    monkeypatch.setattr(replays, "CHUNK", 500)
    assert await fixture.store.write(step) == 2
    [one] = await fixture.store.read(replays.running())
    assert (one.place, one.made) == (numbers[7], 2)
    await fixture.write("update delivery set state = 'delivered' where state = 'pending'")
    assert await fixture.store.write(step) == 1
    [one] = await fixture.store.read(replays.running())
    assert (one.place, one.made) == (numbers[8], 3)


async def test_an_event_is_chosen_by_how_its_deliveries_ended(fixture: StoreFixture) -> None:
    endpoint = await fixture.endpoint("ep_1", "job.*")
    ends: list[tuple[list[tuple[str, str | None]], set[str]]] = [
        ([("exhausted", None)], {"failed", "all"}),
        ([("canceled", "the endpoint answered 410")], {"failed", "all"}),
        ([("canceled", BY_HAND)], {"all"}),
        ([("exhausted", None), ("canceled", replays.WITH_REPLAY)], {"failed", "all"}),
        ([("exhausted", None), ("canceled", BY_HAND)], {"failed", "all"}),
        ([("exhausted", None), ("delivered", None)], {"all"}),
        ([("exhausted", None), ("pending", None)], {"all"}),
        ([("delivered", None), ("canceled", replays.WITH_REPLAY)], {"all"}),
        ([("canceled", replays.WITH_REPLAY)], {"missing", "all"}),
        ([], {"missing", "all"}),
    ]
    numbers = await at_hours(fixture, len(ends))
    await fixture.write("delete from delivery")
    for number, (deliveries, _) in zip(numbers, ends, strict=True):
        for place, (state, reason) in enumerate(deliveries):
            await fixture.write(
                "insert into delivery select :id, id, 'ep_1', :id, job, :state, at, at, 1, :reason "
                "from event where seq = :seq",
                id=f"dlv_{number}_{place}",
                state=state,
                reason=reason,
                seq=number,
            )
    whole = await range_of(fixture, None, None)
    for which in Which:
        found, _ = await fixture.store.read(replays.chosen(planned(endpoint, whole, which), endpoint, 0))
        ids = {one.id for one in found}
        rows = await fixture.query("select id from event order by seq")
        expected = {row["id"] for row, (_, by) in zip(rows, ends, strict=True) if which.value in by}
        assert ids == expected, which


async def test_a_replay_waits_for_an_endpoint_that_this_replica_does_not_know_yet(
    fixture: StoreFixture,
) -> None:
    endpoint = await fixture.endpoint("ep_1", "job.*")
    one = planned(endpoint, Range(0, 5))
    assert await fixture.store.write(partial(replays.add, one))
    unknown = partial(replays.step, one.id, None, fixture.services.core.ids, fixture.clock.at)
    assert await fixture.store.write(unknown) == 0
    [(kept, _)] = await fixture.store.read(replays.page("rpl_g", 5))
    assert kept.state is replays.ReplayState.RUNNING
    await fixture.store.write(partial(endpoints.remove, "ep_1", fixture.clock.at))
    assert await fixture.store.write(unknown) == 0
    [(ended, _)] = await fixture.store.read(replays.page("rpl_g", 5))
    assert ended.state is replays.ReplayState.CANCELED


async def test_an_endpoint_has_one_running_replay_and_old_ones_are_forgotten(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "KEPT", 2)
    endpoint = await fixture.endpoint("ep_1", "job.*")
    nothing = planned(endpoint, Range(0, 0))
    for number in range(1, 5):
        one = replace(nothing, id=f"rpl_{number}")
        assert await fixture.store.write(partial(replays.add, one))
        assert not await fixture.store.write(partial(replays.add, replace(nothing, id="rpl_9")))
        assert await fixture.store.write(partial(replays.cancel, one.id, START))
        assert not await fixture.store.write(partial(replays.cancel, one.id, START))
    assert [one.id for one, _ in await fixture.store.read(replays.page("rpl_g", 9))] == ["rpl_4", "rpl_3"]
    for name, found in (("ep_1", ["rpl_4"]), ("ep_2", [])):
        assert [one.id for one, _ in await fixture.store.read(replays.page("rpl_g", 1, name))] == found
