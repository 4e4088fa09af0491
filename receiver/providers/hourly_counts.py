"""Counts of the last hour by account: kept in memory for some seconds, then added to those of all replicas.

The counts of each minute are logged: one line for every account, and one for the deliveries.
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
"""The number of minutes for which counts are kept."""
FLUSH = 5.0
"""Seconds between two writes of the counts; until then only this process knows them."""


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

    def count(self, account: str, name: str) -> None:
        """Count one event of an account, in the minute of the next flush."""
        self._fresh[account, name] += 1

    async def run(self) -> None:
        """Store the counts every few seconds, until cancelled."""
        await run_periodically(self.flush, every=FLUSH, logger=LOGGER)

    async def flush(self) -> None:
        """Add the fresh counts to the stored ones; without a store they are kept for the next flush."""
        oldest = self._date() - MINUTES + 1
        counts = Counter({key: count for key, count in self._kept.items() if key[1] >= oldest})
        # Emptied before the write: counts that are dated while it runs belong to the next flush.
        self._kept = Counter()
        if not counts:
            return
        try:
            await self._store.write(lambda: account_counts.add(counts, oldest))
        except StoreUnavailable:
            self._kept.update(counts)
            raise

    async def totals(self) -> dict[str, Counter[str]]:
        """Return the counts of the last hour by account; those of other processes may be some seconds old."""
        oldest = self._date() - MINUTES + 1
        found = await self._store.read(account_counts.totals(oldest))
        self._date()
        for (account, minute, name), count in self._kept.items():
            if minute >= oldest:
                found.setdefault(account, Counter())[name] += count
        return found

    def _date(self) -> int:
        """Move the fresh counts to the current minute. Returns the minute."""
        minute = int(self._clock.now().timestamp()) // 60
        if minute != self._minute:
            self._minute = minute
            self._tell()
        # Here and not in `count`, which runs for every call and reads no clock.
        fresh, self._fresh = self._fresh, Counter()
        for (account, name), count in fresh.items():
            self._kept[account, minute, name] += count
        self._of_minute.update(fresh)
        return minute

    def _tell(self) -> None:
        """Log the counts of the minute that is over, if there are any."""
        for account in sorted({account for account, _ in self._of_minute}):
            counts = {name: count for (of, name), count in self._of_minute.items() if of == account}
            LOGGER.info("one minute of account %s: %s", account, _listed(counts), extra={"account": account})
        if self._attempts:
            LOGGER.info("one minute of deliveries: %s", _listed(self._attempts))
        self._of_minute.clear()
        self._attempts.clear()


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
