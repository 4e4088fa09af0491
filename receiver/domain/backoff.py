"""Backoff for submissions to an account that is throttled, unreachable or failing.

Pauses grow with each trouble, one call at a time is under way after a pause, and every success shortens the
next pause by one step. Pure: time is an argument.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from handlers.values import immutable

LONGEST_HINT = timedelta(hours=1)
"""The longest pause that a provider may request: a wrong `Retry-After` must not stop its calls for days."""


@immutable
class Ladder:
    """Pauses in seconds after one kind of trouble, beginning with the `after`-th trouble in a row."""

    after: int
    steps: Sequence[float]


THROTTLED = Ladder(1, (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0))
UNREACHABLE = Ladder(3, (1.0, 2.0, 4.0, 8.0, 16.0, 30.0))
LOST = Ladder(3, (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0))
"""The longest pauses: each lost answer leaves a job unconfirmed, so a failing provider must not receive the
whole queue.
"""


@dataclass(slots=True)
class Pace:
    """The pace of one account.

    `in_a_row` counts troubles since the last success. `steps` counts pauses minus later successes. `until` is
    the end of the current pause.
    """

    in_a_row: int = 0
    steps: int = 0
    until: float = 0.0

    @property
    def narrow(self) -> bool:
        """Return whether only one call may be under way."""
        return self.steps > 0

    def troubled(self, ladder: Ladder, retry_after: float | None, now: float) -> float:
        """Count one more trouble. Returns the seconds to pause, 0 for no pause.

        Calls that were under way together count as one trouble. `retry_after` is the pause in seconds that
        the provider requests.
        """
        # A trouble during a pause comes from a call that was under way before the pause: it takes no further
        # step, but a longer pause that the provider requests is kept.
        if now < self.until:
            self.until = max(self.until, now + (retry_after or 0.0))
            return self.until - now
        self.in_a_row += 1
        if retry_after is None and self.in_a_row < ladder.after:
            return 0.0
        pause = ladder.steps[min(self.steps, len(ladder.steps) - 1)]
        self.steps = min(self.steps + 1, len(ladder.steps))
        pause = max(pause, retry_after or 0.0)
        self.until = now + pause
        return pause

    def worked(self, now: float) -> bool:
        """Count a success. Returns whether more than one call may be under way again.

        A success during a pause takes no step back: its call was under way before the pause.
        """
        was, self.in_a_row = self.narrow, 0
        if now < self.until:
            return False
        self.steps = max(0, self.steps - 1)
        return was and not self.narrow
