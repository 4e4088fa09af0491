"""The worker: it claims due work, performs it in the slots of its lane, survives failures, and stops."""

import asyncio
from typing import Any

import pytest

from receiver.domain.errors import StoreUnavailable
from receiver.domain.model import Work
from receiver.store.due import RETRY_LANE, ClaimRequest, claim
from receiver.store.statements import Transaction
from receiver.work import worker as loop
from tests.receiver.worker_fixture import PATIENCE, Given, WorkerFixture


async def test_a_tick_performs_what_is_due(worker_fixture: WorkerFixture) -> None:
    ids = await worker_fixture.jobs("aiml", "apiframe")
    assert await worker_fixture.worker.tick() == 2
    assert (worker_fixture.taken("aiml"), worker_fixture.taken("apiframe")) == (1, 1)
    await worker_fixture.made.until(lambda: len(worker_fixture.made.done) == 2)
    assert sorted(worker_fixture.made.done) == sorted(ids)
    await worker_fixture.idle()
    assert await worker_fixture.worker.tick() == 0


async def test_a_lane_never_has_more_under_way_than_slots(worker_fixture: WorkerFixture) -> None:
    worker_fixture.made.gate = asyncio.Event()
    await worker_fixture.jobs(*["aiml"] * 5, "apiframe")
    assert await worker_fixture.worker.tick() == 4
    assert await worker_fixture.worker.tick() == 0
    assert (worker_fixture.taken("aiml"), worker_fixture.taken("apiframe")) == (3, 1)
    assert list(worker_fixture.lanes.waiting(Work.SUBMIT)) == ["aiml"]
    worker_fixture.made.gate.set()
    await worker_fixture.made.until(lambda: len(worker_fixture.made.done) == 4)
    await worker_fixture.idle()
    assert await worker_fixture.worker.tick() == 2


async def test_a_lane_in_which_nothing_is_due_any_more_waits_for_nobody(
    worker_fixture: WorkerFixture,
) -> None:
    await worker_fixture.jobs(*["aiml"] * 3)
    assert await worker_fixture.worker.tick() == 3
    assert list(worker_fixture.lanes.waiting(Work.SUBMIT)) == ["aiml"], "it may have left some"
    await worker_fixture.idle()
    assert await worker_fixture.worker.tick() == 0
    assert worker_fixture.lanes.waiting(Work.SUBMIT) == {}


async def test_nobody_takes_a_slot_that_a_claim_was_promised(worker_fixture: WorkerFixture) -> None:
    worker_fixture.made.gate = asyncio.Event()
    await worker_fixture.jobs("aiml")

    def serves(lane: str) -> bool:
        assert list(worker_fixture.lanes.waiting(Work.SUBMIT)) == ["aiml"], (
            "new deliveries would take the slots"
        )
        worker_fixture.lanes.mark_waiting(Work.SUBMIT, lane)
        return True

    worker_fixture.made.serves = serves  # type: ignore[method-assign]  # somebody comes while the claim runs
    assert await worker_fixture.worker.tick() == 1
    assert worker_fixture.taken() == 1
    assert list(worker_fixture.lanes.waiting(Work.SUBMIT)) == ["aiml"], "whoever came meanwhile was not seen"
    assert worker_fixture.worker.alarm.rings_in() == 0, "and may have found every slot promised"
    worker_fixture.made.gate.set()


async def test_a_slot_that_is_freed_early_is_free_once_and_taken_by_the_next(
    worker_fixture: WorkerFixture,
) -> None:
    made = worker_fixture.made
    made.gate = asyncio.Event()
    await worker_fixture.jobs(*["aiml"] * 5)
    assert await worker_fixture.worker.tick() == 3
    await made.until(lambda: len(made.claims) == 3)
    for _ in range(2):
        worker_fixture.dispatcher.free(made.claims[0])
    assert (worker_fixture.taken(), worker_fixture.worker.alarm.rings_in()) == (2, 0)
    assert await worker_fixture.worker.tick() == 1
    assert worker_fixture.taken() == 3
    made.gate.set()
    await worker_fixture.idle()
    assert await worker_fixture.worker.tick() == 1


async def test_outcomes_that_wait_for_the_store_without_a_slot_are_bounded(
    worker_fixture: WorkerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "UNSTORED", 2)
    made = worker_fixture.made
    made.gate = asyncio.Event()
    await worker_fixture.jobs(*["aiml"] * 3)
    await worker_fixture.worker.tick()
    await made.until(lambda: len(made.claims) == 3)
    for one in made.claims:
        worker_fixture.worker.free(one)
    assert worker_fixture.taken() == 1
    made.gate.set()
    await worker_fixture.idle()


async def test_running_limits_are_asked_for(worker_fixture: WorkerFixture) -> None:
    worker_fixture.made.limited = {"aiml": 1}
    await worker_fixture.jobs("aiml", "aiml")
    await worker_fixture.fixture.write(
        "update job set state = 'running' where id = (select min(id) from job)"
    )
    await worker_fixture.fixture.write("delete from due where id = (select min(id) from job)")
    assert await worker_fixture.worker.tick() == 0


async def test_a_free_slot_is_filled_at_once(running: WorkerFixture) -> None:
    ids = await running.jobs(*["aiml"] * 20)
    running.worker.wake()
    await running.made.until(lambda: len(running.made.done) == 20)
    assert running.made.begun == ids
    await running.idle()


@pytest.mark.parametrize(
    "failure", [ValueError("a bug"), StoreUnavailable(), OSError("disk"), ExceptionGroup("", [ValueError()])]
)
async def test_a_performer_that_fails_frees_its_slot_and_stops_nobody(
    running: WorkerFixture, failure: Exception
) -> None:
    running.made.failure = failure
    ids = await running.jobs("aiml", "apiframe")
    running.worker.wake()
    await running.made.until(lambda: len(running.made.begun) == 2)
    await running.idle()
    assert running.made.done == []
    running.made.failure = None
    running.fixture.clock.pass_(seconds=91)
    running.worker.wake()
    await running.made.until(lambda: len(running.made.done) == 2)
    assert sorted(running.made.begun) == sorted(ids * 2)


@pytest.mark.parametrize("failure", [StoreUnavailable("away"), ValueError("a bug")])
async def test_a_claim_that_fails_is_tried_again(
    worker_fixture: WorkerFixture,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    failure: Exception,
) -> None:
    failures = [failure, failure]
    caplog.set_level("DEBUG", "ringback.worker")

    def claiming(request: ClaimRequest) -> Transaction[object]:
        if failures:
            raise failures.pop()
        return (yield from claim(request))

    monkeypatch.setattr(loop, "claim", claiming)
    monkeypatch.setattr(worker_fixture.fixture.store.driver, "scan", 3600.0)
    await worker_fixture.jobs("aiml")
    task = asyncio.create_task(worker_fixture.worker.run())
    await worker_fixture.made.until(lambda: len(worker_fixture.made.done) == 1)
    await worker_fixture.worker.stop(PATIENCE)
    await task
    assert "submit" in caplog.text


async def test_a_claim_of_which_nobody_knows_is_given_back(
    worker_fixture: WorkerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, lost = worker_fixture.fixture.store.write, [True]

    async def answer_lost(transaction: Any, *, last: bool = False) -> Any:
        told = await write(transaction, last=last)
        if last and lost:
            lost.clear()
            raise StoreUnavailable("nobody knows whether it was committed")
        return told

    monkeypatch.setattr(worker_fixture.fixture.store, "write", answer_lost)
    [job_id] = await worker_fixture.jobs("aiml")
    with pytest.raises(StoreUnavailable):
        await worker_fixture.worker.tick()
    assert await worker_fixture.fixture.column("select leased from due") == [1]
    assert await worker_fixture.worker.tick() == 1
    await worker_fixture.made.until(lambda: worker_fixture.made.done == [job_id])


async def test_work_whose_lease_ended_is_not_begun_twice_by_its_worker(worker_fixture: WorkerFixture) -> None:
    worker_fixture.made.gate = asyncio.Event()
    [job_id] = await worker_fixture.jobs("aiml")
    assert await worker_fixture.worker.tick() == 1
    await worker_fixture.made.until(lambda: worker_fixture.made.begun == [job_id])
    worker_fixture.fixture.clock.pass_(hours=1)
    assert await worker_fixture.worker.tick() == 0
    worker_fixture.made.gate.set()
    await worker_fixture.made.until(lambda: worker_fixture.made.done == [job_id])
    assert worker_fixture.made.begun == [job_id]
    assert await worker_fixture.fixture.column("select id from due") == []


async def test_a_claim_that_comes_while_another_starts_its_work_begins_nothing_twice(
    worker_fixture: WorkerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker_fixture.made.gate = asyncio.Event()
    write, committed, go = worker_fixture.fixture.store.write, asyncio.Event(), asyncio.Event()

    async def held(transaction: Any, *, last: bool = False) -> Any:
        told = await write(transaction, last=last)
        if not committed.is_set():
            committed.set()
            await go.wait()
        return told

    [job_id] = await worker_fixture.jobs("aiml")
    monkeypatch.setattr(worker_fixture.fixture.store, "write", held)
    first = asyncio.create_task(worker_fixture.worker.tick())
    await committed.wait()
    worker_fixture.fixture.clock.pass_(hours=1)
    second = asyncio.create_task(worker_fixture.worker.tick())
    await asyncio.sleep(0)
    go.set()
    assert (await first, await second) == (1, 0)
    worker_fixture.made.gate.set()
    await worker_fixture.made.until(lambda: worker_fixture.made.done == [job_id])
    assert worker_fixture.made.begun == [job_id]


async def test_stopping_waits_for_what_is_under_way(worker_fixture: WorkerFixture) -> None:
    worker_fixture.made.gate = asyncio.Event()
    task = asyncio.create_task(worker_fixture.worker.run())
    await worker_fixture.jobs("aiml")
    worker_fixture.worker.wake()
    await worker_fixture.made.until(lambda: len(worker_fixture.made.begun) == 1)
    stopping = asyncio.create_task(worker_fixture.worker.stop(PATIENCE))
    await asyncio.sleep(0)
    later = await worker_fixture.jobs("aiml")
    worker_fixture.worker.wake()
    assert not stopping.done()
    worker_fixture.made.gate.set()
    await stopping
    await task
    assert len(worker_fixture.made.done) == 1
    assert later[0] not in worker_fixture.made.begun
    assert worker_fixture.taken() == 0


async def test_a_claim_within_its_commit_may_end_and_gives_back(
    worker_fixture: WorkerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, entered, go = worker_fixture.fixture.store.write, asyncio.Event(), asyncio.Event()

    async def committing(transaction: Any, *, last: bool = False) -> Any:
        told = await write(transaction, last=last)
        entered.set()
        await go.wait()
        return told

    await worker_fixture.jobs("aiml")
    monkeypatch.setattr(worker_fixture.fixture.store, "write", committing)
    task = asyncio.create_task(worker_fixture.worker.run())
    await entered.wait()
    stopping = asyncio.create_task(worker_fixture.worker.stop(PATIENCE))
    for _ in range(9):
        await asyncio.sleep(0)
    assert not stopping.done()
    go.set()
    await stopping
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert worker_fixture.made.begun == []
    assert await worker_fixture.fixture.column("select leased from due") == [0]


async def test_stopping_ends_what_outlives_the_grace(worker_fixture: WorkerFixture) -> None:
    worker_fixture.made.gate = asyncio.Event()
    await worker_fixture.jobs("aiml", "aiml")
    assert await worker_fixture.worker.tick() == 2
    await worker_fixture.made.until(lambda: len(worker_fixture.made.begun) == 2)
    await worker_fixture.worker.stop(0.0)
    assert (worker_fixture.made.done, worker_fixture.taken()) == ([], 0)
    assert await worker_fixture.fixture.column("select leased from due") == [1, 1]
    await worker_fixture.worker.stop(0.0)


async def test_what_holds_a_slot_already_can_be_started(worker_fixture: WorkerFixture) -> None:
    [job_id] = await worker_fixture.jobs("aiml")
    [chosen] = await worker_fixture.fixture.claim(Work.SUBMIT)
    worker_fixture.lanes.acquire(Work.SUBMIT, "aiml")
    worker_fixture.worker.start(Given(chosen.claim))
    await worker_fixture.made.until(lambda: worker_fixture.made.done == [job_id])
    await worker_fixture.idle()


async def test_what_may_not_be_started_any_more_is_given_back(worker_fixture: WorkerFixture) -> None:
    await worker_fixture.jobs("aiml", "aiml")
    claims = [chosen.claim for chosen in await worker_fixture.fixture.claim(Work.SUBMIT)]
    worker_fixture.held.live = False
    worker_fixture.lanes.acquire(Work.SUBMIT, "aiml")
    worker_fixture.worker.start(Given(claims[0]))
    await worker_fixture.idle()
    assert worker_fixture.made.begun == []
    [again] = await worker_fixture.fixture.claim(Work.SUBMIT)
    assert (again.claim.id, again.claim.fence) == (claims[0].id, claims[0].fence + 2)


async def test_lanes_that_share_slots_are_not_filled_beyond_them_by_one_claim(
    worker_fixture: WorkerFixture,
) -> None:
    worker_fixture.made.gate = asyncio.Event()
    ids = await worker_fixture.jobs(*["aiml"] * 8)
    retries = f"aiml{RETRY_LANE}"
    await worker_fixture.fixture.write(
        "update due set lane = :lane where id in (:ids)", lane=retries, ids=ids[:4]
    )
    assert await worker_fixture.worker.tick() == 3
    assert (worker_fixture.taken(retries), worker_fixture.taken()) == (1, 2)
    assert await worker_fixture.worker.tick() == 0
    worker_fixture.made.gate.set()
