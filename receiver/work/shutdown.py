"""The shutdown of the process: one grace period for everything that stops."""

import math
from collections.abc import Callable


class Shutdown:
    """The state of the shutdown: whether the process is stopping, and the rest of its grace period."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._ends = math.inf
        self.begun = False

    @property
    def time_left(self) -> float:
        """Return the seconds left of the grace period, infinity where no end is set."""
        return max(0.0, self._ends - self._monotonic())

    def hurry(self, seconds: float) -> None:
        """Begin the shutdown. It ends in `seconds`, or earlier where an earlier end is already set."""
        self.begun = True
        self._ends = min(self._ends, self._monotonic() + seconds)
