"""The housekeeper: open jobs past their deadline expire, old ones are removed, both in small batches."""

import asyncio
import logging
from datetime import datetime, timedelta
from typing import TypeVar

from receiver.accounts import POLL
from receiver.agenda import PAID_TRIES
from receiver.clock import Clock
from receiver.errors import Contended, StoreUnavailable
from receiver.model import Source, Verdict, Word
from receiver.recording import Recording
from receiver.steadily import steadily
from receiver.store import Store, deliveries, events, history, jobs
from receiver.store.statements import Transaction, moment, ms

Told = TypeVar("Told")

LOGGER = logging.getLogger("ringback.retention")
BATCH = 200
ORPHANS = 2_000
SWEEP = 60.0
PARTS = 4
"""In how many parts history lies, where it lies in parts; each is kept until all of it is old."""
OUTDATED = "older than retention_days"
PAUSED = 3.0
"""Seconds between two looks for deadlines, one a second, that tell that the process was stopped."""
STEP = 5.0
"""Seconds between the service's time and the system's that are worth a line in the log."""
LAST_POLL = timedelta(seconds=POLL.timeout + 10)
"""How long past its deadline a job may wait for the last poll that should have ended it."""


class Housekeeper:
    """Expires and removes."""

    def __init__(
        self,
        store: Store,
        recording: Recording,
        clock: Clock,
        keep: timedelta,
        decides: timedelta | None = None,
    ) -> None:
        self._store = store
        self._decides = decides
        self._recording = recording
        self._clock = clock
        self._keep = keep
        self._orphans = ""
        self._looked_at: float | None = None
        self._stepped = self._decided = False

    async def run(self) -> None:
        """Look every second for deadlines, every minute for what is old; until cancelled."""
        await asyncio.gather(
            steadily(self.expire, every=1.0, logger=LOGGER), steadily(self.sweep, every=SWEEP, logger=LOGGER)
        )

    async def decide(self) -> int:
        """Let the policy for lost answers decide about jobs that another policy held; how many."""
        if self._decides is None:
            return 0
        at, held = self._clock.now() + self._decides, 0
        while count := await self._store.write(lambda: jobs.undecided(at, PAID_TRIES, BATCH)):
            held += count
        return held

    async def expire(self) -> int:
        """Expire open jobs whose deadline passed and that no poll will end; how many.

        After a pause of the process it waits for one more look: callbacks that came in time wait to be read.
        """
        self._watch_clock()
        at, before = asyncio.get_running_loop().time(), self._looked_at
        self._looked_at = at
        if before is not None and at - before > PAUSED:
            return 0
        if not self._decided:
            await self.decide()
            self._decided = True
        now = self._clock.now()
        found = await self._store.read(jobs.overdue(now, now - LAST_POLL, BATCH))
        for job_id in found:
            word = Word(job_id=job_id, source=Source.NOTE, at=now, verdict=Verdict.EXPIRE, note="deadline")
            await self._recording.record(word)
        return len(found)

    def _watch_clock(self) -> None:
        """Say once that the system's clock stepped, and once that the service has followed."""
        ahead = (self._clock.outside() - self._clock.now()).total_seconds()
        if abs(ahead) > STEP and not self._stepped:
            LOGGER.warning("the system's clock stepped by %.0f s; the service follows slowly", ahead)
        elif abs(ahead) <= STEP and self._stepped:
            LOGGER.warning("the service's time is the system's again")
        self._stepped = abs(ahead) > STEP

    async def prepare(self) -> None:
        """Have a place for the history that is about to be written; without one it lies with the rest."""
        if not self._store.in_parts:
            return
        now, width = self._clock.now(), max(1, self._keep.days // PARTS)
        parts = await self._store.read(history.parts())
        missing = list(history.gaps(parts, ms(now), ms(now + timedelta(days=width)), width))
        if missing:
            await self._altered(history.make(missing))

    async def sweep(self) -> int:
        """Remove what is older than the retention; how many jobs."""
        before = self._clock.now() - self._keep
        await self._take(before)
        removed = 0
        until = await self._drop(before)
        while found := await self._store.read(jobs.done_before(until, BATCH)):
            await self._store.write(lambda ids=found: _remove(ids))  # type: ignore[misc]  # bound at once
            removed += len(found)
        while await self._store.write(lambda: events.prune(before, BATCH)):
            pass
        self._orphans = await self._store.write(lambda: jobs.prune_orphans(before, self._orphans, ORPHANS))
        return removed

    async def _take(self, before: datetime) -> None:
        """Owe nothing any more that is older than the retention, and say who lost it."""
        while found := await self._store.read(deliveries.outdated(before, BATCH)):
            now = self._clock.now()
            lost = await self._store.write(lambda owed=found, at=now: deliveries.take(owed, OUTDATED, at))  # type: ignore[misc]  # bound at once
            for target, count in lost.items():
                LOGGER.warning("%s lost %d deliveries that it was owed: %s", target, count, OUTDATED)

    async def _drop(self, before: datetime) -> datetime:
        """Drop the parts of history in which all is older; jobs that ended before the moment told may go.

        A part waits for all its jobs; when that takes as long again as it is long, the others go one by one.
        """
        if not self._store.in_parts:
            return before
        await self.prepare()
        for part in await self._store.read(history.parts()):
            old = part.high <= ms(before) and not await self._store.read(history.busy(part, ms(before)))
            if old and await self._altered(history.drop(part)):
                continue
            if not part.overdue(ms(before)):
                return min(before, moment(part.low))
        return before

    async def _altered(self, change: Transaction[Told]) -> Told | None:
        """What a change of tables tells; None when others make no room: the next sweep tries again."""
        try:
            return await self._store.alone(change)
        except (StoreUnavailable, Contended) as error:
            LOGGER.info("history is left as it is for now: %s", error)
            return None


def _remove(ids: list[str]) -> Transaction[None]:
    yield from events.note_removed(ids)
    yield from jobs.erase(ids)
