"""Time and chance as arguments: what the service asks instead of the system."""

import functools
import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from handlers.values import immutable

FOLLOW = 0.1
"""How fast the service's time follows the system's after a step: so many seconds in one."""


def elapsed() -> float:
    """Return seconds since the machine started, those included in which it was suspended.

    `time.monotonic` stands still meanwhile on Linux: a machine that was suspended would take what it held
    for its own although others took it over.
    """
    return time.clock_gettime(BOOT)


BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _milliseconds(seconds: float) -> datetime:
    """Whole milliseconds: what is stored and shown, so that a moment never changes on its way."""
    return _moment(int(seconds * 1000))


@functools.lru_cache(maxsize=16)
def _moment(milliseconds: int) -> datetime:
    """Return a moment; under load it is asked for many times within its millisecond."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def system() -> datetime:
    """Return the system's time, in whole milliseconds."""
    return _milliseconds(time.time())


class Wall:
    """The time of the service: it goes with the system's time and never steps.

    What is due, leased and kept is compared with it. When the system's time steps, the service's goes on and
    follows by `FOLLOW` seconds a second, forward or slower: no lease, deadline or retention ends by a step,
    and nothing waits longer for one. A machine that was suspended is where the system is. `ahead` is how far
    the time of a database that several processes share is ahead of the system's.
    """

    def __init__(self, now: Callable[[], float] = time.time, passed: Callable[[], float] = elapsed) -> None:
        self._system = now
        self._passed = passed
        self.ahead = timedelta()
        self._mark = (passed(), now())

    def anchor(self) -> None:
        """Go with the system from now on, wherever it is."""
        self._mark = (self._passed(), self._target())

    def now(self) -> datetime:
        """Return the moment, in whole milliseconds."""
        then, ours = self._mark
        mark = self._passed()
        went = mark - then if mark > then else 0.0
        ours += went
        gap = self._target() - ours
        most = FOLLOW * went
        ours += gap if -most <= gap <= most else most if gap > 0 else -most
        self._mark = (mark, ours)
        return _milliseconds(ours)

    def real(self) -> datetime:
        """Return the system's time, as the shared database has it."""
        return _milliseconds(self._target())

    def _target(self) -> float:
        return self._system() + self.ahead.total_seconds()


@immutable
class Clock:
    """`now` is the time of the service, which never steps; `monotonic` counts seconds, for intervals.

    `real` is the time that others have: signatures carry it, and what is signed is held against it.
    """

    now: Callable[[], datetime] = system
    monotonic: Callable[[], float] = elapsed
    chance: Callable[[], float] = random.random
    entropy: Callable[[int], bytes] = os.urandom
    real: Callable[[], datetime] | None = None

    def outside(self) -> datetime:
        """Return the time that others have."""
        return (self.real or self.now)()
