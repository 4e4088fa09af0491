"""Counts of the last hour by account: kept in memory for some seconds, then with those of all replicas."""

import logging
from collections import Counter

from receiver.clock import Clock
from receiver.errors import StoreUnavailable
from receiver.steadily import steadily
from receiver.store import Store, tallies

LOGGER = logging.getLogger("ringback.tally")
MINUTES = 60
FLUSH = 5.0
"""Seconds that a count is known to this process only."""


class Tally:
    """Counts the calls and events of accounts."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._fresh: Counter[tuple[str, str]] = Counter()
        self._kept: Counter[tuple[str, int, str]] = Counter()

    def count(self, account: str, what: str) -> None:
        """Count one; it is of the minute of the next flush."""
        self._fresh[account, what] += 1

    async def run(self) -> None:
        """Pass the counts on every few seconds, until cancelled."""
        await steadily(self.flush, every=FLUSH, logger=LOGGER)

    async def flush(self) -> None:
        """Add the fresh counts to those of all; without a store they are kept for the next time."""
        oldest = self._date() - MINUTES + 1
        taken = Counter({key: count for key, count in self._kept.items() if key[1] >= oldest})
        self._kept = Counter()
        if not taken:
            return
        try:
            await self._store.write(lambda: tallies.add(taken, oldest))
        except StoreUnavailable:
            self._kept.update(taken)
            raise

    async def totals(self) -> dict[str, Counter[str]]:
        """Return the counts of the last hour by account, those of other processes some seconds old."""
        oldest = self._date() - MINUTES + 1
        told = await self._store.read(tallies.totals(oldest))
        self._date()
        for (account, minute, what), count in self._kept.items():
            if minute >= oldest:
                told.setdefault(account, Counter())[what] += count
        return told

    def _date(self) -> int:
        """Move the fresh counts to the present minute. Returns the minute; `count` itself reads no clock."""
        minute = int(self._clock.now().timestamp()) // 60
        fresh, self._fresh = self._fresh, Counter()
        for (account, what), count in fresh.items():
            self._kept[account, minute, what] += count
        return minute
