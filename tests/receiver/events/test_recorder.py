"""The recorder: reports and events are stored, and their follow-ups run after the commit."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from handlers import json
from handlers.contract import Phase
from receiver.domain.errors import TooLarge
from receiver.domain.model import EndpointState, Event, Job, Outcome, Source, State, Work
from receiver.domain.reports import FailureKind
from receiver.events import recorder as module
from receiver.events.recorder import FEED, Recorder
from receiver.store import events
from receiver.store.statements import Transaction, insert, query
from receiver.work import periodic
from tests.receiver.job_steps import out
from tests.receiver.store_fixture import StoreFixture, told, word, write_locked
from tests.receiver.woken_worker import register_workers
from tests.receiver.worker_fixture import PATIENCE

FAR = 3600.0


@pytest.fixture
def recorder(fixture: StoreFixture) -> Recorder:
    """Return its recorder."""
    return fixture.services.core.recorder


def announcement(fixture: StoreFixture, kind: str = "blocked|1") -> Event:
    """Return an event about an account."""
    data = {"object": "provider", "id": "aiml"}
    return fixture.services.core.recorder.event("provider.blocked", "aiml", kind, data, fixture.clock.at)


def writing(*found: Event) -> Transaction[Sequence[Event]]:
    """Write a row, and return these events."""
    yield insert("meta", [(f"row {found[0].id}", "v")])
    return found


def failing() -> Transaction[Sequence[Event]]:
    """Fail inside the transaction."""
    yield query("select 1")
    raise ValueError("not this one")


def taken(fixture: StoreFixture) -> int:
    """Return the slots of the endpoint that are taken."""
    return fixture.lanes.lane(Work.DELIVER, "ep_1").in_flight


# Reports.


async def test_a_recorded_report_starts_its_deliveries_and_wakes_its_callers(
    fixture: StoreFixture, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    hints: list[str] = []
    monkeypatch.setattr(fixture.store.driver, "tell", hints.append)
    await fixture.endpoint("ep_1", "job.succeeded")
    await fixture.endpoint("ep_2", "job.succeeded", state=EndpointState.PAUSED)
    job, workers = await fixture.submitted(), register_workers(fixture)
    hints.clear()
    waiting = fixture.services.core.waiting_calls
    with waiting.waiting(job.id, "key") as call, waiting.waiting(None, "key") as feed:
        recorded = await recorder.record(word(job, fixture, told(Phase.SUCCEEDED)))
        async with asyncio.timeout(PATIENCE):
            await call.news(FAR)
            await feed.news(FAR)
    assert (recorded.outcome, (await fixture.now(job)).state) == (Outcome.APPLIED, State.SUCCEEDED)
    assert [event.type for event in recorded.events] == ["job.succeeded"]
    held, other = recorded.deliveries
    assert [one.delivery for one in workers[Work.DELIVER].started] == [held.delivery]
    assert (held.lane, workers[Work.DELIVER].marked) == ("ep_1", ["ep_2"])
    assert (other.lane, other.claim) == ("ep_2", None)
    assert hints == [FEED]


async def test_a_report_that_makes_no_event_wakes_only_the_worker_of_its_next_work(
    fixture: StoreFixture, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, claim = await out(fixture)
    hints: list[str] = []
    monkeypatch.setattr(fixture.store.driver, "tell", hints.append)
    workers = register_workers(fixture)
    report = word(job, fixture, told(Phase.QUEUED, "p1"), Source.SUBMISSION, claim=claim)
    recorded = await recorder.record(report)
    assert recorded.due is not None
    assert (recorded.due.work, workers[Work.POLL].woken) == (Work.POLL, [recorded.due.at])
    assert recorded.due.at > fixture.clock.at
    assert (workers[Work.SUBMIT].woken, workers[Work.DELIVER].started) == ([], [])
    assert hints == []


async def test_a_transaction_that_fails_gives_the_slots_of_its_reports_back(
    fixture: StoreFixture, recorder: Recorder
) -> None:
    await fixture.endpoint("ep_1", "job.succeeded")
    job = await fixture.submitted()
    recorded, failed = await asyncio.gather(
        recorder.record(word(job, fixture, told(Phase.SUCCEEDED))),
        fixture.store.write(failing, last=True),
        return_exceptions=True,
    )
    assert isinstance(failed, ValueError)
    assert not isinstance(recorded, BaseException)
    assert len(recorded.deliveries) == 1
    assert taken(fixture) == 1


async def test_a_report_that_is_larger_than_the_queue_is_refused(
    fixture: StoreFixture, recorder: Recorder
) -> None:
    job = await fixture.submitted()
    with pytest.raises(TooLarge, match="more than can be stored at once"):
        await recorder.record(word(job, fixture, told(Phase.SUCCEEDED), body=bytes(64_000 * 1024)))
    assert (await fixture.now(job)).state is State.QUEUED


# Outcomes of work.


class Noted(dict[str, datetime]):
    """The outcomes that wait for the store. `added` is set with the first."""

    def __init__(self) -> None:
        super().__init__()
        self.added = asyncio.Event()

    def __setitem__(self, job_id: str, since: datetime) -> None:
        super().__setitem__(job_id, since)
        self.added.set()


@pytest.fixture
def delayed(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Noted:
    """Return the outcomes that wait for the store, which is tried again at once."""
    monkeypatch.setattr(periodic, "PAUSE", 0.0)
    recorder.waiting_since = delayed = Noted()
    return delayed


def answered(fixture: StoreFixture, job: Job, claim: Any) -> Any:
    """Return the report of a submission that the provider accepted."""
    return word(job, fixture, told(Phase.QUEUED, "p1"), Source.SUBMISSION, claim=claim)


@pytest.mark.usefixtures("on_sqlite", "impatient")
async def test_an_outcome_waits_until_the_store_takes_it(
    tmp_path: Path,
    fixture: StoreFixture,
    recorder: Recorder,
    delayed: Noted,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job, claim = await out(fixture)
    with write_locked(fixture.path):
        task = asyncio.create_task(recorder.settle(answered(fixture, job, claim)))
        async with asyncio.timeout(PATIENCE):
            await delayed.added.wait()
        assert recorder.waiting_since == {job.id: fixture.clock.at}
    async with asyncio.timeout(PATIENCE):
        recorded = await task
    assert recorded.job is not None
    assert (recorded.job.state, recorded.job.provider_job_id) == (State.QUEUED, "p1")
    assert recorder.waiting_since == {}
    lines = [one for one in caplog.records if one.name == module.LOGGER.name]
    assert [one.__dict__["job"] for one in lines] == [job.id]


@pytest.mark.usefixtures("on_sqlite", "impatient")
@pytest.mark.parametrize("accepted", [True, False])
async def test_an_outcome_that_is_lost_with_the_process_is_logged_with_the_id_of_the_provider(
    fixture: StoreFixture,
    recorder: Recorder,
    delayed: Noted,
    caplog: pytest.LogCaptureFixture,
    accepted: bool,
) -> None:
    job, claim = await out(fixture)
    lost = word(job, fixture, source=Source.SUBMISSION, verdict=FailureKind.LOST, claim=claim)
    with write_locked(fixture.path):
        task = asyncio.create_task(recorder.settle(answered(fixture, job, claim) if accepted else lost))
        async with asyncio.timeout(PATIENCE):
            await delayed.added.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    [line] = [one for one in caplog.records if one.levelno == logging.ERROR and "job" in one.__dict__]
    assert line.args == ("p1" if accepted else None,)
    assert line.__dict__["job"] == job.id
    assert recorder.waiting_since == {}


# Events of the service.


async def test_the_events_of_a_transaction_are_stored_with_it_and_delivered(
    fixture: StoreFixture, recorder: Recorder
) -> None:
    await fixture.endpoint("ep_1", "provider.*")
    workers, made = register_workers(fixture), announcement(fixture)
    with fixture.services.core.waiting_calls.waiting(None, "key") as feed:
        assert await recorder.write(lambda: writing(made)) == [made]
        async with asyncio.timeout(PATIENCE):
            await feed.news(FAR)
    assert await fixture.column("select value from meta where key = :key", key=f"row {made.id}") == ["v"]
    page = await fixture.store.read(events.feed(0, [], [], None, 10))
    assert list(page.events) == [made]
    [started] = workers[Work.DELIVER].started
    assert (started.delivery.endpoint_id, started.delivery.event) == ("ep_1", made)


async def test_an_event_that_is_sent_another_way_has_no_deliveries(
    fixture: StoreFixture, recorder: Recorder
) -> None:
    await fixture.endpoint("ep_1", "provider.*")
    made = announcement(fixture)
    assert await recorder.write(lambda: writing(made), alone=True) == [made]
    assert await fixture.column("select type from event") == ["provider.blocked"]
    assert await fixture.column("select id from delivery") == []
    assert taken(fixture) == 0


async def test_a_transaction_without_events_makes_none(fixture: StoreFixture, recorder: Recorder) -> None:
    def quiet() -> Transaction[Sequence[Event]]:
        yield insert("meta", [("k", "v")])
        return []

    assert await recorder.write(quiet) == []
    assert await fixture.column("select value from meta where key = 'k'") == ["v"]
    assert await fixture.column("select id from event") == []


async def test_a_transaction_that_fails_costs_its_neighbours_neither_their_events_nor_a_slot(
    fixture: StoreFixture, recorder: Recorder
) -> None:
    await fixture.endpoint("ep_1", "provider.*")
    made = announcement(fixture)
    stored, failed = await asyncio.gather(
        recorder.write(lambda: writing(made)), recorder.write(failing), return_exceptions=True
    )
    assert stored == [made]
    assert isinstance(failed, ValueError)
    assert await fixture.column("select id from event") == [made.id]
    assert taken(fixture) == 1


async def test_a_commit_that_fails_gives_the_slots_of_its_events_back(
    fixture: StoreFixture, recorder: Recorder
) -> None:
    await fixture.endpoint("ep_1", "provider.*")
    made = announcement(fixture)
    stored, failed = await asyncio.gather(
        recorder.write(lambda: writing(made)),
        fixture.store.write(failing, last=True),
        return_exceptions=True,
    )
    assert stored == [made]
    assert isinstance(failed, ValueError)
    assert taken(fixture) == 1


def test_the_same_subject_and_kind_are_the_same_event(fixture: StoreFixture) -> None:
    first, again, other = (announcement(fixture, kind) for kind in ("blocked|1", "blocked|1", "blocked|2"))
    assert first == again
    assert first.id != other.id
    assert (first.job_id, first.sequence, first.at) == (None, 1, fixture.clock.at)
    assert json.read(first.body) == {
        "id": first.id,
        "type": "provider.blocked",
        "timestamp": "2026-11-21T10:00:00.000Z",
        "data": {"object": "provider", "id": "aiml", "sequence": 1},
    }
