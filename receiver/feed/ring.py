"""The latest events of the feed, rendered once for all readers. Bounded in number, size and age."""

import bisect
from collections.abc import Sequence

from handlers.values import immutable

COUNT = 10_000
"""Most events in the ring."""
BYTES = 16 << 20
"""Most bytes of their frames."""
AGE = 30.0
"""Seconds that an event stays: an event that was erased is sent no longer than that."""


@immutable(kw_only=True)
class Entry:
    """An event in the ring: its position, type and job, and its frame."""

    seq: int
    type: str
    job_id: str | None
    frame: bytes


class Ring:
    """The events of the feed from the position `since` on, as far as they are known.

    The moments `now` come from a monotonic clock, in seconds.
    """

    def __init__(self, since: int) -> None:
        self.since = self.last = since
        self._entries: list[Entry] = []
        self._seqs: list[int] = []
        self._arrived: list[float] = []
        self._bytes = 0

    def append(self, entries: Sequence[Entry], now: float) -> None:
        """Add the next events, and drop the oldest ones above the bounds."""
        for entry in entries:
            self._entries.append(entry)
            self._seqs.append(entry.seq)
            self._arrived.append(now)
            self._bytes += len(entry.frame)
            self.last = entry.seq
        self.trim(now)

    def trim(self, now: float) -> None:
        """Drop events that are too old, too many or too large in all."""
        drop = max(bisect.bisect_left(self._arrived, now - AGE), len(self._entries) - COUNT)
        freed = sum(len(entry.frame) for entry in self._entries[:drop])
        while drop < len(self._entries) and self._bytes - freed > BYTES:
            freed += len(self._entries[drop].frame)
            drop += 1
        if drop:
            self.since = self._seqs[drop - 1]
            self._bytes -= freed
            del self._entries[:drop], self._seqs[:drop], self._arrived[:drop]

    def covers(self, place: int) -> bool:
        """Return whether every event after `place` that is known is still in the ring.

        A place behind the last event may be one that the feed never had: the store knows.
        """
        return self.since <= place <= self.last

    def after(self, place: int) -> Sequence[Entry]:
        """Return the events after `place`."""
        return self._entries[bisect.bisect_right(self._seqs, place) :]
