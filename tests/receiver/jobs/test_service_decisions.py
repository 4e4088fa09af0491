"""Use cases of jobs that exist: waited for, canceled, resolved, erased, and their links revoked."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from handlers import json
from handlers.contract import FailureCode, Phase
from receiver.domain.errors import Conflict, Invalid, NotFound
from receiver.domain.model import By, Job, JobError, State, Work
from receiver.domain.reports import Action, Report
from receiver.events.recorder import Recorder
from receiver.events.waiters import Waiter
from receiver.jobs.service import REVOKED, JobService
from receiver.store import erasure
from receiver.store.record_context import RecordResult
from tests.receiver.job_steps import dues, unconfirmed
from tests.receiver.store_fixture import StoreFixture, told, word
from tests.receiver.woken_worker import register_workers
from tests.receiver.worker_fixture import PATIENCE

FAR = 3600.0
"""Seconds of a wait that only news ends."""


@pytest.fixture
def jobs(fixture: StoreFixture) -> JobService:
    """Return its use cases of jobs."""
    return fixture.services.api.jobs


async def ended(fixture: StoreFixture, phase: Phase = Phase.FAILED) -> Job:
    """Return a job that ended in this phase."""
    job = await fixture.submitted()
    await fixture.hear(word(job, fixture, told(phase)))
    return await fixture.now(job)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Return an event that is set once a call has looked at its job and waits for news."""
    looked, original = asyncio.Event(), Waiter.news

    async def news(waiter: Waiter, seconds: float) -> None:
        looked.set()
        await original(waiter, seconds)

    monkeypatch.setattr(Waiter, "news", news)
    return looked


async def waiting(jobs: JobService, job: Job, looked: asyncio.Event, **others: Any) -> "asyncio.Task[Job]":
    """Return a call that waits for news of a job."""
    task = asyncio.create_task(jobs.wait(job, FAR, "key_1", **others))
    async with asyncio.timeout(PATIENCE):
        await looked.wait()
    return task


async def result(task: "asyncio.Task[Job]") -> Job:
    """Return the result of a call that waited, within a bound."""
    async with asyncio.timeout(PATIENCE):
        return await task


class Overtaken:
    """A recorder that runs another change before it records."""

    def __init__(self, recorder: Recorder, first: Callable[[], Awaitable[None]]) -> None:
        self._recorder = recorder
        self._first = first

    async def record(self, report: Report) -> RecordResult:
        """Run the other change, then record."""
        await self._first()
        return await self._recorder.record(report)


def overtaken(jobs: JobService, first: Callable[[], Awaitable[None]]) -> JobService:
    """Return the use cases of jobs, where each decision comes behind another change."""
    return replace(jobs, recorder=cast("Any", Overtaken(jobs.recorder, first)))


# Waited for.


async def test_a_job_that_ended_is_returned_at_once(fixture: StoreFixture, jobs: JobService) -> None:
    job = await ended(fixture)
    assert await jobs.wait(job, FAR, "key_1") is job
    queued = await fixture.submitted()
    assert await jobs.wait(queued, FAR, "key_1", accepted=True) is queued


async def test_a_wait_without_time_returns_the_job_as_it_is_stored(
    fixture: StoreFixture, jobs: JobService
) -> None:
    known = await fixture.submitted()
    await fixture.hear(word(known, fixture, told(Phase.RUNNING)))
    assert (await jobs.wait(known, 0.0, "key_1")).state is State.RUNNING


async def test_a_wait_goes_on_until_the_job_ends(
    fixture: StoreFixture, jobs: JobService, looked: asyncio.Event
) -> None:
    job = await fixture.submitted()
    task = await waiting(jobs, job, looked)
    await fixture.hear(word(job, fixture, told(Phase.RUNNING)))
    assert not task.done()
    await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
    assert await result(task) == await fixture.now(job)
    assert fixture.services.core.waiting_calls._jobs == {}


async def test_a_wait_for_acceptance_ends_once_the_provider_has_the_job(
    fixture: StoreFixture, jobs: JobService, looked: asyncio.Event
) -> None:
    job = await fixture.added()
    task = await waiting(jobs, job, looked, accepted=True)
    await fixture.hear(word(job, fixture, told(Phase.QUEUED, "p1")))
    assert (await result(task)).state is State.QUEUED


async def test_a_wait_ends_with_the_service(
    fixture: StoreFixture, jobs: JobService, looked: asyncio.Event
) -> None:
    job = await fixture.submitted()
    task = await waiting(jobs, job, looked)
    fixture.services.core.waiting_calls.close()
    assert (await result(task)).state is State.QUEUED


async def test_a_wait_for_a_job_that_is_erased_meanwhile_finds_none(
    fixture: StoreFixture, jobs: JobService, looked: asyncio.Event
) -> None:
    job = await fixture.submitted()
    task = await waiting(jobs, job, looked)
    await fixture.store.write(lambda: erasure.erase([job.id], fixture.clock.at))
    fixture.services.core.waiting_calls.tell([job.id], events=False)
    with pytest.raises(NotFound, match="no such job"):
        await result(task)


# Canceled.


async def test_a_canceled_job_has_an_event_and_stays_canceled(
    fixture: StoreFixture, jobs: JobService
) -> None:
    job = await fixture.added()
    canceled = await jobs.cancel(job.id)
    assert (canceled.state, canceled.completed_by, canceled.completed_at) == (
        State.CANCELED,
        By.CANCEL,
        fixture.clock.at,
    )
    assert await jobs.cancel(job.id) == canceled == await fixture.now(job)
    assert await fixture.column("select type from event") == ["job.canceled"]
    assert await dues(fixture, job) == []


async def test_a_provider_that_can_cancel_is_asked_to_by_the_worker_that_polls(
    fixture: StoreFixture, jobs: JobService
) -> None:
    job, workers = await fixture.submitted("replicate"), register_workers(fixture)
    assert (await jobs.cancel(job.id)).cancel_wanted
    assert workers[Work.POLL].woken == [fixture.clock.at]


@pytest.mark.parametrize(("phase", "state"), [(Phase.SUCCEEDED, "succeeded"), (Phase.FAILED, "failed")])
async def test_a_job_that_ended_otherwise_cannot_be_canceled(
    fixture: StoreFixture, jobs: JobService, phase: Phase, state: str
) -> None:
    job = await ended(fixture, phase)
    with pytest.raises(Conflict) as refused:
        await jobs.cancel(job.id)
    assert refused.value.detail == f"the job is already {state}; only one that is not final can be canceled"
    assert await fixture.now(job) == job


@pytest.mark.parametrize("name", ["get", "cancel", "erase", "revoke_assets"])
async def test_a_job_that_does_not_exist_is_not_found(jobs: JobService, name: str) -> None:
    with pytest.raises(NotFound, match="no such job"):
        await getattr(jobs, name)("job_1")


async def test_a_job_that_is_erased_while_it_is_canceled_is_not_found(
    fixture: StoreFixture, jobs: JobService
) -> None:
    job = await fixture.submitted()

    async def erase() -> None:
        await fixture.store.write(lambda: erasure.erase([job.id], None))

    with pytest.raises(NotFound, match="no such job"):
        await overtaken(jobs, erase).cancel(job.id)
    assert await fixture.column("select id from job") == []


async def test_a_job_that_is_canceled_twice_at_once_is_canceled(
    fixture: StoreFixture, jobs: JobService
) -> None:
    job = await fixture.submitted()

    async def cancel() -> None:
        await jobs.cancel(job.id)

    assert (await overtaken(jobs, cancel).cancel(job.id)).state is State.CANCELED
    assert await fixture.column("select type from event") == ["job.canceled"]


# Asset links revoked.


async def test_links_are_revoked_once_with_one_note_and_nothing_else(
    fixture: StoreFixture, jobs: JobService
) -> None:
    job = await ended(fixture, Phase.SUCCEEDED)
    fixture.clock.pass_(seconds=5)
    first, events = fixture.clock.at, await fixture.column("select id from event")
    revoked = await jobs.revoke_assets(job.id)
    assert revoked == job.but(assets_revoked_at=first, updated_at=first) == await fixture.now(job)
    fixture.clock.pass_(seconds=5)
    assert await jobs.revoke_assets(job.id) == revoked
    notes = await fixture.column("select told from evidence where job = :id and kind = 'note'", id=job.id)
    assert [json.read(note.encode()) for note in notes] == [{"note": REVOKED}]
    assert await fixture.column("select id from event") == events


async def test_a_report_after_a_revocation_leaves_it_in_place(
    fixture: StoreFixture, jobs: JobService
) -> None:
    job = await fixture.submitted()
    at = fixture.clock.at
    before = await dues(fixture, job)
    await jobs.revoke_assets(job.id)
    assert await dues(fixture, job) == before
    fixture.clock.pass_(seconds=5)
    await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
    done = await fixture.now(job)
    assert (done.state, done.assets_revoked_at) == (State.SUCCEEDED, at)
    assert [one["url"] for one in fixture.services.api.render(done)["assets"]] == [None]


# Resolved.


async def test_an_unconfirmed_job_is_submitted_again(fixture: StoreFixture, jobs: JobService) -> None:
    job, _ = await unconfirmed(fixture)
    resolved = await jobs.resolve(job.id, Action.RESUBMIT)
    assert resolved.state is State.PENDING
    assert await dues(fixture, job) == [("submit", 0.0)]


async def test_an_unconfirmed_job_is_given_up(fixture: StoreFixture, jobs: JobService) -> None:
    job, _ = await unconfirmed(fixture)
    resolved = await jobs.resolve(job.id, Action.GIVE_UP)
    assert (resolved.state, resolved.completed_by) == (State.FAILED, By.OPERATOR)
    assert resolved.error == JobError(FailureCode.LOST, "given up by the operator")
    assert await dues(fixture, job) == []


async def test_an_unconfirmed_job_gets_the_id_that_its_provider_calls_it(
    fixture: StoreFixture, jobs: JobService
) -> None:
    job, _ = await unconfirmed(fixture)
    resolved = await jobs.resolve(job.id, Action.BIND, "p7")
    assert (resolved.state, resolved.provider_job_id) == (State.QUEUED, "p7")
    assert await dues(fixture, job) == [("poll", 0.0)]
    note = await fixture.column("select told from evidence where job = :id order by id desc", id=job.id)
    assert '"p7"' in note[0]


async def test_the_id_of_another_job_is_refused(fixture: StoreFixture, jobs: JobService) -> None:
    await fixture.submitted("aiml", "p7")
    job, _ = await unconfirmed(fixture)
    with pytest.raises(Invalid) as refused:
        await jobs.resolve(job.id, Action.BIND, "p7")
    [error] = refused.value.errors
    assert (error.pointer, error.detail) == ("/provider_job_id", "belongs to another job")
    assert (await fixture.now(job)).state is State.UNCONFIRMED


async def test_only_an_unconfirmed_job_can_be_resolved(fixture: StoreFixture, jobs: JobService) -> None:
    job = await fixture.submitted()
    with pytest.raises(Conflict) as refused:
        await jobs.resolve(job.id, Action.GIVE_UP)
    assert refused.value.detail == "only an unconfirmed job can be resolved; this one is queued"


async def test_a_decision_that_another_one_overtakes_is_refused(
    fixture: StoreFixture, jobs: JobService
) -> None:
    job, _ = await unconfirmed(fixture)

    async def give_up() -> None:
        await jobs.resolve(job.id, Action.GIVE_UP)

    with pytest.raises(Conflict) as refused:
        await overtaken(jobs, give_up).resolve(job.id, Action.RESUBMIT)
    assert refused.value.detail == "the job was resolved meanwhile"
    assert (await fixture.now(job)).state is State.FAILED


# Erased.


async def test_an_erased_job_leaves_no_row(fixture: StoreFixture, jobs: JobService) -> None:
    await fixture.endpoint("ep_1")
    job = await ended(fixture)
    await jobs.erase(job.id)
    for name in ("job", "event", "evidence", "delivery", "due", "input_piece", "job_label"):
        assert await fixture.column(f"select count(*) from {name}") == [0], name
    with pytest.raises(NotFound, match="no such job"):
        await jobs.get(job.id)
    with pytest.raises(NotFound, match="no such job"):
        await jobs.erase(job.id)


async def test_a_job_with_many_rows_is_erased_in_pieces_and_the_feed_remembers_its_events(
    fixture: StoreFixture, jobs: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "ROWS", 2)
    job = await fixture.submitted()
    await fixture.hear(*(word(job, fixture, told(phase)) for phase in (Phase.RUNNING, Phase.SUCCEEDED)))
    await jobs.erase(job.id)
    assert await fixture.column("select count(*) from evidence") == [0]
    assert len(await fixture.column("select id from erased")) == 2


async def test_an_open_job_is_not_erased(fixture: StoreFixture, jobs: JobService) -> None:
    job = await fixture.submitted()
    with pytest.raises(Conflict) as refused:
        await jobs.erase(job.id)
    assert refused.value.detail == "only a final job can be erased; this one is queued: cancel it first"
    assert await fixture.now(job) == job
