"""Heartbeats of replicas: beats, shares of the limits, changes by others, and replicas that fall silent."""

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from receiver.domain.clock import Wall
from receiver.domain.model import Job, Work
from receiver.store import replicas
from receiver.store.generation import bump
from receiver.store.replicas import Present
from receiver.store.statements import ms
from receiver.work import heartbeat
from receiver.work.heartbeat import BEAT, DEAD, LOST, SPAN, ReplicaHeartbeat, Role
from tests.receiver.store_fixture import StoreFixture, write_locked
from tests.receiver.worker_fixture import PATIENCE

OTHER = "rpc_other"


@pytest.fixture
async def shared(fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch) -> StoreFixture:
    """Return a service at rest with a database that other processes may serve, as with PostgreSQL."""
    monkeypatch.setattr(fixture.store.driver, "shared", True)
    return fixture


@dataclass
class Calls:
    """The calls that a heartbeat makes, and its wall clock, which follows the time of `machine`."""

    changes: int = 0
    reclaims: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    machine: float = 0.0
    wall: Wall = field(init=False)

    def __post_init__(self) -> None:
        """Set the wall clock to the time of the machine."""
        self.wall = Wall(now=lambda: self.machine, passed=lambda: 0.0)

    async def change(self) -> None:
        """Count a change by another replica."""
        self.changes += 1
        self.changed.set()

    def reclaim(self) -> None:
        """Count work that may be claimed."""
        self.reclaims += 1


async def joined(fixture: StoreFixture, calls: Calls | None = None) -> ReplicaHeartbeat:
    """Return the heartbeat of the service's replica after it joined."""
    made = unjoined(fixture, calls or Calls())
    await made.join()
    return made


def unjoined(fixture: StoreFixture, calls: Calls, role: Role = Role.ALL) -> ReplicaHeartbeat:
    """Return a heartbeat under the name of the service's replica."""
    core = fixture.services.core
    return ReplicaHeartbeat(
        core.store,
        core.clock,
        calls.wall,
        core.limits,
        name=core.name,
        role=role,
        kids=("old", "new"),
        on_change=calls.change,
        on_reclaim=calls.reclaim,
    )


async def beat(fixture: StoreFixture, name: str = OTHER, ago: float = 0.0, role: str = "worker") -> None:
    """Store a beat of another replica."""
    present = Present(name, role, "old", fixture.clock.at - timedelta(seconds=ago))
    await fixture.store.write(lambda: replicas.beat(present, {}))


async def seen(fixture: StoreFixture) -> dict[str, int]:
    """Return the last beat of each replica."""
    return await fixture.store.read(replicas.seen())


async def leased(fixture: StoreFixture, owner: str) -> Job:
    """Return a job with a submission that a replica holds."""
    job = await fixture.added("aiml")
    await fixture.write("update due set leased = 1, owner = :owner, at = at + 90000", owner=owner)
    return job


async def ticks(fixture: StoreFixture, ours: ReplicaHeartbeat, count: int, span: float = SPAN) -> None:
    """Tick so many times, each so many seconds after the one before."""
    for _ in range(count):
        fixture.clock.pass_(seconds=span)
        await ours.tick()


def room(fixture: StoreFixture) -> int:
    """Return this replica's free slots of an account that takes 16 calls at once."""
    return fixture.lanes.room(Work.SUBMIT, "aiml")


# Joining.


async def test_the_only_process_of_a_database_removes_all_others_and_takes_back_their_work(
    on_sqlite: None, fixture: StoreFixture
) -> None:
    await beat(fixture)
    job, ours = await leased(fixture, OTHER), await joined(fixture)
    assert await seen(fixture) == {ours.name: ms(fixture.clock.at)}
    assert [due[:3] for due in await fixture.due_of(job)] == [("submit", 0.0, 0)]
    assert room(fixture) == 16


async def test_a_replica_that_joins_shares_the_limits_with_those_that_work(shared: StoreFixture) -> None:
    dead = DEAD.total_seconds()
    await beat(shared)
    await beat(shared, "rpc_api", role="api")
    await beat(shared, "rpc_quiet", ago=dead)
    await beat(shared, "rpc_dead", ago=dead + 0.001)
    await shared.store.write(lambda: replicas.leave(shared.services.core.name, shared.clock.at))
    ours = await joined(shared)
    assert set(await seen(shared)) == {ours.name, OTHER, "rpc_api", "rpc_quiet"}
    assert room(shared) == 6
    stored = await shared.query("select role, kids from replica where id = :id", id=ours.name)
    assert [tuple(row) for row in stored] == [("all", "old new")]


async def test_a_replica_that_joins_takes_back_the_work_of_one_that_is_dead(shared: StoreFixture) -> None:
    await beat(shared, ago=DEAD.total_seconds() + 1)
    job = await leased(shared, OTHER)
    await joined(shared)
    assert [due[:3] for due in await shared.due_of(job)] == [("submit", 0.0, 0)]


async def test_the_time_of_the_service_follows_the_clock_of_a_shared_database(
    shared: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    skews = [timedelta(seconds=100), timedelta(seconds=200)]

    async def skew() -> timedelta:
        return skews.pop(0)

    monkeypatch.setattr(shared.store.driver, "skew", skew)
    calls = Calls()
    ours = unjoined(shared, calls)
    calls.machine = 3600.0
    assert calls.wall.now().timestamp() == 0.0
    await ours.join()
    assert calls.wall.now().timestamp() == 3700.0
    await ticks(shared, ours, 1, BEAT)
    assert calls.wall.ahead == timedelta(seconds=200)
    assert calls.wall.now().timestamp() == 3700.0


async def test_a_replica_is_live_from_the_moment_it_joins(shared: StoreFixture) -> None:
    ours = unjoined(shared, Calls())
    shared.clock.pass_(hours=1)
    await ours.join()
    assert ours.live


async def test_the_concurrent_transactions_are_shared_among_the_replicas_too(
    shared: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared.store.driver, "writers", 8)
    await beat(shared)
    await joined(shared)
    assert shared.store._commit.writers == 4


# Beating.


async def test_a_beat_is_written_every_few_seconds(shared: StoreFixture) -> None:
    ours = await joined(shared)
    first = (await seen(shared))[ours.name]
    shared.clock.pass_(seconds=BEAT - 0.001)
    await ours.tick()
    assert (await seen(shared))[ours.name] == first
    shared.clock.pass_(seconds=0.001)
    await ours.tick()
    assert (await seen(shared))[ours.name] == first + BEAT * 1000


async def test_a_replica_that_comes_or_goes_changes_the_share_with_the_next_beat(
    shared: StoreFixture,
) -> None:
    ours = await joined(shared)
    await beat(shared)
    await ticks(shared, ours, 1, BEAT)
    assert room(shared) == 8
    await shared.store.write(lambda: replicas.leave(OTHER, shared.clock.at))
    await ticks(shared, ours, 1, BEAT)
    assert room(shared) == 16


async def test_a_replica_that_others_took_for_dead_comes_back_with_its_next_beat(
    shared: StoreFixture,
) -> None:
    ours = await joined(shared)
    await shared.store.write(lambda: replicas.leave(ours.name, shared.clock.at))
    await ticks(shared, ours, 1, BEAT)
    assert await seen(shared) == {ours.name: ms(shared.clock.at)}


async def test_a_change_by_another_replica_is_taken_up_once(shared: StoreFixture) -> None:
    calls = Calls()
    ours = await joined(shared, calls)
    await ours.tick()
    assert calls.changes == 0
    await shared.store.write(bump)
    for _ in range(2):
        await ours.tick()
    assert (calls.changes, calls.reclaims) == (1, 0)


async def test_a_replica_without_a_beat_starts_no_work_until_its_next_one(shared: StoreFixture) -> None:
    calls = Calls()
    ours = await joined(shared, calls)
    lives = []
    for seconds in (LOST - 0.001, 0.001):
        shared.clock.pass_(seconds=seconds)
        lives.append(ours.live)
    assert (lives, calls.reclaims) == ([True, False], 0)
    await ours.tick()
    assert (ours.live, calls.reclaims) == (True, 1)
    await ticks(shared, ours, 1, BEAT)
    assert calls.reclaims == 1


async def test_the_only_process_of_a_database_is_live_without_a_beat(
    on_sqlite: None, fixture: StoreFixture
) -> None:
    ours = await joined(fixture)
    fixture.clock.pass_(hours=1)
    assert ours.live


# Silence of others.


async def test_a_replica_that_is_silent_for_long_loses_its_work_to_the_others(shared: StoreFixture) -> None:
    calls = Calls()
    ours = await joined(shared, calls)
    await beat(shared)
    job = await leased(shared, OTHER)
    looks = int(DEAD.total_seconds() / SPAN)
    await ticks(shared, ours, looks - 1)
    assert (OTHER in await seen(shared), calls.reclaims) == (True, 0)
    await ticks(shared, ours, 1)
    assert (OTHER in await seen(shared), calls.reclaims) == (False, 1)
    assert [due[:3] for due in await shared.due_of(job)] == [("submit", DEAD.total_seconds(), 0)]
    assert room(shared) == 16


async def test_a_silent_replica_that_held_no_work_wakes_no_worker(shared: StoreFixture) -> None:
    calls = Calls()
    ours = await joined(shared, calls)
    await beat(shared)
    await ticks(shared, ours, int(DEAD.total_seconds() / SPAN))
    assert (OTHER in await seen(shared), calls.reclaims) == (False, 0)


async def test_every_beat_of_another_replica_ends_its_silence(shared: StoreFixture) -> None:
    ours = await joined(shared)
    looks = int(DEAD.total_seconds() / SPAN)
    for _ in range(2):
        await beat(shared)
        await ticks(shared, ours, looks - 1)
    assert OTHER in await seen(shared)


async def test_a_replica_that_was_stopped_itself_takes_no_other_for_silent(shared: StoreFixture) -> None:
    ours = await joined(shared)
    await beat(shared)
    await ticks(shared, ours, 3, 3600.0)
    assert OTHER in await seen(shared)


# Leaving.


async def test_a_replica_that_leaves_gives_its_work_to_the_others(shared: StoreFixture) -> None:
    await beat(shared)
    ours = await joined(shared)
    job = await leased(shared, ours.name)
    shared.clock.pass_(seconds=1)
    await ours.leave()
    assert set(await seen(shared)) == {OTHER}
    assert [due[:3] for due in await shared.due_of(job)] == [("submit", 1.0, 0)]


async def test_the_only_process_of_a_database_leaves_its_row(on_sqlite: None, fixture: StoreFixture) -> None:
    ours = await joined(fixture)
    await ours.leave()
    assert set(await seen(fixture)) == {ours.name}


async def test_a_replica_that_cannot_store_its_leave_says_what_follows(
    on_sqlite: None, impatient: None, shared: StoreFixture, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "ringback.replica")
    ours = await joined(shared)
    with write_locked(shared.path):
        await ours.leave()
    said = "others take our work over once our leases end: the database does not take writes now"
    assert said in caplog.messages
    assert set(await seen(shared)) == {ours.name}


# Running.


async def test_the_only_process_of_a_database_looks_for_no_others(
    on_sqlite: None, fixture: StoreFixture
) -> None:
    calls = Calls()
    ours = await joined(fixture, calls)
    await fixture.store.write(bump)
    async with asyncio.timeout(PATIENCE):
        await ours.run()
    assert calls.changes == 0


async def test_a_replica_looks_for_changes_until_it_is_cancelled(
    shared: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "LOOK", 0.0)
    calls = Calls()
    ours = await joined(shared, calls)
    running = asyncio.create_task(ours.run())
    await shared.store.write(bump)
    async with asyncio.timeout(PATIENCE):
        await calls.changed.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert calls.changes == 1
