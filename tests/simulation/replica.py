"""One process of the service in virtual time: the real composition over a scripted client and database."""

import asyncio
import functools
import json
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from receiver.app import App, build, start, stop
from receiver.config.load import Loaded, load
from receiver.domain.clock import Clock, Wall
from receiver.domain.errors import StoreUnavailable
from receiver.store import Store
from receiver.work.heartbeat import Role
from tests.simulation.database import Database, Fate, InlineDriver
from tests.simulation.faces import settings
from tests.simulation.loop import VirtualLoop
from tests.simulation.plan import JOB_SECONDS, Plan
from tests.simulation.world import World

START = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
BOOT_AGAIN = 2.0


@functools.lru_cache(maxsize=64)
def loaded(policy: str, slots: int, max_jobs: int | None, schedule: tuple[float, ...]) -> Loaded:
    """Return the settings of a run."""
    environment = {
        "RINGBACK_SECRET_KEYS": json.dumps(["m" * 32]),
        "RINGBACK_ADMIN_KEY": "rb_" + "k" * 32,
        "RINGBACK_PUBLIC_URL": "https://hooks.test",
        "RINGBACK_ON_UNCONFIRMED": policy,
        "RINGBACK_UNCONFIRMED_AFTER": "25",
        "RINGBACK_JOB_DEADLINE": str(JOB_SECONDS),
        "RINGBACK_RETRY_SCHEDULE": json.dumps(list(schedule)),
        "RINGBACK_PROVIDERS": json.dumps(settings(slots, max_jobs)),
    }
    return load(Path(os.devnull), environment)


class Process:
    """A process from its start to its end. `ended` is called when it has ended in any way."""

    def __init__(
        self,
        name: str,
        plan: Plan,
        world: World,
        database: Database,
        ahead: timedelta,
        ended: Callable[["Process"], None],
    ) -> None:
        self.name = name
        self.loop = VirtualLoop(world.time)  # type: ignore[abstract]  # has all that asyncio uses
        self.services: App | None = None
        self.died_at = float("inf")
        self.ahead = ahead
        self.next_fates: list[Fate] = []
        self.woke_at = -1.0
        self._plan = plan
        self._world = world
        self._database = database
        self._ended = ended
        self._trouble: tuple[float, Fate] = (-1.0, Fate.STORED)
        self._tasks: list[asyncio.Task[None]] = []
        self._wall = Wall(self._system, self.elapsed)
        self._dice = random.Random(f"{plan.seed}|{name}")
        self.loop.create_task(self._boot())

    @property
    def alive(self) -> bool:
        """Return whether the process has not ended yet."""
        return not self.loop.dead

    @property
    def ready(self) -> bool:
        """Return whether the process accepts requests now."""
        return self.services is not None and self.alive and not self.loop.paused

    def now(self) -> datetime:
        """Return the time of the process's wall clock."""
        return self._wall.now()

    def elapsed(self) -> float:
        """Return the seconds since the process's machine started."""
        return 1000.0 + self._world.time.now

    def _system(self) -> float:
        return START.timestamp() + self._world.time.now + self.ahead.total_seconds()

    def skew(self) -> timedelta:
        """Return how far the database's clock is ahead of the process's."""
        return -self.ahead if self._plan.shared else timedelta()

    def passed_on(self, heard: Callable[[str], None], word: str) -> None:
        """Pass a hint to another process, a moment later."""
        self._world.time.after(0.005, lambda: heard(word))

    def trouble(self, seconds: float, fate: Fate) -> None:
        """Give all transactions of the process a fate for some seconds."""
        self._trouble = (self._world.time.now + seconds, fate)

    def fate(self) -> Fate:
        """Return the fate of the transaction that begins now."""
        until, fate = self._trouble
        if self._world.time.now < until:
            return fate
        return Fate.STORED

    def next_fate(self) -> Fate:
        """Return the fate of the write that begins now."""
        return self.next_fates.pop(0) if self.next_fates else self.fate()

    def crash(self) -> None:
        """Crash at once, in the middle of any work."""
        if self.alive:
            self._world.note(f"{self.name} crashes")
            self._end()

    def stop(self) -> None:
        """Stop in order."""
        if self.ready:
            self._world.note(f"{self.name} is told to stop")
            self.loop.create_task(self._stop())

    def pause(self, seconds: float, *, clock_stands: bool) -> None:
        """Pause the process for some seconds. Its monotonic clock may stand still meanwhile."""
        if self.alive and not self.loop.paused:
            self._world.note(f"{self.name} stands still for {seconds:g} s")
            self.loop.paused = True
            self._world.time.after(seconds, lambda: self.resume(seconds if clock_stands else 0.0))

    def resume(self, lost: float = 0.0) -> None:
        """Continue after a pause, with a clock that stood still for `lost` seconds."""
        if self.alive and self.loop.paused:
            self._world.note(f"{self.name} goes on")
            self.loop.lag += lost
            self.loop.paused = False
            self.woke_at = self._world.time.now

    def _end(self) -> None:
        self.died_at = self._world.time.now
        self._database.heard.pop(self.name, None)
        self.loop.die()
        self._ended(self)

    async def _boot(self) -> None:
        clock = Clock(
            now=self._wall.now,
            monotonic=self.elapsed,
            chance=self._dice.random,
            entropy=self._dice.randbytes,
            real=self._wall.real,
        )
        plan = self._plan
        store = Store(InlineDriver(self._database, self))
        try:
            await store.open(migrate=True)
            self.services = await build(
                loaded(plan.policy, plan.slots, plan.max_jobs, plan.schedule),
                store,
                clock,
                self._wall,
                Role.ALL,
            )
        except StoreUnavailable:
            self._end()
            return
        self.services.core.limits.unproven.places = plan.slots
        self._tasks = start(self.services)
        self._world.note(f"{self.name} serves")

    async def _stop(self) -> None:
        assert self.services is not None
        await stop(self.services, self._tasks)
        await self.services.heartbeat.leave()
        await self.services.core.store.close()
        self._world.note(f"{self.name} stopped")
        self._end()
