"""Retention: expires open jobs past their deadline and removes old ones, both in small batches."""

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
from receiver.metrics import Metrics
from receiver.providers.accounts import POLL
from receiver.store import (
    Store,
    deliveries,
    endpoint_versions,
    endpoints,
    erasure,
    events,
    holds,
    jobs,
    lost_deliveries,
    partitions,
    rollups,
    source_messages,
)
from receiver.store.statements import Transaction, moment, ms
from receiver.work.limits import HELD, ConcurrencyLimits
from receiver.work.periodic import run_periodically

Told = TypeVar("Told")

LOGGER = logging.getLogger("ringback.retention")
BATCH = 200
"""The maximum number of rows that one query finds, and one transaction then expires, cancels or removes."""
ORPHANS = 500
"""The maximum number of jobs that one sweep examines for leftover evidence."""
CANCELED = 200
"""The maximum number of deliveries of a removed endpoint that one transaction examines."""
LONGEST_REST = 0.25
"""The longest pause in seconds between two pieces of a long removal."""
INTERVALS = 10
"""The intervals of statistics of each width that one transaction removes."""
FOLD = 1.0
"""Seconds between two foldings of the statistics."""
SWEEP = 60.0
"""Seconds between two sweeps."""
PARTS = 4
"""The number of partitions over which the retention stretches; each is kept until all of it is old."""
OUTDATED = "older than retention_days"
"""The reason that is stored and logged for pending deliveries that retention cancels or removes."""
PAUSED = 3.0
"""Seconds between two looks for deadlines, normally one, above which the process was stopped meanwhile."""
STEP = 5.0
"""Seconds between the service's time and the system's above which the difference is logged."""
LAST_POLL = timedelta(seconds=POLL.timeout + 10)
"""The time past its deadline for which a job may wait for its last poll, which should end it."""


class Retention:
    """A housekeeper that expires, cancels and removes.

    Long work is done in pieces, with a pause after each: three times as long, at most `LONGEST_REST`.
    """

    def __init__(
        self,
        store: Store,
        recorder: Recorder,
        clock: Clock,
        keep: timedelta,
        limits: ConcurrencyLimits,
        metrics: Metrics,
        decides: timedelta | None = None,
    ) -> None:
        self._store = store
        self._decides = decides
        self._recorder = recorder
        self._clock = clock
        self._keep = keep
        self._limits = limits
        self._metrics = metrics
        self._orphans = ""
        self._looked_at: float | None = None
        self._stepped = self._decided = False
        self._removals = asyncio.Event()

    async def run(self) -> None:
        """Look every second for deadlines, holds and removed endpoints, and every minute for old rows.

        It runs until cancelled.
        """
        await asyncio.gather(
            run_periodically(self.expire, every=1.0, logger=LOGGER),
            run_periodically(self.look, every=1.0, logger=LOGGER),
            run_periodically(self.fold, every=FOLD, logger=LOGGER),
            run_periodically(self._cancel_when_told, every=0.0, logger=LOGGER),
            run_periodically(self.sweep, every=SWEEP, logger=LOGGER),
        )

    async def look(self) -> None:
        """Apply the holds of all replicas, also from before this start, and note removed endpoints."""
        now = self._clock.now()
        found, removed = await self._store.read(_held_and_removed(now))
        self._limits.replace_holds({name: (until - now).total_seconds() for name, until in found.items()})
        if removed:
            self._removals.set()

    async def fold(self) -> None:
        """Add the fresh counts of the statistics to their intervals."""
        folded = rollups.AT_ONCE
        while folded >= rollups.AT_ONCE:
            read = await self._unfolded()
            folded = await self._paced(functools.partial(rollups.fold, read)) if read.ids else 0

    async def _unfolded(self) -> rollups.Unfolded:
        """Read the first changes of the statistics, at most `AT_ONCE`. Returns them with their sums."""
        read, more = rollups.Unfolded(), True
        while more and len(read.ids) < rollups.AT_ONCE:
            changes = await self._store.read(rollups.unfolded(read.last))
            read.add(changes)
            more = len(changes) == rollups.LOOK
        return read

    async def _cancel_when_told(self) -> None:
        await self._removals.wait()
        self._removals.clear()
        await self.cancel_removed()

    async def cancel_removed(self) -> None:
        """Cancel the deliveries of removed endpoints; a restart begins with the newest again."""
        for endpoint in await self._store.read(endpoints.removed()):
            place = deliveries.NEWEST
            while place:
                now = self._clock.now()
                place = await self._paced(
                    functools.partial(endpoints.cancel_removed, endpoint, place, CANCELED, now)
                )

    async def _paced(self, change: Callable[[], Transaction[Told]]) -> Told:
        """Write a change, and then pause. Returns its result."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        result = await self._store.write(change)
        # Three quarters are left to others. Why: receiver/README.md#long-removals-go-in-pieces
        await asyncio.sleep(min(LONGEST_REST, 3 * (loop.time() - began)))
        return result

    async def decide(self) -> int:
        """Make the policy for lost answers due for jobs that another policy held. Returns their number."""
        if self._decides is None:
            return 0
        at, held = self._clock.now() + self._decides, 0
        while count := await self._store.write(lambda: jobs.undecided(at, PAID_TRIES, BATCH)):
            held += count
        return held

    async def expire(self) -> int:
        """Expire open jobs past their deadline that no poll will end. Returns their number.

        After a pause of the process it waits for one more look: callbacks that came in time wait to be read.
        """
        self._watch_clock()
        at, before = asyncio.get_running_loop().time(), self._looked_at
        self._looked_at = at
        if before is not None and at - before > PAUSED:
            return 0
        # Once for each start, because only a restart changes the policy; after a failure again.
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
        """Log once that the system's clock stepped, and once that the service's time has caught up."""
        ahead = (self._clock.outside() - self._clock.now()).total_seconds()
        if abs(ahead) > STEP and not self._stepped:
            LOGGER.warning("the system's clock stepped by %.0f s; the service follows slowly", ahead)
        elif abs(ahead) <= STEP and self._stepped:
            LOGGER.warning("the service's time has caught up with the system's clock")
        self._stepped = abs(ahead) > STEP

    async def begin(self) -> None:
        """Read the holds and create the next partition, before any work starts."""
        await self.look()
        await self.prepare()

    async def prepare(self) -> None:
        """Create the partition for the history of the next days. Without one, rows go to the default one."""
        if not self._store.in_parts:
            return
        now, width = self._clock.now(), max(1, self._keep.days // PARTS)
        parts = await self._store.read(partitions.parts())
        missing = list(partitions.gaps(parts, ms(now), ms(now + timedelta(days=width)), width))
        if missing:
            await self._altered(partitions.make(missing))

    async def sweep(self) -> int:
        """Remove jobs, events and deliveries older than the retention. Returns the number of jobs."""
        before = self._clock.now() - self._keep
        # First, because a partition with pending deliveries cannot be dropped.
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
        while await self._paced(lambda: source_messages.forget(before, BATCH)) == BATCH:
            pass
        while await self._paced(lambda: rollups.forget(self._clock.now(), INTERVALS)):
            pass
        return removed

    async def _remove(self, group: list[str], *, heavy: bool) -> None:
        """Remove jobs; one that is too heavy for one transaction goes in pieces."""
        while heavy:
            heavy, lost = await self._paced(
                lambda: _counting(erasure.lighten(group[0], None), self._clock.now())
            )
            self._say(lost)
        # As a function: a transaction that runs again after a conflict needs a new generator.
        _, lost = await self._paced(lambda: _counting(_erased(group), self._clock.now()))
        self._say(lost)

    async def _remove_events(self, before: datetime) -> None:
        """Remove old events of no job, with their pending deliveries."""
        while found := await self._store.read(events.old(before, BATCH)):
            for event, many in found:
                for _ in range(0, many, erasure.OWED_AT_ONCE):
                    change = functools.partial(_unowed, event)
                    _, lost = await self._paced(
                        # As a default, `change` is bound now; the lambda would read it only when it runs.
                        lambda one=change: _counting(one(), self._clock.now())  # type: ignore[misc]  # bound
                    )
                    self._say(lost)
            await self._paced(functools.partial(events.remove, [event for event, _ in found]))

    async def _take(self, before: datetime) -> None:
        """Cancel the pending deliveries older than the retention, and log the targets that lost them."""
        while found := await self._store.read(lost_deliveries.outdated(before, BATCH)):
            now = self._clock.now()
            self._say(
                await self._paced(
                    # Bound as defaults, as in `_remove_events`.
                    lambda owed=found, at=now: lost_deliveries.lose(  # type: ignore[misc]  # bound at once
                        owed, OUTDATED, at
                    )
                )
            )

    async def _drop(self, before: datetime) -> datetime:
        """Drop the partitions in which all is old. Jobs that ended before the returned time may go too.

        A partition waits for all its jobs; when that takes as long again as the partition is long, the others
        go one by one.
        """
        if not self._store.in_parts:
            return before
        await self.prepare()
        for part in await self._store.read(partitions.parts()):
            old = part.high <= ms(before) and not await self._store.read(partitions.busy(part, ms(before)))
            if old and await self._altered(partitions.drop(part)):
                continue
            # The history of later jobs goes with their partitions, without deletes row by row.
            if not part.overdue(ms(before)):
                return min(before, moment(part.low))
        return before

    def _say(self, lost: Mapping[str, int]) -> None:
        for target, count in lost.items():
            self._metrics.count("ringback_retention_lost", by=count)
            LOGGER.warning(
                "target %s lost %d deliveries that were still pending: they are %s", target, count, OUTDATED
            )

    async def _altered(self, change: Transaction[Told]) -> Told | None:
        """Change tables. Returns the result, None where that fails for now: the next sweep tries again."""
        try:
            return await self._store.alone(change)
        except (StoreUnavailable, Contended) as error:
            LOGGER.info("the partitions of history stay as they are until the next sweep: %s", error)
            return None


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
    yield from endpoint_versions.prune(BATCH)


def _held_and_removed(now: datetime) -> Transaction[tuple[Mapping[str, datetime], Sequence[str]]]:
    """Return the held lanes and the removed endpoints, read in one transaction: it runs every second."""
    found = yield from holds.held(now, HELD)
    return found, (yield from endpoints.removed())
