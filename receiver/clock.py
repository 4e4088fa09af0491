"""Time and chance as arguments: what the service asks instead of the system."""

import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from handlers.values import immutable


def _now() -> datetime:
    """Whole milliseconds: what is stored and shown, so that a moment never changes on its way."""
    return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1000, UTC)


class Wall:
    """The wall's time, as a database has it that several processes share: ours, moved by how far its own is
    `ahead`."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        """The moment, in whole milliseconds."""
        return _now() + self.ahead


@immutable
class Clock:
    """`now` is the wall's time, for people and the store; `monotonic` counts seconds, for intervals."""

    now: Callable[[], datetime] = _now
    monotonic: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    entropy: Callable[[int], bytes] = os.urandom
