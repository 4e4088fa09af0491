"""Time and randomness as arguments: the service uses them instead of calling the system."""

import functools
import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from handlers.values import immutable

FOLLOW = 0.1
"""The seconds per second by which the service's time approaches the system's time after a step."""


def elapsed() -> float:
    """Return the seconds since the machine started, including the time for which it was suspended.

    On Linux, `time.monotonic` does not count that time: a machine that was suspended would still rely on its
    leases although other replicas had taken them over.
    """
    return time.clock_gettime(BOOT)


BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _milliseconds(seconds: float) -> datetime:
    """Return a moment in whole milliseconds, as it is stored and shown, so that storing never changes it."""
    # An event and its job then agree on each moment. Why: receiver/README.md#whole-milliseconds
    return _moment(int(seconds * 1000))


@functools.lru_cache(maxsize=16)
def _moment(milliseconds: int) -> datetime:
    """Return a moment. The cache helps under load, when the same millisecond is requested many times."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def system() -> datetime:
    """Return the system's time, in whole milliseconds."""
    return _milliseconds(time.time())


class Wall:
    """The time of the service: it follows the system's time and never steps.

    Due work, leases and retention are compared with it. When the system's time steps, the service's time
    continues and approaches it by `FOLLOW` seconds per second, running faster or slower: no lease, deadline
    or retention ends early by the size of a step, and no wait becomes longer by it. After a suspension there
    is no step to follow, because `elapsed` counts the suspended time. `ahead` is the difference by which the
    clock of a shared database is ahead of the system's clock.
    """

    def __init__(self, now: Callable[[], float] = time.time, passed: Callable[[], float] = elapsed) -> None:
        self._system = now
        self._passed = passed
        self.ahead = timedelta()
        self._mark = (passed(), now())

    def anchor(self) -> None:
        """Set the service's time to the system's time, even if that is a step."""
        self._mark = (self._passed(), self._target())

    def now(self) -> datetime:
        """Return the service's time, in whole milliseconds."""
        then, ours = self._mark
        mark = self._passed()
        went = mark - then if mark > then else 0.0
        ours += went
        gap = self._target() - ours
        # Small corrections never turn this time back. Why: receiver/README.md#no-clock-step-ends-anything
        most = FOLLOW * went
        ours += gap if -most <= gap <= most else most if gap > 0 else -most
        self._mark = (mark, ours)
        return _milliseconds(ours)

    def real(self) -> datetime:
        """Return the system's time, corrected to the clock of the shared database, in whole milliseconds."""
        return _milliseconds(self._target())

    def _target(self) -> float:
        return self._system() + self.ahead.total_seconds()


@immutable(kw_only=True)
class Clock:
    """The sources of time and randomness.

    `now` is the time of the service, which never steps. `monotonic` counts seconds, for intervals. `real` is
    the time that other systems have: signatures contain it, and their times are checked against it.
    """

    now: Callable[[], datetime] = system
    monotonic: Callable[[], float] = elapsed
    chance: Callable[[], float] = random.random
    entropy: Callable[[int], bytes] = os.urandom
    real: Callable[[], datetime] | None = None

    def outside(self) -> datetime:
        """Return the time that other systems have: `real` where it is set, else `now`."""
        return (self.real or self.now)()
