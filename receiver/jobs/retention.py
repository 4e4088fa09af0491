"""The housekeeper: open jobs past their deadline expire, old ones are removed, both in small batches."""

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from receiver.domain.clock import Clock
from receiver.domain.errors import Contended, StoreUnavailable
from receiver.domain.model import Source
from receiver.domain.reports import Action, Command
from receiver.events.next_work import PAID_TRIES
from receiver.events.recorder import Recorder
from receiver.providers.accounts import POLL
from receiver.store import (
    Store,
    deliveries,
    endpoints,
    erasure,
    events,
    holds,
    jobs,
    lost_deliveries,
    partitions,
)
from receiver.store.statements import Transaction, moment, ms
from receiver.work.limits import HELD, ConcurrencyLimits
from receiver.work.periodic import run_periodically

Told = TypeVar("Told")

LOGGER = logging.getLogger("ringback.retention")
BATCH = 200
ORPHANS = 500
CANCELED = 200
"""How many deliveries of a removed endpoint one transaction looks at."""
LONGEST_REST = 0.25
"""Seconds between two pieces of a long removal."""
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


class Retention:
    """Expires, cancels and removes. Long work is done in pieces, with as long a rest after each."""

    def __init__(
        self,
        store: Store,
        recorder: Recorder,
        clock: Clock,
        keep: timedelta,
        limits: ConcurrencyLimits,
        decides: timedelta | None = None,
    ) -> None:
        self._store = store
        self._decides = decides
        self._recorder = recorder
        self._clock = clock
        self._keep = keep
        self._limits = limits
        self._orphans = ""
        self._looked_at: float | None = None
        self._stepped = self._decided = False
        self._removals = asyncio.Event()

    async def run(self) -> None:
        """Look every second for deadlines, holds and removed endpoints, every minute for old rows; until
        cancelled.
        """
        await asyncio.gather(
            run_periodically(self.expire, every=1.0, logger=LOGGER),
            run_periodically(self.look, every=1.0, logger=LOGGER),
            run_periodically(self._cancel_when_told, every=0.0, logger=LOGGER),
            run_periodically(self.sweep, every=SWEEP, logger=LOGGER),
        )

    async def look(self) -> None:
        """Leave alone all lanes that any replica holds, also from before our start, and note that there are
        removed endpoints."""
        now = self._clock.now()
        found, removed = await self._store.read(_held_and_removed(now))
        self._limits.replace_holds({name: (until - now).total_seconds() for name, until in found.items()})
        if removed:
            self._removals.set()

    async def _cancel_when_told(self) -> None:
        await self._removals.wait()
        self._removals.clear()
        await self.cancel_removed()

    async def cancel_removed(self) -> None:
        """Cancel the deliveries of removed endpoints; after a restart from the beginning."""
        for endpoint in await self._store.read(endpoints.removed()):
            place = deliveries.NEWEST
            while place:
                now = self._clock.now()
                place = await self._paced(
                    functools.partial(endpoints.cancel_removed, endpoint, place, CANCELED, now)
                )

    async def _paced(self, change: Callable[[], Transaction[Told]]) -> Told:
        """Write a change; three quarters of the time are left to others."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        told = await self._store.write(change)
        await asyncio.sleep(min(LONGEST_REST, 3 * (loop.time() - began)))
        return told

    async def decide(self) -> int:
        """Let the policy for lost answers decide about jobs that another policy held; how many."""
        if self._decides is None:
            return 0
        at, held = self._clock.now() + self._decides, 0
        while count := await self._store.write(lambda: jobs.undecided(at, PAID_TRIES, BATCH)):
            held += count
        return held

    async def expire(self) -> int:
        """Expire open jobs behind their deadline that no poll will end. Returns how many.

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
            expiry = Command(job_id=job_id, source=Source.NOTE, at=now, action=Action.EXPIRE, note="deadline")
            await self._recorder.record(expiry)
        return len(found)

    def _watch_clock(self) -> None:
        """Say once that the system's clock stepped, and once that the service has followed."""
        ahead = (self._clock.outside() - self._clock.now()).total_seconds()
        if abs(ahead) > STEP and not self._stepped:
            LOGGER.warning("the system's clock stepped by %.0f s; the service follows slowly", ahead)
        elif abs(ahead) <= STEP and self._stepped:
            LOGGER.warning("the service's time is the system's again")
        self._stepped = abs(ahead) > STEP

    async def begin(self) -> None:
        """Read the holds, and make a place for history, before anything is done."""
        await self.look()
        await self.prepare()

    async def prepare(self) -> None:
        """Have a place for the history that is about to be written; without one it lies with the rest."""
        if not self._store.in_parts:
            return
        now, width = self._clock.now(), max(1, self._keep.days // PARTS)
        parts = await self._store.read(partitions.parts())
        missing = list(partitions.gaps(parts, ms(now), ms(now + timedelta(days=width)), width))
        if missing:
            await self._altered(partitions.make(missing))

    async def sweep(self) -> int:
        """Remove what is older than the retention; how many jobs."""
        before = self._clock.now() - self._keep
        await self._take(before)
        removed = 0
        until = await self._drop(before)
        while found := await self._store.read(jobs.done_before(until, BATCH)):
            for group, heavy in await self._store.read(erasure.groups(found)):
                await self._remove(group, heavy=heavy)
                removed += len(group)
        await self._remove_events(before)
        self._orphans = await self._paced(lambda: erasure.prune_orphans(before, self._orphans, ORPHANS))
        await self._paced(lambda: _forget(before, self._clock.now()))
        return removed

    async def _remove(self, group: list[str], *, heavy: bool) -> None:
        """Remove jobs, one that is too heavy for one transaction in pieces."""
        while heavy:
            heavy, lost = await self._paced(
                lambda: _counting(erasure.lighten(group[0], None), self._clock.now())
            )
            _say(lost)
        _, lost = await self._paced(lambda: _counting(_erased(group), self._clock.now()))
        _say(lost)

    async def _remove_events(self, before: datetime) -> None:
        """Remove old events of no job, with the deliveries owed for them."""
        while found := await self._store.read(events.old(before, BATCH)):
            for event, many in found:
                for _ in range(0, many, erasure.OWED_AT_ONCE):
                    change = functools.partial(_unowed, event)
                    _, lost = await self._paced(lambda one=change: _counting(one(), self._clock.now()))  # type: ignore[misc]  # bound at once
                    _say(lost)
            await self._paced(functools.partial(events.remove, [event for event, _ in found]))

    async def _take(self, before: datetime) -> None:
        """Owe nothing any more that is older than the retention, and say who lost it."""
        while found := await self._store.read(lost_deliveries.outdated(before, BATCH)):
            now = self._clock.now()
            _say(await self._paced(lambda owed=found, at=now: lost_deliveries.lose(owed, OUTDATED, at)))  # type: ignore[misc]  # bound at once

    async def _drop(self, before: datetime) -> datetime:
        """Drop the parts of history in which all is older; jobs that ended before the moment told may go.

        A part waits for all its jobs; when that takes as long again as it is long, the others go one by one.
        """
        if not self._store.in_parts:
            return before
        await self.prepare()
        for part in await self._store.read(partitions.parts()):
            old = part.high <= ms(before) and not await self._store.read(partitions.busy(part, ms(before)))
            if old and await self._altered(partitions.drop(part)):
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


def _say(lost: Mapping[str, int]) -> None:
    for target, count in lost.items():
        LOGGER.warning("%s lost %d deliveries that it was owed: %s", target, count, OUTDATED)


def _counting(
    removal: Transaction[tuple[bool, Mapping[str, int]]], now: datetime
) -> Transaction[tuple[bool, Mapping[str, int]]]:
    more, lost = yield from removal
    yield from lost_deliveries.count(lost, OUTDATED, now)
    return more, lost


def _erased(ids: list[str]) -> Transaction[tuple[bool, Mapping[str, int]]]:
    return False, (yield from erasure.erase(ids, None))


def _unowed(event_id: str) -> Transaction[tuple[bool, Mapping[str, int]]]:
    return False, (yield from erasure.erase_some_of(event_id))


def _forget(before: datetime, now: datetime) -> Transaction[None]:
    yield from events.forget_places(before)
    yield from holds.forget(now)
    yield from endpoints.prune(before, BATCH)


def _held_and_removed(now: datetime) -> Transaction[tuple[Mapping[str, datetime], Sequence[str]]]:
    """Return the held lanes and the removed endpoints, read in one transaction: it runs every second."""
    found = yield from holds.held(now, HELD)
    return found, (yield from endpoints.removed())
