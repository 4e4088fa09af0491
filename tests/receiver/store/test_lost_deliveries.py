"""Lost deliveries in a real store: counted by target and reason."""

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from handlers.contract import Phase
from receiver.domain.model import EndpointState, Source
from receiver.domain.reports import Action
from receiver.store import deliveries, lost_deliveries
from receiver.store.lost_deliveries import LostDelivery, outdated
from receiver.store.statements import Transaction, insert, ms
from tests.receiver.store_fixture import START, StoreFixture, store_fixture, told, types, word
from tests.receiver.store_steps import owe, owed, states


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """Yield a service at rest that keeps a day of history."""
    async with store_fixture(tmp_path, retention_days="1") as made:
        yield made


async def test_what_retention_takes_although_it_was_owed_is_counted(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1", "job.*", "job.late_result", state=EndpointState.PAUSED)
    job = await fixture.submitted("apiframe", "p")
    await fixture.hear(word(job, fixture, source=Source.NOTE, verdict=Action.EXPIRE))
    fixture.clock.pass_(hours=23)
    recorded = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED, "p")))
    assert types(recorded) == ["job.late_result"]
    assert await owed(fixture) == 2
    fixture.clock.pass_(hours=1, minutes=5)
    await fixture.services.retention.sweep()
    if fixture.store.in_parts:
        fixture.clock.pass_(days=2)
        await fixture.services.retention.sweep()
    assert (await owed(fixture), await fixture.column("select count(*) from job")) == (0, [0])
    [taken] = await fixture.store.read(lost_deliveries.list_all())
    assert (taken.target, taken.count) == ("ep_1", 2)


async def test_what_was_owed_for_an_old_event_of_no_job_is_counted(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1", "provider.*")
    recording = fixture.services.core.recorder
    made = recording.event("provider.blocked", "aiml", "1", {"object": "provider"}, fixture.clock.at)

    def blocking() -> Transaction[list[object]]:
        yield insert("meta", [("k", "v")])
        return [made]

    await recording.write(blocking)  # type: ignore[arg-type]  # one event
    fixture.clock.pass_(days=1, seconds=1)
    [leased] = await fixture.column("select count(*) from due where leased = 1")
    assert leased == 1, "it is being sent just then"
    await fixture.services.retention.sweep()
    [taken] = await fixture.store.read(lost_deliveries.list_all())
    assert (taken.target, taken.count, await owed(fixture)) == ("ep_1", 1, 0)
    assert await fixture.column("select count(*) from event") == [0]


# Counts.


async def test_counts_add_up_by_target_and_reason(fixture: StoreFixture) -> None:
    rows: list[tuple[dict[str, int], str]] = [
        ({"ep_2": 1, "ep_1": 2}, "old"),
        ({}, "old"),
        ({"ep_1": 3}, "old"),
        ({"ep_1": 4, "callback": 5}, "erased"),
    ]
    for lost, reason in rows:
        await fixture.store.write(partial(lost_deliveries.count, lost, reason, fixture.clock.at))
        fixture.clock.pass_(seconds=1)
    start = ms(START)
    assert await fixture.store.read(lost_deliveries.list_all()) == [
        LostDelivery(target="callback", reason="erased", count=5, last_at=start + 3000),
        LostDelivery(target="ep_1", reason="erased", count=4, last_at=start + 3000),
        LostDelivery(target="ep_1", reason="old", count=5, last_at=start + 2000),
        LostDelivery(target="ep_2", reason="old", count=1, last_at=start),
    ]
    assert await fixture.column("select first_at from taken where target = 'ep_1' and reason = 'old'") == [
        start
    ]


async def made_at(fixture: StoreFixture, seconds: float) -> str:
    """Return the id of a pending delivery that was made so many seconds after the start."""
    fixture.clock.at = START + timedelta(seconds=seconds)
    [recorded] = await fixture.hear(word(await fixture.submitted(), fixture, told(Phase.SUCCEEDED)))
    return recorded.deliveries[0].delivery.id


async def test_pending_deliveries_before_a_moment_are_found_oldest_first(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1", state=EndpointState.PAUSED)
    ids = [await made_at(fixture, seconds) for seconds in (0, 10, 20)]
    before = START + timedelta(seconds=20)
    assert await fixture.store.read(outdated(before, 10)) == [(ids[0], "ep_1"), (ids[1], "ep_1")]
    assert await fixture.store.read(outdated(before, 1)) == [(ids[0], "ep_1")]
    assert await fixture.store.read(outdated(START, 10)) == []


async def test_a_delivery_that_is_being_sent_is_not_outdated(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1")
    job = await fixture.submitted()
    [recorded] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
    later = fixture.clock.at + timedelta(days=1)
    assert await fixture.store.read(outdated(later, 10)) == []
    [born] = recorded.deliveries
    assert born.claim is not None
    await fixture.settle(born.claim, "pending", next_at=later)
    assert await fixture.store.read(outdated(later, 10)) == [(born.delivery.id, "ep_1")]


async def test_only_deliveries_that_were_pending_are_lost_and_counted(fixture: StoreFixture) -> None:
    await owe(fixture, "ep_1", 3)
    ids = await fixture.column("select id from delivery order by id")
    await fixture.store.write(partial(deliveries.cancel, ids[:1], "by hand", fixture.clock.at))
    found = [(one, "ep_1") for one in ids[:2]] + [("dlv_gone", "ep_2")]
    lost = await fixture.store.write(lambda: lost_deliveries.lose(found, "old", fixture.clock.at))
    assert lost == {"ep_1": 1}
    assert await fixture.column("select reason from delivery order by id") == ["by hand", "old", None]
    assert (await states(fixture), await owed(fixture)) == ({"canceled": 2, "pending": 1}, 1)
    [counted] = await fixture.store.read(lost_deliveries.list_all())
    assert (counted.target, counted.reason, counted.count) == ("ep_1", "old", 1)
