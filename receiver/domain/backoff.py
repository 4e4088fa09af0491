"""How fast submissions may go to an account that is throttled, away or failing: pauses that grow, one call at
a time behind each, and room that comes back with every success. Pure: time is an argument.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from handlers.values import immutable

LONGEST_HINT = timedelta(hours=1)
"""The longest pause that a provider may ask for."""


@immutable
class Ladder:
    """Pauses in seconds after one kind of trouble, from the `after`-th in a row on."""

    after: int
    steps: Sequence[float]


THROTTLED = Ladder(1, (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0))
UNREACHABLE = Ladder(3, (1.0, 2.0, 4.0, 8.0, 16.0, 30.0))
LOST = Ladder(3, (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0))
"""Each lost answer leaves a job unconfirmed, so a failing provider must not be given the whole queue."""


@dataclass(slots=True)
class Pace:
    """The pace of one account. `steps` counts pauses that no success has paid back yet."""

    in_a_row: int = 0
    steps: int = 0
    until: float = 0.0

    @property
    def narrow(self) -> bool:
        """Whether only one call may be under way."""
        return self.steps > 0

    def troubled(self, ladder: Ladder, asked: float | None, now: float) -> float:
        """Count one more trouble; returns the seconds to pause, 0 for none.

        Calls that were under way together count as one. `asked` is the provider's own wish.
        """
        if now < self.until:
            self.until = max(self.until, now + (asked or 0.0))
            return self.until - now
        self.in_a_row += 1
        if asked is None and self.in_a_row < ladder.after:
            return 0.0
        pause = ladder.steps[min(self.steps, len(ladder.steps) - 1)]
        self.steps = min(self.steps + 1, len(ladder.steps))
        pause = max(pause, asked or 0.0)
        self.until = now + pause
        return pause

    def worked(self, now: float) -> bool:
        """Count a success. Returns whether it opened a narrow account. In a pause it was under way before."""
        was, self.in_a_row = self.narrow, 0
        if now < self.until:
            return False
        self.steps = max(0, self.steps - 1)
        return was and not self.narrow
