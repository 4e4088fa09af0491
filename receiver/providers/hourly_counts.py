"""Counts of the last hour by account: kept in memory for some seconds, then with those of all replicas.

The log tells those of each minute: a line for every account, and one for the deliveries.
"""

import logging
from collections import Counter
from collections.abc import Mapping

from receiver.domain.clock import Clock
from receiver.domain.errors import StoreUnavailable
from receiver.store import Store, account_counts
from receiver.work.periodic import run_periodically

LOGGER = logging.getLogger("ringback.tally")
MINUTES = 60
FLUSH = 5.0
"""Seconds that a count is known to this process only."""


class HourlyCounts:
    """Counts of the calls and events of accounts, and of the attempts to deliver."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._fresh: Counter[tuple[str, str]] = Counter()
        self._kept: Counter[tuple[str, int, str]] = Counter()
        self._minute = 0
        self._of_minute: Counter[tuple[str, str]] = Counter()
        self._attempts: Counter[str] = Counter()

    def attempted(self, outcome: str) -> None:
        """Count one attempt to deliver, for the log only."""
        self._attempts[outcome] += 1

    def count(self, account: str, what: str) -> None:
        """Count one; it is of the minute of the next flush."""
        self._fresh[account, what] += 1

    async def run(self) -> None:
        """Pass the counts on every few seconds, until cancelled."""
        await run_periodically(self.flush, every=FLUSH, logger=LOGGER)

    async def flush(self) -> None:
        """Add the fresh counts to those of all; without a store they are kept for the next time."""
        oldest = self._date() - MINUTES + 1
        taken = Counter({key: count for key, count in self._kept.items() if key[1] >= oldest})
        self._kept = Counter()
        if not taken:
            return
        try:
            await self._store.write(lambda: account_counts.add(taken, oldest))
        except StoreUnavailable:
            self._kept.update(taken)
            raise

    async def totals(self) -> dict[str, Counter[str]]:
        """Return the counts of the last hour by account, those of other processes some seconds old."""
        oldest = self._date() - MINUTES + 1
        told = await self._store.read(account_counts.totals(oldest))
        self._date()
        for (account, minute, what), count in self._kept.items():
            if minute >= oldest:
                told.setdefault(account, Counter())[what] += count
        return told

    def _date(self) -> int:
        """Move the fresh counts to the present minute. Returns the minute; `count` itself reads no clock."""
        minute = int(self._clock.now().timestamp()) // 60
        if minute != self._minute:
            self._minute = minute
            self._tell()
        fresh, self._fresh = self._fresh, Counter()
        for (account, what), count in fresh.items():
            self._kept[account, minute, what] += count
        self._of_minute.update(fresh)
        return minute

    def _tell(self) -> None:
        """Log the counts of the minute that is over, where there are any."""
        for account in sorted({account for account, _ in self._of_minute}):
            counts = {what: count for (of, what), count in self._of_minute.items() if of == account}
            LOGGER.info("one minute of account %s: %s", account, _listed(counts), extra={"account": account})
        if self._attempts:
            LOGGER.info("one minute of deliveries: %s", _listed(self._attempts))
        self._of_minute.clear()
        self._attempts.clear()


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
