"""The times at which a worker looks for due work: the earliest one that is known, and no needless one."""

import asyncio
import math
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from receiver.domain.model import Claim, ScheduledWork, Work
from receiver.store.due import ClaimRequest, claim
from receiver.store.statements import Transaction, ms, query
from receiver.work import worker as loop
from receiver.work.worker import Worker
from tests.receiver.worker_fixture import PATIENCE, Given, WorkerFixture


async def test_a_hint_of_later_work_moves_the_next_look(running: WorkerFixture) -> None:
    at: datetime = running.fixture.clock.at + timedelta(milliseconds=50)
    [job_id] = await running.jobs("aiml")
    running.worker.wake()
    await running.made.until(lambda: running.made.done == [job_id])
    [later] = await running.jobs("aiml")
    running.dispatcher.wake_at(ScheduledWork(Work.POLL, "aiml", at))
    running.dispatcher.wake_at(ScheduledWork(Work.SUBMIT, "aiml", at))
    await running.made.until(lambda: running.made.done == [job_id, later])


async def test_a_slot_that_other_work_leaves_is_taken_at_once(
    worker_fixture: WorkerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_fixture.fixture.store.driver, "scan", 3600.0)
    polls = Worker(
        replace(worker_fixture.made, work=Work.POLL, gate=(gate := asyncio.Event()), begun=[], done=[]),
        worker_fixture.dispatcher,
        worker_fixture.lanes,
        worker_fixture.fixture.store,
        worker_fixture.fixture.services.core.clock,
        worker_fixture.held,
    )
    for _ in range(3):
        worker_fixture.lanes.acquire(Work.POLL, "aiml")
        polls.start(Given(Claim(id="", work=Work.POLL, lane="aiml", fence=1, tries=0, until=0.0)))
    [job_id] = await worker_fixture.jobs("aiml")
    task = asyncio.create_task(worker_fixture.worker.run())
    await worker_fixture.made.until(lambda: "aiml" in worker_fixture.lanes.waiting(Work.SUBMIT))
    gate.set()
    await worker_fixture.made.until(lambda: worker_fixture.made.done == [job_id])
    await worker_fixture.worker.stop(PATIENCE)
    await task


async def test_what_lost_its_leases_does_not_look_for_work_without_end(worker_fixture: WorkerFixture) -> None:
    worker_fixture.worker.wake(worker_fixture.fixture.clock.at - timedelta(seconds=1))
    assert worker_fixture.worker.alarm.rings_in() == 0
    worker_fixture.held.live = False
    assert await worker_fixture.worker.tick() == 0
    assert worker_fixture.worker.alarm.rings_in() == math.inf


async def test_a_lane_on_hold_is_taken_up_when_its_hold_ends(running: WorkerFixture) -> None:
    running.lanes.hold(Work.SUBMIT, "aiml", 0.05)
    [job_id] = await running.jobs("aiml")
    running.worker.wake()
    await running.made.until(lambda: "aiml" in running.lanes.waiting(Work.SUBMIT))
    running.fixture.clock.pass_(milliseconds=50)
    await running.made.until(lambda: running.made.done == [job_id])


async def test_what_is_born_in_a_lane_on_hold_is_looked_for_when_the_hold_ends(
    worker_fixture: WorkerFixture,
) -> None:
    assert await worker_fixture.worker.tick() == 0
    worker_fixture.lanes.hold(Work.SUBMIT, "aiml", 60)
    await worker_fixture.jobs("aiml")
    worker_fixture.worker.mark_waiting("aiml")
    assert worker_fixture.worker.alarm.rings_in() == pytest.approx(60, abs=PATIENCE)
    assert await worker_fixture.worker.tick() == 0
    assert worker_fixture.worker.alarm.rings_in() == pytest.approx(60, abs=PATIENCE)
    worker_fixture.fixture.clock.pass_(seconds=60)
    assert await worker_fixture.worker.tick() == 1


async def test_nobody_looks_for_what_only_a_word_can_set_free(worker_fixture: WorkerFixture) -> None:
    worker_fixture.made.gate = asyncio.Event()
    await worker_fixture.jobs(*["aiml"] * 4, "apiframe")
    worker_fixture.made.closed = frozenset({"apiframe"})
    assert await worker_fixture.worker.tick() == 3
    assert await worker_fixture.worker.tick() == 0
    for lane in ("aiml", "apiframe"):
        worker_fixture.worker.mark_waiting(lane)
    leases_end = worker_fixture.made.lease.total_seconds()
    assert worker_fixture.worker.alarm.rings_in() == pytest.approx(leases_end, abs=PATIENCE)
    worker_fixture.made.gate.set()


async def test_a_hint_that_comes_while_a_claim_runs_outlives_its_answer(
    worker_fixture: WorkerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await worker_fixture.jobs("aiml")
    await worker_fixture.fixture.write("update due set work = 'poll'")
    here, later = asyncio.get_running_loop(), worker_fixture.fixture.clock.at + timedelta(seconds=60)

    def claiming(request: ClaimRequest) -> Transaction[object]:
        taken = yield from claim(request)
        yield query("update due set work = 'submit', at = :later", later=ms(later))
        here.call_soon_threadsafe(worker_fixture.worker.wake, later)
        return taken

    monkeypatch.setattr(loop, "claim", claiming)
    worker_fixture.worker.wake(worker_fixture.fixture.clock.at + timedelta(milliseconds=1))
    assert await worker_fixture.worker.tick() == 0
    assert worker_fixture.worker.alarm.rings_in() == pytest.approx(60, abs=PATIENCE)
