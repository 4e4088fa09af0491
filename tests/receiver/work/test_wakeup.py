"""When a worker looks for work: at the earliest moment that anybody knows of, and not for nothing."""

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
from tests.receiver.worker_fixture import PATIENCE, Given, Shop


async def test_a_hint_of_later_work_moves_the_next_look(running: Shop) -> None:
    at: datetime = running.house.hands.at + timedelta(milliseconds=50)
    [job_id] = await running.jobs("aiml")
    running.worker.wake()
    await running.made.until(lambda: running.made.done == [job_id])
    [later] = await running.jobs("aiml")
    running.dispatcher.wake_at(ScheduledWork(Work.POLL, "aiml", at))
    running.dispatcher.wake_at(ScheduledWork(Work.SUBMIT, "aiml", at))
    await running.made.until(lambda: running.made.done == [job_id, later])


async def test_a_slot_that_other_work_leaves_is_taken_at_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop.house.store.driver, "scan", 3600.0)
    polls = Worker(
        replace(shop.made, work=Work.POLL, gate=(gate := asyncio.Event()), begun=[], done=[]),
        shop.dispatcher,
        shop.lanes,
        shop.house.store,
        shop.house.services.core.clock,
        shop.held,
    )
    for _ in range(3):
        shop.lanes.acquire(Work.POLL, "aiml")
        polls.start(Given(Claim(id="", work=Work.POLL, lane="aiml", fence=1, tries=0, until=0.0)))
    [job_id] = await shop.jobs("aiml")
    task = asyncio.create_task(shop.worker.run())
    await shop.made.until(lambda: "aiml" in shop.lanes.waiting(Work.SUBMIT))
    gate.set()
    await shop.made.until(lambda: shop.made.done == [job_id])
    await shop.worker.stop(PATIENCE)
    await task


async def test_what_lost_its_leases_does_not_look_for_work_without_end(shop: Shop) -> None:
    shop.worker.wake(shop.house.hands.at - timedelta(seconds=1))
    assert shop.worker.alarm.rings_in() == 0
    shop.held.live = False
    assert await shop.worker.tick() == 0
    assert shop.worker.alarm.rings_in() == math.inf


async def test_a_lane_on_hold_is_taken_up_when_its_hold_ends(running: Shop) -> None:
    running.lanes.hold(Work.SUBMIT, "aiml", 0.05)
    [job_id] = await running.jobs("aiml")
    running.worker.wake()
    await running.made.until(lambda: "aiml" in running.lanes.waiting(Work.SUBMIT))
    running.house.hands.pass_(milliseconds=50)
    await running.made.until(lambda: running.made.done == [job_id])


async def test_what_is_born_in_a_lane_on_hold_is_looked_for_when_the_hold_ends(shop: Shop) -> None:
    assert await shop.worker.tick() == 0
    shop.lanes.hold(Work.SUBMIT, "aiml", 60)
    await shop.jobs("aiml")
    shop.worker.mark_waiting("aiml")
    assert shop.worker.alarm.rings_in() == pytest.approx(60, abs=PATIENCE)
    assert await shop.worker.tick() == 0
    assert shop.worker.alarm.rings_in() == pytest.approx(60, abs=PATIENCE)
    shop.house.hands.pass_(seconds=60)
    assert await shop.worker.tick() == 1


async def test_nobody_looks_for_what_only_a_word_can_set_free(shop: Shop) -> None:
    shop.made.gate = asyncio.Event()
    await shop.jobs(*["aiml"] * 4, "apiframe")
    shop.made.closed = frozenset({"apiframe"})
    assert await shop.worker.tick() == 3
    assert await shop.worker.tick() == 0
    for lane in ("aiml", "apiframe"):
        shop.worker.mark_waiting(lane)
    leases_end = shop.made.lease.total_seconds()
    assert shop.worker.alarm.rings_in() == pytest.approx(leases_end, abs=PATIENCE)
    shop.made.gate.set()


async def test_a_hint_that_comes_while_a_claim_runs_outlives_its_answer(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.jobs("aiml")
    await shop.house.write("update due set work = 'poll'")
    here, later = asyncio.get_running_loop(), shop.house.hands.at + timedelta(seconds=60)

    def claiming(request: ClaimRequest) -> Transaction[object]:
        taken = yield from claim(request)
        yield query("update due set work = 'submit', at = :later", later=ms(later))
        here.call_soon_threadsafe(shop.worker.wake, later)
        return taken

    monkeypatch.setattr(loop, "claim", claiming)
    shop.worker.wake(shop.house.hands.at + timedelta(milliseconds=1))
    assert await shop.worker.tick() == 0
    assert shop.worker.alarm.rings_in() == pytest.approx(60, abs=PATIENCE)
