"""A run: a plan in virtual time, until all is well or a rule is broken."""

import asyncio
import functools
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from unittest.mock import patch

from receiver.app import core
from receiver.config.settings import Settings
from receiver.egress.client import Called, HttpClient
from tests.simulation.checks import Checks, Violation
from tests.simulation.database import Database, Fate
from tests.simulation.ending import Ending
from tests.simulation.loop import Spinning, VirtualTime
from tests.simulation.plan import SCRIPT_SECONDS, Action, Plan
from tests.simulation.replica import BOOT_AGAIN, START, Process
from tests.simulation.users import Users
from tests.simulation.world import ScriptedClient, World

LONGEST = 1500.0
FATES = {
    "away": Fate.AWAY,
    "lost": Fate.LOST,
    "unknown": Fate.UNKNOWN,
    "crash-before": Fate.CRASH_BEFORE,
    "crash-after": Fate.CRASH_AFTER,
}


@dataclass(frozen=True)
class Result:
    """The outcome of a run: its violation, if there is one, and its history."""

    plan: Plan
    violation: Violation | None
    history: tuple[str, ...]


class Simulation:
    """One run of the service in its world."""

    def __init__(self, plan: Plan, passing: frozenset[str] = frozenset()) -> None:
        self.plan = plan
        self.time = VirtualTime()
        self.world = World(self.time)
        self.database = Database(shared=plan.shared, chance=str(plan.seed))
        self.users = Users(self.world, self._one_that_serves)
        self.checks = Checks(plan, self.world, self.database, self.users, passing)
        self.processes: list[Process] = []
        self.places: dict[int, Process] = {}
        self._down: dict[int, float] = {}
        self._turn = 0
        self._armed: defaultdict[tuple[str, int | None], list[Action]] = defaultdict(list)
        self.world.point = self._point
        self.world.processes = self.processes
        self.world.unix = lambda: int(START.timestamp() + self.time.now)

    def run(self) -> Result:
        """Play the plan, heal the world, and check that everything comes to its end. Returns the result."""
        with _logged(self), patch.object(core, "client_of", self._way_out):
            for place in range(max(1, self.plan.replicas)):
                self._boot(place)
            for action in self.plan.actions:
                if action.point is None:
                    self.time.after(action.at, functools.partial(self._act, action))
                else:
                    self._armed[action.point, action.job].append(action)
            ending = Ending(self.plan, self.checks, self.users, self.processes)
            self._until(SCRIPT_SECONDS, ending.quiet)
            self._heal()
            self._until(self.time.now + 130.0, ending.quiet)
            ending.look()
            self._until(LONGEST, ending.quiet)
            ending.look_again()
        history = tuple(f"{at:9.3f}  {text}" for at, text in self.world.history)
        broken = self.checks.broken[0] if self.checks.broken else None
        for process in self.processes:
            process.loop.bury()
        self.database.connection.close()
        return Result(self.plan, broken, history)

    def _way_out(self, _settings: Settings, _called: Called | None = None) -> HttpClient:
        """Return the HTTP client of the process that is running."""
        loop = asyncio.get_running_loop()
        return ScriptedClient(self.world, next(one for one in self.processes if one.loop is loop))

    def _until(self, moment: float, done: Callable[[], bool] = lambda: False) -> None:
        if not self.checks.broken:
            try:
                self.time.run(moment, lambda: bool(self.checks.broken) or done())
            except Spinning:
                self.checks.breaks("spins", "work is claimed again and again in one moment")

    def _boot(self, place: int) -> None:
        name = f"r{place}" + "'" * sum(one.name.startswith(f"r{place}") for one in self.processes)
        previous = self.places.get(place)
        ahead = previous.ahead if previous else timedelta()
        process = Process(
            name, self.plan, self.world, self.database, ahead, lambda _ended: self._ended(place)
        )
        self.places[place] = process
        self.processes.append(process)

    def _ended(self, place: int) -> None:
        wait = BOOT_AGAIN if self.world.healed else self._down.pop(place, BOOT_AGAIN)
        self.time.after(wait, lambda: self._boot(place))

    def _one_that_serves(self) -> Process | None:
        serving = [process for process in self.places.values() if process.ready]
        self._turn += 1
        return serving[self._turn % len(serving)] if serving else None

    def _point(self, name: str, job: int) -> None:
        if name == "sent":
            self.checks.sent(job)
        elif name == "answered":
            self.checks.answered(job)
        for action in self._armed.pop((name, job), ()):
            self.time.after(action.at, functools.partial(self._act, action))

    def _act(self, action: Action) -> None:
        if self.world.healed or self.checks.broken:
            return
        self.world.note(f"* {action}")
        if not self.users.act(action):
            getattr(self, f"_{action.kind}")(action)

    def _place(self, action: Action) -> Process:
        return self.places[action.values["replica"] % len(self.places)]

    def _crash(self, action: Action) -> None:
        self._down[action.values["replica"] % len(self.places)] = action.values["down"]
        self._place(action).crash()

    def _stop(self, action: Action) -> None:
        self._down[action.values["replica"] % len(self.places)] = action.values["down"]
        self._place(action).stop()

    def _stall(self, action: Action) -> None:
        self._place(action).pause(action.values["seconds"], clock_stands=False)

    def _suspend(self, action: Action) -> None:
        self._place(action).pause(action.values["seconds"], clock_stands=True)

    def _step(self, action: Action) -> None:
        self._place(action).ahead += timedelta(seconds=action.values["seconds"])

    def _store(self, action: Action) -> None:
        for process in self.places.values():
            process.trouble(action.values["seconds"], FATES[action.values["trouble"]])

    def _write(self, action: Action) -> None:
        fates = [Fate.STORED] * action.values["nth"] + [FATES[action.values["trouble"]]]
        self._one(action).next_fates = fates

    def _one(self, action: Action) -> Process:
        """Return the process that submitted the job of an action last."""
        sent = self.world.sent[action.job or 0]
        alive = [one.process for one in sent if one.process.alive]
        return alive[-1] if alive else self.places[0]

    def _downstream(self, action: Action) -> None:
        number = action.values["number"] if action.values["number"] < 2 else int(f"9{action.job}")
        self.world.down[number] = action.values["how"]
        self.time.after(action.values["seconds"], lambda: self.world.down.pop(number, None))

    def _refuse(self, action: Action) -> None:
        submitted = self.users.submitted.get(action.job or 0)
        if submitted is not None:
            account = submitted.values["account"]
            self.world.refusing[account] = action.values["how"]
            self.time.after(action.values["seconds"], lambda: self.world.refusing.pop(account, None))

    def _slowly(self, action: Action) -> None:
        self.world.slowly = action.values["seconds"]

    def _heal(self) -> None:
        self.world.note("* the world heals")
        self.world.healed = True
        self._armed.clear()
        for process in self.processes:
            process.trouble(-1.0, Fate.STORED)
            process.next_fates.clear()
            process.resume()
        self.time.after(1.0, self.users.resume_all)


class _Heard(logging.Handler):
    """A log handler that takes each error of the service for a violation."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(logging.ERROR)
        self._simulation = simulation

    def emit(self, record: logging.LogRecord) -> None:
        """Report an unexpected error as a violation."""
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            self._simulation.checks.breaks("error", f"{record.getMessage()}: {error!r}")


@contextmanager
def _logged(simulation: Simulation) -> Iterator[None]:
    logger = logging.getLogger("ringback")
    handler, level, above = _Heard(simulation), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = above
