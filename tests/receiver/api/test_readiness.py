"""The readiness check: one probe a second at most, shared by all callers."""

import asyncio
from dataclasses import dataclass, field

import pytest

from receiver.api.readiness import GOOD_FOR, Readiness
from receiver.domain.errors import StoreUnavailable


@dataclass
class Probe:
    """A probe of the store whose outcomes a test chooses, and the clock of its readiness check."""

    outcomes: list[Exception | None] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    calls: int = 0
    seconds: float = 100.0

    async def __call__(self) -> None:
        """Wait for the gate, then succeed or fail with the next outcome."""
        self.calls += 1
        await self.gate.wait()
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            raise outcome

    def readiness(self) -> Readiness:
        """Return a readiness check with this probe."""
        return Readiness(self, lambda: self.seconds)


@pytest.fixture
def probe() -> Probe:
    """Return a probe that answers at once."""
    made = Probe()
    made.gate.set()
    return made


async def test_a_result_holds_for_a_second(probe: Probe) -> None:
    readiness = probe.readiness()
    for seconds, calls in ((0.0, 1), (GOOD_FOR - 0.5, 1), (0.5, 2), (5.0, 3), (0.0, 3)):
        probe.seconds += seconds
        await readiness.check()
        assert probe.calls == calls


async def test_callers_at_the_same_time_share_one_probe(probe: Probe) -> None:
    probe.gate.clear()
    probe.outcomes = [StoreUnavailable("the disk is full")]
    readiness = probe.readiness()
    callers = [asyncio.create_task(readiness.check()) for _ in range(3)]
    await asyncio.sleep(0)
    probe.seconds += 10.0  # a probe that takes long is not started again
    callers.append(asyncio.create_task(readiness.check()))
    probe.gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [str(one) for one in results] == ["the disk is full"] * 4
    assert probe.calls == 1


async def test_the_second_begins_when_the_probe_has_ended(probe: Probe) -> None:
    probe.gate.clear()
    readiness = probe.readiness()
    caller = asyncio.create_task(readiness.check())
    await asyncio.sleep(0)
    probe.seconds += 10.0
    probe.gate.set()
    await caller
    probe.seconds += GOOD_FOR - 0.5
    await readiness.check()
    assert probe.calls == 1


async def test_a_caller_that_leaves_does_not_end_the_probe_of_the_others(probe: Probe) -> None:
    probe.gate.clear()
    readiness = probe.readiness()
    leaving, staying = (asyncio.create_task(readiness.check()) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    probe.gate.set()
    await staying
    assert (leaving.cancelled(), probe.calls) == (True, 1)


async def test_a_failure_has_the_reason_and_a_time_to_try_again(probe: Probe) -> None:
    probe.outcomes = [StoreUnavailable("the database is read-only")]
    with pytest.raises(StoreUnavailable, match="the database is read-only") as caught:
        await probe.readiness().check()
    assert dict(caught.value.headers) == {"retry-after": "2"}


async def test_an_unexpected_failure_is_not_hidden_and_is_tried_again_after_a_second(probe: Probe) -> None:
    probe.outcomes = [KeyError("probe")]
    readiness = probe.readiness()
    for _ in range(2):
        with pytest.raises(KeyError, match="probe"):
            await readiness.check()
    probe.seconds += GOOD_FOR
    await readiness.check()
    assert probe.calls == 2
