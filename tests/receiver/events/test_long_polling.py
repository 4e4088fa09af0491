"""Waiting calls: woken by news and nothing else, a few at a time, with one look a second for all of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from receiver.domain.errors import TooManyWaiting
from receiver.domain.model import State
from receiver.events import long_polling as module
from receiver.events.long_polling import AT_MOST, WaitingCalls
from receiver.events.waiters import TOGETHER
from receiver.store import Store
from tests.receiver.store_fixture import StoreFixture

PATIENCE = 100.0


@dataclass
class Reads:
    """A store that counts its reads, and may be shared with other processes."""

    store: Store
    shared: bool
    count: int = 0
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, transaction: Any) -> Any:
        """Read as the store does, and count it."""
        self.count += 1
        self.came.set()
        return await self.store.read(transaction)


@pytest.fixture
async def reads(fixture: StoreFixture) -> Reads:
    """Return its store, as one process among several reads it."""
    return Reads(fixture.store, shared=True)


@pytest.fixture
def made(reads: Reads, monkeypatch: pytest.MonkeyPatch) -> WaitingCalls:
    """Return waiting calls that look only when the test calls `look`."""
    monkeypatch.setattr(module, "LOOK", 3600.0)
    return WaitingCalls(cast("Store", reads))


@contextlib.asynccontextmanager
async def waiting(made: WaitingCalls, job_id: str | None, seen: State | None = None) -> AsyncIterator[Any]:
    """Yield the task of one waiting call."""
    with made.waiting(job_id, "key") as waiter:
        waiter.seen = seen
        task = asyncio.create_task(waiter.news(PATIENCE))
        await asyncio.sleep(0)
        yield task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def woken(*tasks: Any) -> bool:
    """Return whether these tasks end within a few turns of the loop."""
    for _ in range(3):
        await asyncio.sleep(0)
    return all(task.done() for task in tasks)


async def test_a_call_is_woken_by_its_own_news_only(made: WaitingCalls) -> None:
    async with waiting(made, "job_a") as a, waiting(made, "job_b") as b, waiting(made, None) as feed:
        made.tell(["job_c"], events=False)
        assert not await woken(a)
        assert not await woken(b)
        assert not await woken(feed)
        made.tell(["job_a"], events=False)
        assert await woken(a)
        made.tell(["job_c"], events=True)
        assert await woken(feed)
        assert not b.done()
        made.close()
        assert await woken(b)


async def test_where_others_write_one_look_serves_all(
    made: WaitingCalls, fixture: StoreFixture, reads: Reads
) -> None:
    jobs = [await fixture.added() for _ in range(3)]
    async with contextlib.AsyncExitStack() as stack:
        tasks = [
            await stack.enter_async_context(waiting(made, job.id, job.state))
            for job in jobs
            for _ in range(20)
        ]
        feed = await stack.enter_async_context(waiting(made, None))
        await made.look()
        assert await woken(feed)
        assert not any(task.done() for task in tasks)
        await fixture.write("update job set state = 'failed' where id = :id", id=jobs[1].id)
        await made.look()
        for _ in range(3):
            await asyncio.sleep(0)
        assert [task.done() for task in tasks] == [False] * 20 + [True] * 20 + [False] * 20
        assert reads.count == 2


async def test_a_call_for_a_job_that_was_erased_is_woken(made: WaitingCalls) -> None:
    async with waiting(made, "job_gone", State.PENDING) as task:
        await made.look()
        assert await woken(task)


async def test_the_look_is_steady_where_several_serve_and_never_where_one_does(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK", 0.0)
    several, one = Reads(fixture.store, shared=True), Reads(fixture.store, shared=False)
    looked, alone = WaitingCalls(cast("Store", several)), WaitingCalls(cast("Store", one))
    async with waiting(looked, None), waiting(alone, None), asyncio.timeout(PATIENCE):
        for _ in range(3):
            several.came.clear()
            await several.came.wait()
    assert one.count == 0
    assert looked._looking is not None
    async with asyncio.timeout(PATIENCE):
        await looked._looking
    assert looked._looking is None


async def test_many_are_woken_a_few_at_a_time(made: WaitingCalls) -> None:
    async with contextlib.AsyncExitStack() as stack:
        tasks = [await stack.enter_async_context(waiting(made, None)) for _ in range(TOGETHER * 5)]
        made.tell([], events=True)
        made.tell([], events=True)
        counts = []
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            counts.append(sum(task.done() for task in tasks))
        assert all(later - sooner <= TOGETHER for sooner, later in zip([0, *counts], counts, strict=False))


async def test_one_key_may_wait_only_so_often(made: WaitingCalls) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(AT_MOST):
            stack.enter_context(made.waiting("job_a", "key"))
        assert not made.has_room("key")
        with pytest.raises(TooManyWaiting):
            stack.enter_context(made.waiting(None, "key"))
        stack.enter_context(made.waiting(None, "another"))
    assert made.has_room("key")
    assert (made._jobs, made._feed, made._by_owner) == ({}, set(), {})
