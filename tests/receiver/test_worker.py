"""The worker: claims what is due, performs it in its lane's slots, survives what goes wrong, and stops."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from receiver import worker as loop
from receiver.errors import StoreUnavailable
from receiver.lanes import Lanes, Slots
from receiver.model import Claim, Due, Work
from receiver.store.deliveries import RETRY_LANE
from receiver.store.due import Request, claim
from receiver.store.due import release as give_up
from receiver.store.statements import Transaction, ms, rows
from receiver.worker import Hints, Worker
from tests.receiver.storehouse import Storehouse, storehouse

PATIENCE = 20.0
"""Seconds after which a wait has failed; a bound, never an expectation."""


@dataclass
class Held:
    """A holder of leases that lives until told."""

    name: str = "rpc_1"
    live: bool = True


class Slotted(Lanes):
    """Lanes that tell when something ended or is asked for."""

    news: asyncio.Event
    loop: asyncio.AbstractEventLoop

    def release(self, name: str, work: Work = Work.DELIVER) -> set[Work]:
        """Count one that ended."""
        self.news.set()
        return super().release(name, work)

    def wait(self, work: Work, name: str) -> int:
        """Note, on the writer's thread, that a claim asks."""
        self.loop.call_soon_threadsafe(self.news.set)
        return super().wait(work, name)


@dataclass
class Made:
    """A made-up performer: it notes what it is given, and waits at a gate when there is one."""

    lanes: Lanes
    house: Storehouse
    work: Work = Work.SUBMIT
    lease: timedelta = timedelta(seconds=90)
    gate: asyncio.Event | None = None
    failure: Exception | None = None
    limited: Mapping[str, int] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def serves(self, lane: str) -> bool:
        """Every lane."""
        return True

    def limits(self) -> Mapping[str, int]:
        """What the test says."""
        return self.limited

    def prepare(self, claims: Sequence[Claim]) -> Transaction[Sequence[tuple[Claim, str]]]:
        """Inside the claiming transaction."""
        found = yield rows("select id from job where id in (:ids)", ids=[claim.id for claim in claims])
        assert len(found) == len(claims)
        return [(claim, claim.id) for claim in claims]

    def give_back(self, prepared: Sequence[tuple[Claim, str]], now: datetime) -> Transaction[None]:
        """Leave them to others."""
        yield from give_up([claimed for claimed, _ in prepared], now)

    async def perform(self, prepared: tuple[Claim, str]) -> None:
        """Note it, and leave nothing due."""
        claim, job_id = prepared
        self._tell(self.begun, job_id)
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        await self.house.write(
            "delete from due where id = :id and fence = :fence", id=claim.id, fence=claim.fence
        )
        self._tell(self.done, job_id)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait for news until something is so."""
        async with asyncio.timeout(PATIENCE):
            while not reached():
                self.news.clear()
                await self.news.wait()

    def _tell(self, notes: list[str], job_id: str) -> None:
        notes.append(job_id)
        self.news.set()


@dataclass
class Shop:
    """A worker with all that it needs."""

    house: Storehouse
    lanes: Lanes
    made: Made
    worker: Worker
    hints: Hints
    held: Held

    async def jobs(self, *accounts: str) -> list[str]:
        """Jobs that are due now."""
        return [(await self.house.added(account)).id for account in accounts]

    def taken(self, lane: str = "aiml") -> int:
        """The slots that are taken in a lane."""
        return self.lanes.lane(Work.SUBMIT, lane).in_flight

    async def idle(self) -> None:
        """Once nothing is under way any more."""
        await self.made.until(lambda: self.taken() + self.taken("apiframe") == 0)


@pytest.fixture
async def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    """A worker over a store at rest, whose lanes take three at once."""
    monkeypatch.setattr(loop, "AFTER_TROUBLE", 0.0)
    async with storehouse(tmp_path) as house:
        clock = house.services.clock
        lanes = Slotted(lambda _work, _name: Slots(3), clock.monotonic)
        made = Made(lanes, house)
        lanes.news, lanes.loop = made.news, asyncio.get_running_loop()
        held = Held()
        worker = Worker(made, hints := Hints(lambda _word: None), lanes, house.store, clock, held)
        hints.workers[Work.SUBMIT] = worker
        yield Shop(house, lanes, made, worker, hints, held)


@pytest.fixture
async def running(shop: Shop) -> AsyncIterator[Shop]:
    """The same, its loop running."""
    task = asyncio.create_task(shop.worker.run())
    yield shop
    await shop.worker.stop(0.0)
    async with asyncio.timeout(PATIENCE):
        await task


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
        shop.lanes.wait(Work.SUBMIT, lane)
        return True

    shop.made.serves = serves  # type: ignore[method-assign]  # somebody comes while the claim runs
    assert await shop.worker.tick() == 1
    assert shop.taken() == 1
    assert list(shop.lanes.waiting(Work.SUBMIT)) == ["aiml"], "whoever came meanwhile was not seen"
    shop.made.gate.set()


async def test_running_limits_are_asked_for(shop: Shop) -> None:
    shop.made.limited = {"aiml": 1}
    await shop.jobs("aiml", "aiml")
    await shop.house.write("update job set state = 'running' where id = (select min(id) from job)")
    await shop.house.write("delete from due where id = (select min(id) from job)")
    assert await shop.worker.tick() == 0


async def test_a_free_slot_is_filled_at_once(running: Shop) -> None:
    ids = await running.jobs(*["aiml"] * 20)
    running.worker.hint()
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
    running.worker.hint()
    await running.made.until(lambda: len(running.made.begun) == 2)
    await running.idle()
    assert running.made.done == []
    running.made.failure = None
    running.house.hands.pass_(seconds=91)
    running.worker.hint()
    await running.made.until(lambda: len(running.made.done) == 2)
    assert sorted(running.made.begun) == sorted(ids * 2)


@pytest.mark.parametrize("failure", [StoreUnavailable("away"), ValueError("a bug")])
async def test_a_claim_that_fails_is_tried_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    failures = [failure, failure]
    caplog.set_level("DEBUG", "ringback.worker")

    def claiming(request: Request) -> Transaction[object]:
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


async def test_stopping_waits_for_what_is_under_way(shop: Shop) -> None:
    shop.made.gate = asyncio.Event()
    task = asyncio.create_task(shop.worker.run())
    await shop.jobs("aiml")
    shop.worker.hint()
    await shop.made.until(lambda: len(shop.made.begun) == 1)
    stopping = asyncio.create_task(shop.worker.stop(PATIENCE))
    await asyncio.sleep(0)
    later = await shop.jobs("aiml")
    shop.worker.hint()
    assert not stopping.done()
    shop.made.gate.set()
    await stopping
    await task
    assert len(shop.made.done) == 1
    assert later[0] not in shop.made.begun
    assert shop.taken() == 0


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
    shop.lanes.take(Work.SUBMIT, "aiml")
    shop.worker.start((chosen.claim, job_id))
    await shop.made.until(lambda: shop.made.done == [job_id])
    await shop.idle()


async def test_a_hint_of_later_work_moves_the_next_look(running: Shop) -> None:
    at: datetime = running.house.hands.at + timedelta(milliseconds=50)
    [job_id] = await running.jobs("aiml")
    running.worker.hint()
    await running.made.until(lambda: running.made.done == [job_id])
    [later] = await running.jobs("aiml")
    running.hints.hint(Due(Work.POLL, "aiml", at))
    running.hints.hint(Due(Work.SUBMIT, "aiml", at))
    await running.made.until(lambda: running.made.done == [job_id, later])


async def test_a_slot_that_other_work_leaves_is_taken_at_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop.house.store.driver, "scan", 3600.0)
    polls = Worker(
        replace(shop.made, work=Work.POLL, gate=(gate := asyncio.Event()), begun=[], done=[]),
        shop.hints,
        shop.lanes,
        shop.house.store,
        shop.house.services.clock,
        shop.held,
    )
    for _ in range(3):
        shop.lanes.take(Work.POLL, "aiml")
        polls.start((Claim("", Work.POLL, "aiml", 1, 0, 0.0), ""))
    [job_id] = await shop.jobs("aiml")
    task = asyncio.create_task(shop.worker.run())
    await shop.made.until(lambda: "aiml" in shop.lanes.waiting(Work.SUBMIT))
    gate.set()
    await shop.made.until(lambda: shop.made.done == [job_id])
    await shop.worker.stop(PATIENCE)
    await task


async def test_what_may_not_be_started_any_more_is_given_back(shop: Shop) -> None:
    await shop.jobs("aiml", "aiml")
    claims = [chosen.claim for chosen in await shop.house.claim(Work.SUBMIT)]
    shop.held.live = False
    shop.lanes.take(Work.SUBMIT, "aiml")
    shop.worker.start((claims[0], claims[0].id))
    await shop.idle()
    assert shop.made.begun == []
    [again] = await shop.house.claim(Work.SUBMIT)
    assert (again.claim.id, again.claim.fence) == (claims[0].id, claims[0].fence + 2)


async def test_what_lost_its_leases_does_not_look_for_work_without_end(shop: Shop) -> None:
    shop.worker.hint(shop.house.hands.at - timedelta(seconds=1))
    assert shop.worker.alarm.rings_in() == 0
    shop.held.live = False
    assert await shop.worker.tick() == 0
    assert shop.worker.alarm.rings_in() == math.inf


async def test_a_lane_on_hold_is_taken_up_when_its_hold_ends(
    running: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running.house.store.driver, "scan", 3600.0)
    running.lanes.hold(Work.SUBMIT, "aiml", 0.05)
    [job_id] = await running.jobs("aiml")
    running.worker.hint()
    await running.made.until(lambda: "aiml" in running.lanes.waiting(Work.SUBMIT))
    running.house.hands.pass_(milliseconds=50)
    await running.made.until(lambda: running.made.done == [job_id])


async def test_what_is_born_in_a_lane_on_hold_is_looked_for_when_the_hold_ends(shop: Shop) -> None:
    assert await shop.worker.tick() == 0
    shop.lanes.hold(Work.SUBMIT, "aiml", 60)
    await shop.jobs("aiml")
    shop.worker.waits("aiml")
    assert shop.worker.alarm.rings_in() == pytest.approx(60, abs=PATIENCE)
    assert await shop.worker.tick() == 0
    assert shop.worker.alarm.rings_in() == pytest.approx(60, abs=PATIENCE)
    shop.house.hands.pass_(seconds=60)
    assert await shop.worker.tick() == 1


async def test_nobody_looks_for_what_only_a_word_can_set_free(shop: Shop) -> None:
    shop.made.gate = asyncio.Event()
    await shop.jobs(*["aiml"] * 4, "apiframe")
    shop.made.serves = lambda lane: lane == "aiml"  # type: ignore[method-assign]
    assert await shop.worker.tick() == 3
    assert await shop.worker.tick() == 0
    for lane in ("aiml", "apiframe"):
        shop.worker.waits(lane)
    leases_end = shop.made.lease.total_seconds()
    assert shop.worker.alarm.rings_in() == pytest.approx(leases_end, abs=PATIENCE)
    shop.made.gate.set()


async def test_a_hint_that_comes_while_a_claim_runs_outlives_its_answer(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.jobs("aiml")
    await shop.house.write("update due set work = 'poll'")
    here, later = asyncio.get_running_loop(), shop.house.hands.at + timedelta(seconds=60)

    def claiming(request: Request) -> Transaction[object]:
        taken = yield from claim(request)
        yield rows("update due set work = 'submit', at = :later", later=ms(later))
        here.call_soon_threadsafe(shop.worker.hint, later)
        return taken

    monkeypatch.setattr(loop, "claim", claiming)
    shop.worker.hint(shop.house.hands.at + timedelta(milliseconds=1))
    assert await shop.worker.tick() == 0
    assert shop.worker.alarm.rings_in() == pytest.approx(60, abs=PATIENCE)


async def test_lanes_that_share_slots_are_not_filled_beyond_them_by_one_claim(shop: Shop) -> None:
    shop.made.gate = asyncio.Event()
    ids = await shop.jobs(*["aiml"] * 8)
    retries = f"aiml{RETRY_LANE}"
    await shop.house.write("update due set lane = :lane where id in (:ids)", lane=retries, ids=ids[:4])
    assert await shop.worker.tick() == 3
    assert (shop.taken(retries), shop.taken()) == (1, 2)
    assert await shop.worker.tick() == 0
    shop.made.gate.set()
