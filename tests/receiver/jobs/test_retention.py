"""Retention: jobs that expire, holds that are taken up, old rows that are removed, in pieces."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from handlers.contract import Phase
from receiver.domain.clock import Clock
from receiver.domain.model import By, EndpointState, Job, State, Work
from receiver.domain.reports import FailureKind
from receiver.jobs import retention as module
from receiver.jobs.retention import FOLD, LAST_POLL, OUTDATED, STEP, SWEEP, Retention
from receiver.metrics.exposition import registry
from receiver.store import endpoints as table
from receiver.store import erasure, events, holds, lost_deliveries, partitions
from receiver.store.postgres import driver
from receiver.store.statements import ms
from tests.receiver.job_steps import SUBMIT, dues, out, unconfirmed
from tests.receiver.store_fixture import START, StoreFixture, store_fixture, told, word
from tests.receiver.worker_fixture import PATIENCE

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """Yield a service at rest that keeps a day of history."""
    async with store_fixture(tmp_path, retention_days="1") as made:
        yield made


@pytest.fixture(autouse=True)
def _busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine not count as a process that was stopped."""
    monkeypatch.setattr(module, "PAUSED", 1e6)


@pytest.fixture
def retention(fixture: StoreFixture) -> Retention:
    """Return its retention."""
    return fixture.services.retention


def another(fixture: StoreFixture, **changes: Any) -> Retention:
    """Return retention over the same store, with these arguments changed."""
    core = fixture.services.core
    given: dict[str, Any] = {"clock": core.clock, "keep": DAY, "limits": core.limits}
    given |= {"metrics": core.metrics, "decides": None}
    return Retention(core.store, core.recorder, **(given | changes))


async def failed(fixture: StoreFixture) -> Job:
    """Return a job that failed."""
    job = await fixture.submitted()
    [recorded] = await fixture.hear(word(job, fixture, told(Phase.FAILED)))
    assert recorded.job is not None
    return recorded.job


def losses(caplog: pytest.LogCaptureFixture) -> list[object]:
    """Return target, count and reason of each line about lost deliveries."""
    return [one.args for one in caplog.records if one.name == module.LOGGER.name]


# Loops.


async def test_deadlines_and_holds_are_looked_at_every_second_and_old_rows_every_minute(
    retention: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    loops: list[tuple[str, float]] = []

    async def run_periodically(
        look: Callable[[], Awaitable[object]], *, every: float, logger: logging.Logger
    ) -> None:
        loops.append((look.__name__, every))
        assert logger is module.LOGGER

    monkeypatch.setattr(module, "run_periodically", run_periodically)
    await retention.run()
    assert sorted(loops) == [
        ("_cancel_when_told", 0.0),
        ("expire", 1.0),
        ("fold", FOLD),
        ("look", 1.0),
        ("sweep", SWEEP),
    ]


# Deadlines.


async def test_a_job_past_its_deadline_expires_with_its_event(
    fixture: StoreFixture, retention: Retention
) -> None:
    job = await fixture.added(deadline_at=START + SECOND)
    other = await fixture.added(deadline_at=START + 2 * SECOND)
    assert await retention.expire() == 0
    fixture.clock.at = START + SECOND
    assert await retention.expire() == 1
    expired, still = await fixture.now(job), await fixture.now(other)
    assert (expired.state, expired.completed_by, still.state) == (State.EXPIRED, By.DEADLINE, State.PENDING)
    assert expired.completed_at == START + SECOND
    assert await fixture.column("select type from event") == ["job.expired"]
    assert await fixture.evidence(job) == [("note", "applied", 1)]
    assert await retention.expire() == 0


async def test_a_job_with_a_poll_ahead_expires_only_when_that_poll_is_long_overdue(
    fixture: StoreFixture, retention: Retention
) -> None:
    job = await fixture.submitted("aiml", deadline_at=START + SECOND)
    fixture.clock.at = START + LAST_POLL
    assert await retention.expire() == 0
    fixture.clock.at += SECOND
    assert await retention.expire() == 1
    assert (await fixture.now(job)).state is State.EXPIRED


async def test_a_process_that_was_stopped_reads_the_callbacks_that_wait_before_it_expires_jobs(
    fixture: StoreFixture, retention: Retention
) -> None:
    await fixture.added(deadline_at=START)
    retention._looked_at = asyncio.get_running_loop().time() - module.PAUSED - 1
    assert await retention.expire() == 0
    assert await retention.expire() == 1


# Jobs whose answer was lost under another policy.


async def test_a_policy_decides_once_about_the_jobs_that_were_held_before(tmp_path: Path) -> None:
    async with store_fixture(tmp_path) as fixture:
        held = [(await unconfirmed(fixture))[0] for _ in range(3)]
        assert await fixture.services.retention.decide() == 0
        assert [await dues(fixture, job) for job in held] == [[]] * 3
    async with store_fixture(tmp_path, on_unconfirmed="fail", unconfirmed_after="60") as fixture:
        await fixture.services.retention.expire()
        assert [await dues(fixture, job) for job in held] == [[("poll", 60.0)]] * 3
        await fixture.write("delete from due")
        await fixture.services.retention.expire()
        assert [await dues(fixture, job) for job in held] == [[]] * 3


async def test_the_number_of_jobs_that_a_policy_decides_about_is_that_of_all_batches(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    for _ in range(3):
        await unconfirmed(fixture)
    job, claim = await out(fixture)
    await fixture.hear(word(job, fixture, source=SUBMIT, verdict=FailureKind.RESTORE, claim=claim))
    deciding = another(fixture, decides=timedelta(seconds=60))
    assert [await deciding.decide(), await deciding.decide()] == [3, 0]


# The clock of the system.


async def test_a_step_of_the_system_s_clock_is_logged_once_and_so_is_its_end(
    fixture: StoreFixture, caplog: pytest.LogCaptureFixture
) -> None:
    ahead = 0.0
    clock = Clock(now=lambda: START, real=lambda: START + timedelta(seconds=ahead))
    watching = another(fixture, clock=clock)
    for ahead in (0.0, STEP, 3600.0, 3599.0, -STEP, -7.0, 0.0, 0.0):  # noqa: B007  # read by the clock
        await watching.expire()
    lines = [(one.levelname, one.args) for one in caplog.records if one.name == module.LOGGER.name]
    assert lines == [("WARNING", (3600.0,)), ("WARNING", ()), ("WARNING", (-7.0,)), ("WARNING", ())]


# Holds and removed endpoints.


async def test_holds_of_all_replicas_are_taken_up_and_end_with_their_rows(
    fixture: StoreFixture, retention: Retention
) -> None:
    await fixture.endpoint("ep_1")
    await fixture.store.write(partial(holds.hold, [("ep_1", START + timedelta(seconds=90))]))
    await retention.look()
    assert fixture.lanes.held("ep_1") == 90
    assert fixture.lanes.room(Work.DELIVER, "ep_1") == 0
    await fixture.store.write(partial(holds.let_go, "ep_1"))
    await retention.look()
    assert fixture.lanes.held("ep_1") == 0
    assert fixture.lanes.room(Work.DELIVER, "ep_1") > 0


async def test_a_start_takes_up_the_holds_before_anything_is_sent(
    fixture: StoreFixture, retention: Retention
) -> None:
    await fixture.store.write(partial(holds.hold, [("ep_1", START + timedelta(seconds=90))]))
    await retention.begin()
    assert fixture.lanes.held("ep_1") == 90


async def test_a_look_that_finds_a_removed_endpoint_cancels_its_deliveries(
    fixture: StoreFixture, retention: Retention
) -> None:
    await fixture.endpoint("ep_1", state=EndpointState.PAUSED)
    for _ in range(2):
        await failed(fixture)
    await fixture.write("update endpoint set deleted_at = :at, state = :deleting", at=1, deleting=table.OWING)
    canceling = asyncio.create_task(retention._cancel_when_told())
    await retention.look()
    async with asyncio.timeout(PATIENCE):
        await canceling
    rows = await fixture.query("select state, reason from delivery")
    assert [tuple(row) for row in rows] == [("canceled", table.DELETED)] * 2
    assert await fixture.column("select state from endpoint") == ["deleted"]
    assert await fixture.store.read(table.removed()) == []


async def test_all_deliveries_of_all_removed_endpoints_are_canceled_piece_by_piece(
    fixture: StoreFixture, retention: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CANCELED", 2)
    for name in ("ep_1", "ep_2"):
        await fixture.endpoint(name, state=EndpointState.PAUSED)
    for _ in range(3):
        await failed(fixture)
    await fixture.write("update endpoint set deleted_at = :at, state = :deleting", at=1, deleting=table.OWING)
    await retention.cancel_removed()
    assert set(await fixture.column("select state from delivery")) == {"canceled"}
    assert await fixture.column("select id from due where work = 'deliver'") == []


# Old rows.


@pytest.mark.usefixtures("on_sqlite")
async def test_only_jobs_that_ended_before_the_retention_are_removed(
    fixture: StoreFixture, retention: Retention
) -> None:
    for _ in range(2):
        await failed(fixture)
    still = await fixture.submitted()
    fixture.clock.at = START + DAY
    young = await failed(fixture)
    assert await retention.sweep() == 0
    fixture.clock.pass_(milliseconds=1)
    assert await retention.sweep() == 2
    assert await fixture.column("select id from job order by id") == [still.id, young.id]
    assert await fixture.column("select job from event") == [young.id]


async def test_an_outdated_delivery_is_canceled_counted_and_logged(
    fixture: StoreFixture, retention: Retention, caplog: pytest.LogCaptureFixture
) -> None:
    await fixture.endpoint("ep_1", state=EndpointState.PAUSED)
    await failed(fixture)
    fixture.clock.at = START + DAY + SECOND
    await fixture.write("update job set completed_at = null")
    await retention.sweep()
    [row] = await fixture.query("select state, reason from delivery")
    assert (row["state"], row["reason"]) == ("canceled", OUTDATED)
    [lost] = await fixture.store.read(lost_deliveries.list_all())
    assert (lost.target, lost.reason, lost.count, lost.last_at) == ("ep_1", OUTDATED, 1, ms(fixture.clock.at))
    assert losses(caplog) == [("ep_1", 1, OUTDATED)]


@pytest.mark.usefixtures("on_sqlite")
async def test_an_old_job_goes_with_the_delivery_that_is_being_sent_for_it(
    fixture: StoreFixture, retention: Retention, caplog: pytest.LogCaptureFixture
) -> None:
    await fixture.endpoint("ep_1")
    await failed(fixture)
    assert await fixture.column("select leased from due where work = 'deliver'") == [1]
    fixture.clock.at = START + DAY + SECOND
    assert await retention.sweep() == 1
    assert await fixture.column("select id from due") == []
    [lost] = await fixture.store.read(lost_deliveries.list_all())
    assert (lost.target, lost.reason, lost.count) == ("ep_1", OUTDATED, 1)
    assert losses(caplog) == [("ep_1", 1, OUTDATED)]


async def test_a_heavy_job_is_removed_in_pieces_with_the_deliveries_that_it_owes(
    fixture: StoreFixture,
    retention: Retention,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(erasure, "ROWS", 5)
    monkeypatch.setattr(erasure, "OWED_AT_ONCE", 1)
    await fixture.endpoint("ep_1", state=EndpointState.PAUSED)
    await fixture.endpoint("ep_2", state=EndpointState.PAUSED)
    job = await failed(fixture)
    fixture.clock.at = START + DAY + SECOND
    await retention._remove([job.id], heavy=True)
    for name in ("job", "evidence", "event", "delivery", "due"):
        assert await fixture.column(f"select count(*) from {name}") == [0], name
    lost = await fixture.store.read(lost_deliveries.list_all())
    assert [(one.target, one.count) for one in lost] == [("ep_1", 1), ("ep_2", 1)]
    assert registry(fixture.services.core.metrics).get_sample_value("ringback_retention_lost_total") == 2
    assert losses(caplog) == [("ep_1", 1, OUTDATED), ("ep_2", 1, OUTDATED)]


@pytest.mark.usefixtures("on_sqlite")
async def test_old_events_of_no_job_go_with_the_deliveries_that_are_being_sent(
    fixture: StoreFixture, retention: Retention, caplog: pytest.LogCaptureFixture
) -> None:
    await fixture.endpoint("ep_1", "provider.*")
    recorder = fixture.services.core.recorder
    for number in range(2):
        data = {"object": "provider", "id": "aiml"}
        made = recorder.event("provider.blocked", "aiml", str(number), data, fixture.clock.at)

        def emitting(event: Any = made) -> Any:
            yield from ()
            return [event]

        await recorder.write(emitting)
        fixture.clock.at += DAY / 2 + SECOND
    await retention.sweep()
    page = await fixture.store.read(events.feed(None, [], [], None, 10))
    assert [event.id for event in page.events] == [made.id]
    [lost] = await fixture.store.read(lost_deliveries.list_all())
    assert (lost.target, lost.count) == ("ep_1", 1)
    assert losses(caplog) == [("ep_1", 1, OUTDATED)]


async def test_a_sweep_forgets_holds_that_ended_and_places_and_endpoints_that_are_old(
    fixture: StoreFixture, retention: Retention
) -> None:
    await fixture.endpoint("ep_1")
    await fixture.endpoint("ep_2")
    job = await failed(fixture)
    await fixture.services.api.jobs.erase(job.id)
    await fixture.store.write(lambda: table.remove("ep_1", fixture.clock.at))
    await retention.cancel_removed()
    ends = [("ep_2", START + DAY), ("ep_3", START + 2 * DAY)]
    await fixture.store.write(partial(holds.hold, ends))
    fixture.clock.at = START + DAY
    await retention.sweep()
    assert await fixture.column("select id from endpoint order by id") == ["ep_1", "ep_2"]
    assert len(await fixture.column("select id from erased")) == 1
    assert await fixture.column("select lane from hold") == ["ep_3"]
    fixture.clock.at += SECOND
    await retention.sweep()
    assert await fixture.column("select id from endpoint") == ["ep_2"]
    assert await fixture.column("select id from erased") == []


@pytest.mark.usefixtures("on_sqlite")
async def test_evidence_of_jobs_that_are_gone_is_looked_through_from_sweep_to_sweep(
    fixture: StoreFixture, retention: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ORPHANS", 1)
    jobs = [fixture.job() for _ in range(2)]
    await fixture.hear(*(word(job, fixture, told(Phase.RUNNING)) for job in jobs))
    fixture.clock.at = START + DAY + SECOND
    left = []
    for _ in range(2):
        await retention.sweep()
        left.append(len(await fixture.column("select id from evidence")))
    assert left == [1, 0]


# Partitions.


@pytest.mark.usefixtures("on_postgres")
async def test_partitions_that_other_transactions_make_no_room_for_are_made_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, module.LOGGER.name)
    monkeypatch.setattr(driver, "ALONE", driver.ALONE.replace("500ms", "10ms"))
    async with store_fixture(tmp_path, retention_days="8") as fixture:
        before = await fixture.store.read(partitions.parts())
        fixture.clock.pass_(days=8)
        other = await asyncpg.connect(fixture.services.core.settings.database_url)
        async with other.transaction():
            await other.execute(f"select pg_advisory_xact_lock_shared({driver.GATE})")
            await fixture.services.retention.prepare()
            assert await fixture.store.read(partitions.parts()) == before
        await other.close()
        [line] = [one for one in caplog.records if one.name == module.LOGGER.name]
        assert line.levelname == "INFO"
        await fixture.services.retention.prepare()
        made = await fixture.store.read(partitions.parts())
    assert len(made) > len(before)
    assert made[-1].high >= ms(fixture.clock.at + timedelta(days=2))


@pytest.mark.usefixtures("on_sqlite")
async def test_a_store_without_partitions_is_swept_row_by_row(
    fixture: StoreFixture, retention: Retention
) -> None:
    before = await fixture.column("select name from sqlite_schema order by name")
    await retention.begin()
    assert await retention._drop(START + DAY) == START + DAY
    assert await fixture.column("select name from sqlite_schema order by name") == before
