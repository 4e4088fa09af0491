"""The shutdown of the process: one grace that everything which stops shares."""

import math
from collections.abc import Callable


class Shutdown:
    """Whether the process is stopping, and the seconds that are left of its grace."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._ends = math.inf
        self.begun = False

    @property
    def time_left(self) -> float:
        """Return the seconds that are left of the grace."""
        return max(0.0, self._ends - self._monotonic())

    def hurry(self, seconds: float) -> None:
        """Begin to stop, and end within so many seconds where an earlier end is not set already."""
        self.begun = True
        self._ends = min(self._ends, self._monotonic() + seconds)
