"""The worker: claims what is due, performs it in its lane's slots, survives what goes wrong, and stops."""

import asyncio
from typing import Any

import pytest

from receiver.domain.errors import StoreUnavailable
from receiver.domain.model import Work
from receiver.store.due import RETRY_LANE, ClaimRequest, claim
from receiver.store.statements import Transaction
from receiver.work import worker as loop
from tests.receiver.worker_fixture import PATIENCE, Given, Shop


async def test_a_tick_performs_what_is_due(shop: Shop) -> None:
    ids = await shop.jobs("aiml", "apiframe")
    assert await shop.worker.tick() == 2
    assert (shop.taken("aiml"), shop.taken("apiframe")) == (1, 1)
    await shop.made.until(lambda: len(shop.made.done) == 2)
    assert sorted(shop.made.done) == sorted(ids)
    await shop.idle()
    assert await shop.worker.tick() == 0


async def test_a_lane_never_has_more_under_way_than_slots(shop: Shop) -> None:
    shop.made.gate = asyncio.Event()
    await shop.jobs(*["aiml"] * 5, "apiframe")
    assert await shop.worker.tick() == 4
    assert await shop.worker.tick() == 0
    assert (shop.taken("aiml"), shop.taken("apiframe")) == (3, 1)
    assert list(shop.lanes.waiting(Work.SUBMIT)) == ["aiml"]
    shop.made.gate.set()
    await shop.made.until(lambda: len(shop.made.done) == 4)
    await shop.idle()
    assert await shop.worker.tick() == 2


async def test_a_lane_in_which_nothing_is_due_any_more_waits_for_nobody(shop: Shop) -> None:
    await shop.jobs(*["aiml"] * 3)
    assert await shop.worker.tick() == 3
    assert list(shop.lanes.waiting(Work.SUBMIT)) == ["aiml"], "it may have left some"
    await shop.idle()
    assert await shop.worker.tick() == 0
    assert shop.lanes.waiting(Work.SUBMIT) == {}


async def test_nobody_takes_a_slot_that_a_claim_was_promised(shop: Shop) -> None:
    shop.made.gate = asyncio.Event()
    await shop.jobs("aiml")

    def serves(lane: str) -> bool:
        assert list(shop.lanes.waiting(Work.SUBMIT)) == ["aiml"], "new deliveries would take the slots"
        shop.lanes.mark_waiting(Work.SUBMIT, lane)
        return True

    shop.made.serves = serves  # type: ignore[method-assign]  # somebody comes while the claim runs
    assert await shop.worker.tick() == 1
    assert shop.taken() == 1
    assert list(shop.lanes.waiting(Work.SUBMIT)) == ["aiml"], "whoever came meanwhile was not seen"
    assert shop.worker.alarm.rings_in() == 0, "and may have found every slot promised"
    shop.made.gate.set()


async def test_running_limits_are_asked_for(shop: Shop) -> None:
    shop.made.limited = {"aiml": 1}
    await shop.jobs("aiml", "aiml")
    await shop.house.write("update job set state = 'running' where id = (select min(id) from job)")
    await shop.house.write("delete from due where id = (select min(id) from job)")
    assert await shop.worker.tick() == 0


async def test_a_free_slot_is_filled_at_once(running: Shop) -> None:
    ids = await running.jobs(*["aiml"] * 20)
    running.worker.wake()
    await running.made.until(lambda: len(running.made.done) == 20)
    assert running.made.begun == ids
    await running.idle()


@pytest.mark.parametrize(
    "failure", [ValueError("a bug"), StoreUnavailable(), OSError("disk"), ExceptionGroup("", [ValueError()])]
)
async def test_a_performer_that_fails_frees_its_slot_and_stops_nobody(
    running: Shop, failure: Exception
) -> None:
    running.made.failure = failure
    ids = await running.jobs("aiml", "apiframe")
    running.worker.wake()
    await running.made.until(lambda: len(running.made.begun) == 2)
    await running.idle()
    assert running.made.done == []
    running.made.failure = None
    running.house.hands.pass_(seconds=91)
    running.worker.wake()
    await running.made.until(lambda: len(running.made.done) == 2)
    assert sorted(running.made.begun) == sorted(ids * 2)


@pytest.mark.parametrize("failure", [StoreUnavailable("away"), ValueError("a bug")])
async def test_a_claim_that_fails_is_tried_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    failures = [failure, failure]
    caplog.set_level("DEBUG", "ringback.worker")

    def claiming(request: ClaimRequest) -> Transaction[object]:
        if failures:
            raise failures.pop()
        return (yield from claim(request))

    monkeypatch.setattr(loop, "claim", claiming)
    monkeypatch.setattr(shop.house.store.driver, "scan", 3600.0)
    await shop.jobs("aiml")
    task = asyncio.create_task(shop.worker.run())
    await shop.made.until(lambda: len(shop.made.done) == 1)
    await shop.worker.stop(PATIENCE)
    await task
    assert "submit" in caplog.text


async def test_a_claim_of_which_nobody_knows_is_given_back(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, lost = shop.house.store.write, [True]

    async def answer_lost(transaction: Any, *, last: bool = False) -> Any:
        told = await write(transaction, last=last)
        if last and lost:
            lost.clear()
            raise StoreUnavailable("nobody knows whether it was committed")
        return told

    monkeypatch.setattr(shop.house.store, "write", answer_lost)
    [job_id] = await shop.jobs("aiml")
    with pytest.raises(StoreUnavailable):
        await shop.worker.tick()
    assert await shop.house.column("select leased from due") == [1]
    assert await shop.worker.tick() == 1
    await shop.made.until(lambda: shop.made.done == [job_id])


async def test_work_whose_lease_ended_is_not_begun_twice_by_its_worker(shop: Shop) -> None:
    shop.made.gate = asyncio.Event()
    [job_id] = await shop.jobs("aiml")
    assert await shop.worker.tick() == 1
    await shop.made.until(lambda: shop.made.begun == [job_id])
    shop.house.hands.pass_(hours=1)
    assert await shop.worker.tick() == 0
    shop.made.gate.set()
    await shop.made.until(lambda: shop.made.done == [job_id])
    assert shop.made.begun == [job_id]
    assert await shop.house.column("select id from due") == []


async def test_a_claim_that_comes_while_another_starts_its_work_begins_nothing_twice(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.made.gate = asyncio.Event()
    write, committed, go = shop.house.store.write, asyncio.Event(), asyncio.Event()

    async def held(transaction: Any, *, last: bool = False) -> Any:
        told = await write(transaction, last=last)
        if not committed.is_set():
            committed.set()
            await go.wait()
        return told

    [job_id] = await shop.jobs("aiml")
    monkeypatch.setattr(shop.house.store, "write", held)
    first = asyncio.create_task(shop.worker.tick())
    await committed.wait()
    shop.house.hands.pass_(hours=1)
    second = asyncio.create_task(shop.worker.tick())
    await asyncio.sleep(0)
    go.set()
    assert (await first, await second) == (1, 0)
    shop.made.gate.set()
    await shop.made.until(lambda: shop.made.done == [job_id])
    assert shop.made.begun == [job_id]


async def test_stopping_waits_for_what_is_under_way(shop: Shop) -> None:
    shop.made.gate = asyncio.Event()
    task = asyncio.create_task(shop.worker.run())
    await shop.jobs("aiml")
    shop.worker.wake()
    await shop.made.until(lambda: len(shop.made.begun) == 1)
    stopping = asyncio.create_task(shop.worker.stop(PATIENCE))
    await asyncio.sleep(0)
    later = await shop.jobs("aiml")
    shop.worker.wake()
    assert not stopping.done()
    shop.made.gate.set()
    await stopping
    await task
    assert len(shop.made.done) == 1
    assert later[0] not in shop.made.begun
    assert shop.taken() == 0


async def test_a_claim_within_its_commit_may_end_and_gives_back(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, entered, go = shop.house.store.write, asyncio.Event(), asyncio.Event()

    async def committing(transaction: Any, *, last: bool = False) -> Any:
        told = await write(transaction, last=last)
        entered.set()
        await go.wait()
        return told

    await shop.jobs("aiml")
    monkeypatch.setattr(shop.house.store, "write", committing)
    task = asyncio.create_task(shop.worker.run())
    await entered.wait()
    stopping = asyncio.create_task(shop.worker.stop(PATIENCE))
    for _ in range(9):
        await asyncio.sleep(0)
    assert not stopping.done()
    go.set()
    await stopping
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert shop.made.begun == []
    assert await shop.house.column("select leased from due") == [0]


async def test_stopping_ends_what_outlives_the_grace(shop: Shop) -> None:
    shop.made.gate = asyncio.Event()
    await shop.jobs("aiml", "aiml")
    assert await shop.worker.tick() == 2
    await shop.made.until(lambda: len(shop.made.begun) == 2)
    await shop.worker.stop(0.0)
    assert (shop.made.done, shop.taken()) == ([], 0)
    assert await shop.house.column("select leased from due") == [1, 1]
    await shop.worker.stop(0.0)


async def test_what_holds_a_slot_already_can_be_started(shop: Shop) -> None:
    [job_id] = await shop.jobs("aiml")
    [chosen] = await shop.house.claim(Work.SUBMIT)
    shop.lanes.acquire(Work.SUBMIT, "aiml")
    shop.worker.start(Given(chosen.claim))
    await shop.made.until(lambda: shop.made.done == [job_id])
    await shop.idle()


async def test_what_may_not_be_started_any_more_is_given_back(shop: Shop) -> None:
    await shop.jobs("aiml", "aiml")
    claims = [chosen.claim for chosen in await shop.house.claim(Work.SUBMIT)]
    shop.held.live = False
    shop.lanes.acquire(Work.SUBMIT, "aiml")
    shop.worker.start(Given(claims[0]))
    await shop.idle()
    assert shop.made.begun == []
    [again] = await shop.house.claim(Work.SUBMIT)
    assert (again.claim.id, again.claim.fence) == (claims[0].id, claims[0].fence + 2)


async def test_lanes_that_share_slots_are_not_filled_beyond_them_by_one_claim(shop: Shop) -> None:
    shop.made.gate = asyncio.Event()
    ids = await shop.jobs(*["aiml"] * 8)
    retries = f"aiml{RETRY_LANE}"
    await shop.house.write("update due set lane = :lane where id in (:ids)", lane=retries, ids=ids[:4])
    assert await shop.worker.tick() == 3
    assert (shop.taken(retries), shop.taken()) == (1, 2)
    assert await shop.worker.tick() == 0
    shop.made.gate.set()
