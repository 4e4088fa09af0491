"""Long removals go in pieces: deliveries of removed endpoints, old jobs, events and evidence."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from handlers.contract import Phase
from receiver.domain.model import EndpointState, Source, Work
from receiver.domain.reports import Action
from receiver.store import deliveries, erasure, events, lost_deliveries
from receiver.store import endpoints as table
from receiver.store.deliveries import NEWEST
from receiver.store.statements import Transaction, insert
from tests.receiver.store_fixture import StoreFixture, store_fixture, told, types, word

MANY = 250
GONE = "the endpoint was deleted"


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """A service at rest that keeps a day of history."""
    async with store_fixture(tmp_path, retention_days="1") as made:
        yield made


async def owe(fixture: StoreFixture, target: str, count: int = MANY) -> None:
    """Owe a target so many deliveries of events that are not there."""

    def fill() -> Transaction[None]:
        ids = [f"dlv_{number:032x}" for number in range(1, count + 1)]
        yield insert("delivery", [(i, f"evt_{i}", target, "", None, "pending", 1, 1, 0, None) for i in ids])
        yield insert("due", [(i, "deliver", target, 1, 0, 0, 0, "") for i in ids])

    await fixture.store.write(fill)


async def states(fixture: StoreFixture, target: str = "ep_1") -> dict[str, int]:
    """How many deliveries of a target are in each state."""
    sql = "select state, count(*) as many from delivery where target = :target group by state"
    return {row["state"]: row["many"] for row in await fixture.query(sql, target=target)}


async def owed(fixture: StoreFixture) -> int:
    """How many deliveries are owed."""
    [count] = await fixture.column("select count(*) from due where work = 'deliver'")
    return int(count)


# Endpoints.


async def test_a_removed_endpoint_is_sent_nothing_and_its_deliveries_are_canceled_by_and_by(
    fixture: StoreFixture,
) -> None:
    await fixture.endpoint("ep_1")
    await fixture.endpoint("ep_2")
    await owe(fixture, "ep_1")
    serves = fixture.services.pinger.sender.serves
    assert serves("ep_1")
    await fixture.store.write(lambda: table.remove("ep_1", fixture.clock.at))
    await fixture.services.api.endpoints.refresh()
    assert (serves("ep_1"), serves("ep_2")) == (False, True)
    assert await states(fixture) == {"canceled": 100, "pending": MANY - 100}
    place = await fixture.store.write(lambda: table.cancel_removed("ep_1", NEWEST, 120, fixture.clock.at))
    assert await states(fixture) == {"canceled": 120, "pending": MANY - 120}
    assert place == f"dlv_{MANY - 119:032x}"
    await fixture.services.retention.cancel_removed()
    assert (await states(fixture), await owed(fixture)) == ({"canceled": MANY}, 0)
    assert set(await fixture.column("select reason from delivery")) == {GONE}
    assert await fixture.store.read(table.removed()) == []


async def test_the_rest_is_canceled_after_a_restart(tmp_path: Path) -> None:
    async with store_fixture(tmp_path) as fixture:
        await fixture.endpoint("ep_1", state=EndpointState.DISABLED)
        await owe(fixture, "ep_1")
        await fixture.store.write(lambda: table.remove("ep_1", fixture.clock.at))
    async with store_fixture(tmp_path) as fixture:
        assert (await states(fixture))["pending"] == MANY - 100
        await fixture.services.retention.cancel_removed()
        assert await states(fixture) == {"canceled": MANY}


async def test_an_endpoint_that_left_the_file_is_removed_at_start_whatever_it_is_owed(tmp_path: Path) -> None:
    filed = '[{"id": "crm", "url": "https://crm.example/hooks"}]'
    async with store_fixture(tmp_path, endpoints=filed) as fixture:
        await owe(fixture, "crm")
    async with store_fixture(tmp_path) as fixture:
        assert await states(fixture, "crm") == {"canceled": 100, "pending": MANY - 100}
        await fixture.services.retention.cancel_removed()
        assert await states(fixture, "crm") == {"canceled": MANY}


async def test_what_a_removed_endpoint_was_owed_cannot_be_owed_again(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1")
    await owe(fixture, "ep_1", 1)
    await fixture.store.write(lambda: table.remove("ep_1", fixture.clock.at))
    retried = partial(deliveries.retry, f"dlv_{1:032x}", "ep_1", fixture.clock.at)
    assert await fixture.store.write(retried) is False
    assert (await states(fixture), await owed(fixture)) == ({"canceled": 1}, 0)


async def test_removed_endpoints_are_forgotten_with_their_time(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1")
    await fixture.store.write(lambda: table.remove("ep_1", fixture.clock.at))
    await fixture.services.retention.cancel_removed()
    await fixture.services.retention.sweep()
    assert await fixture.column("select id from endpoint") == ["ep_1"]
    fixture.clock.pass_(days=1, seconds=1)
    await fixture.services.retention.sweep()
    assert await fixture.column("select id from endpoint") == []


async def test_what_was_taken_of_a_removed_endpoint_is_forgotten_with_it(fixture: StoreFixture) -> None:
    now = fixture.clock.at
    for target in ("ep_1", "ep_2"):
        await fixture.endpoint(target)
        await fixture.store.write(partial(lost_deliveries.count, {target: 3}, "retention", now))
    await fixture.store.write(lambda: table.remove("ep_1", now))
    await fixture.services.retention.cancel_removed()
    fixture.clock.pass_(days=1, seconds=1)
    await fixture.services.retention.sweep()
    assert [one.target for one in await fixture.store.read(lost_deliveries.list_all())] == ["ep_2"]


# Jobs.


async def heard(fixture: StoreFixture, words: int) -> str:
    """A failed job that heard so many words."""
    job = await fixture.submitted()
    await fixture.hear(word(job, fixture, told(Phase.FAILED)))

    def fill() -> Transaction[None]:
        ids = [f"evd_{number:032x}" for number in range(1, words + 1)]
        row = (job.id, 1, "callback", "applied", "{}", None, b"x" * 10, 1, 1)
        yield insert("evidence", [(one, *row) for one in ids])

    await fixture.store.write(fill)
    return job.id


async def test_jobs_are_removed_in_groups_by_what_hangs_on_them(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "ROWS", 100)
    light = [await heard(fixture, 30) for _ in range(4)]
    heavy = await heard(fixture, 300)
    groups = await fixture.store.read(erasure.groups([*light, heavy]))
    assert sorted(groups, key=str) == sorted(
        [(light[:2], False), (light[2:], False), ([heavy], True)], key=str
    )


async def test_a_heavy_job_goes_in_pieces_and_leaves_nothing(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "ROWS", 100)
    job = await heard(fixture, 250)
    [before] = await fixture.column("select count(*) from evidence where job = :job", job=job)
    more, lost = await fixture.store.write(lambda: erasure.lighten(job, None))
    [after] = await fixture.column("select count(*) from evidence where job = :job", job=job)
    assert (more, dict(lost), before - after) == (True, {}, 100)
    fixture.clock.pass_(days=2)
    assert await fixture.services.retention.sweep() == 1
    for name in ("job", "evidence", "event"):
        assert await fixture.column(f"select count(*) from {name}") == [0]  # ours


async def test_the_bytes_of_a_piece_are_bounded_too(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "BYTES", 25)
    job = await heard(fixture, 10)
    [before] = await fixture.column("select count(*) from evidence where job = :job", job=job)
    await fixture.store.write(lambda: erasure.lighten(job, None))
    [after] = await fixture.column("select count(*) from evidence where job = :job", job=job)
    assert before - after == 2


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


async def test_evidence_of_no_job_goes_in_pieces(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "ROWS", 100)
    job = await heard(fixture, 250)
    await fixture.write("delete from job where id = :id", id=job)
    counts, place = [], ""
    fixture.clock.pass_(days=2)
    for _ in range(4):
        change = partial(erasure.prune_orphans, fixture.clock.at, place, 10)
        place = await fixture.store.write(change)
        counts += await fixture.column("select count(*) from evidence where job = :job", job=job)
    assert (counts[0] - counts[1], counts[-1], place) == (100, 0, "")


# The feed behind what was removed.


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


async def test_a_job_with_much_is_erased_by_hand_in_pieces(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "ROWS", 100)
    job = await heard(fixture, 250)
    await fixture.services.api.jobs.erase(job)
    for name in ("job", "evidence", "event"):
        assert await fixture.column(f"select count(*) from {name}") == [0]  # ours
    assert await fixture.claim(Work.DELIVER) == []
