"""Gauges of the store: those of now where they are read soon, none where the database is away for long."""

import asyncio
from typing import Any

import pytest

from receiver.domain.clock import Clock
from receiver.domain.errors import StoreUnavailable
from receiver.metrics import gauges as module
from receiver.metrics.gauges import OLDEST, SHARE, StoreGauges
from receiver.store.standing import DeploymentStanding


class Stored:
    """A store with a standing that tells the number of its readings."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.reads = 0
        self.took = 0.0
        self.open = asyncio.Event()
        self.open.set()
        self.away = False

    async def read(self, transaction: Any) -> DeploymentStanding:
        """Return a standing with the number of the reading. Raises `StoreUnavailable` while it is away."""
        transaction.close()
        await self.open.wait()
        self.now += self.took
        if self.away:
            raise StoreUnavailable
        self.reads += 1
        return DeploymentStanding(jobs={}, owed={}, oldest_due={}, endpoints={}, replicas=self.reads)

    @property
    def gauges(self) -> StoreGauges:
        """Return gauges of this store, on its clock."""
        return StoreGauges(self, Clock(monotonic=lambda: self.now))  # type: ignore[arg-type]  # all that is used


async def settled(gauges: StoreGauges) -> int:
    """Return the number of the reading that is told, once any reading under way has ended."""
    told = (await gauges.standing()).replicas
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return told


async def test_each_caller_is_told_what_is_there_now() -> None:
    gauges = Stored().gauges
    assert [await settled(gauges) for _ in range(3)] == [1, 2, 3]


async def test_a_reading_serves_for_fifty_times_as_long_as_it_took() -> None:
    stored = Stored()
    stored.took = 0.5
    gauges = stored.gauges
    assert [await settled(gauges) for _ in range(3)] == [1, 1, 1]
    stored.now += SHARE * stored.took
    assert [await settled(gauges) for _ in range(3)] == [2, 2, 2]


async def test_a_caller_gets_the_last_reading_while_a_newer_one_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SOON", 0)
    stored = Stored()
    gauges = stored.gauges
    assert await settled(gauges) == 1
    stored.open.clear()
    assert [await settled(gauges) for _ in range(3)] == [1, 1, 1]
    stored.open.set()
    monkeypatch.undo()
    assert await settled(gauges) == 2


async def test_many_callers_share_one_reading() -> None:
    stored = Stored()
    gauges = stored.gauges
    found = await asyncio.gather(*(gauges.standing() for _ in range(20)))
    assert {one.replicas for one in found} == {1}
    assert stored.reads == 1


async def test_after_a_long_pause_a_caller_waits_for_a_new_reading() -> None:
    stored = Stored()
    gauges = stored.gauges
    await settled(gauges)
    stored.now += OLDEST
    assert await settled(gauges) == 2


async def test_an_old_reading_is_not_told_while_the_database_is_away() -> None:
    stored = Stored()
    gauges = stored.gauges
    stored.away = True
    with pytest.raises(StoreUnavailable):
        await gauges.standing()
    stored.away = False
    assert await settled(gauges) == 1
    stored.away = True
    assert await settled(gauges) == 1
    stored.now += OLDEST
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await gauges.standing()
        await asyncio.sleep(0)
    stored.away = False
    assert await settled(gauges) == 2
