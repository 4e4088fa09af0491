"""A worker over a real store, with a performer that records its work."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from handlers.values import immutable
from receiver.domain.model import Claim, Work
from receiver.store.due import release as give_up
from receiver.store.statements import Transaction, query
from receiver.work.dispatcher import Dispatcher
from receiver.work.limits import ConcurrencyLimits
from receiver.work.slots import ConcurrencyLimit
from receiver.work.worker import Worker
from tests.receiver.store_fixture import StoreFixture, store_fixture

PATIENCE = 100.0
"""Seconds after which a wait has failed; a bound, never an expectation."""


@dataclass
class Held:
    """A lease holder that lives until a test ends it."""

    name: str = "rpc_1"
    live: bool = True


class Slotted(ConcurrencyLimits):
    """Concurrency limits that wake a test when a call ends or a claim waits."""

    news: asyncio.Event
    loop: asyncio.AbstractEventLoop

    def release(self, name: str, work: Work = Work.DELIVER) -> Sequence[Work]:
        """Release a slot, and wake the test."""
        self.news.set()
        return super().release(name, work)

    def mark_waiting(self, work: Work, name: str) -> int:
        """Mark a lane as waited for, and wake the test; this runs on the writer's thread."""
        self.loop.call_soon_threadsafe(self.news.set)
        return super().mark_waiting(work, name)


@immutable
class Given:
    """The prepared work of the fake performer: no more than its claim."""

    claim: Claim


@dataclass
class Made:
    """A fake performer: it records its work, and waits at a gate if there is one."""

    lanes: ConcurrencyLimits
    fixture: StoreFixture
    work: Work = Work.SUBMIT
    lease: timedelta = timedelta(seconds=90)
    gate: asyncio.Event | None = None
    failure: Exception | None = None
    limited: Mapping[str, int] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()
    claims: list[Claim] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def serves(self, lane: str) -> bool:
        """Return whether a lane is not closed."""
        return lane not in self.closed

    def job_limits(self) -> Mapping[str, int]:
        """Return the limits that the test sets."""
        return self.limited

    def prepare(self, claims: Sequence[Claim]) -> Transaction[Sequence[Given]]:
        """Check inside the claiming transaction that the claimed jobs exist. Returns the prepared work."""
        found = yield query("select id from job where id in (:ids)", ids=[claim.id for claim in claims])
        assert len(found) == len(claims)
        return [Given(claim) for claim in claims]

    def give_back(self, prepared: Sequence[Given], now: datetime) -> Transaction[None]:
        """Release the claims to other workers."""
        yield from give_up([one.claim for one in prepared], now)

    async def perform(self, prepared: Given) -> None:
        """Record the work, and delete its due row."""
        claim, job_id = prepared.claim, prepared.claim.id
        self.claims.append(claim)
        self._tell(self.begun, job_id)
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        await self.fixture.write(
            "delete from due where id = :id and fence = :fence", id=claim.id, fence=claim.fence
        )
        self._tell(self.done, job_id)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait for news until a condition holds."""
        async with asyncio.timeout(PATIENCE):
            while not reached():
                self.news.clear()
                await self.news.wait()

    def _tell(self, notes: list[str], job_id: str) -> None:
        notes.append(job_id)
        self.news.set()


@dataclass
class WorkerFixture:
    """A worker with all its parts."""

    fixture: StoreFixture
    lanes: ConcurrencyLimits
    made: Made
    worker: Worker[Given]
    dispatcher: Dispatcher
    held: Held

    async def jobs(self, *accounts: str) -> list[str]:
        """Store a job that is due now for each account. Returns the ids."""
        return [(await self.fixture.added(account)).id for account in accounts]

    def taken(self, lane: str = "aiml") -> int:
        """Return the number of slots that are taken in a lane."""
        return self.lanes.lane(Work.SUBMIT, lane).in_flight

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        await self.made.until(lambda: self.taken() + self.taken("apiframe") == 0)


@contextlib.asynccontextmanager
async def worker_fixture_in(folder: Path) -> AsyncIterator[WorkerFixture]:
    """Yield a worker over a store in `folder`, with three slots in each lane. The worker does not run yet."""
    async with store_fixture(folder) as fixture:
        clock = fixture.services.core.clock
        lanes = Slotted(lambda _work, _name: ConcurrencyLimit(max=3), clock.monotonic)
        made = Made(lanes, fixture)
        lanes.news, lanes.loop = made.news, asyncio.get_running_loop()
        held = Held()
        worker = Worker(made, dispatcher := Dispatcher(lambda _word: None), lanes, fixture.store, clock, held)
        dispatcher.register(worker)
        yield WorkerFixture(fixture, lanes, made, worker, dispatcher, held)
