"""Claim, perform, settle: one loop for every kind of due work, none of which it knows by name."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from receiver.domain.clock import Clock
from receiver.domain.errors import StoreUnavailable
from receiver.domain.model import Claim, Work
from receiver.store import Store
from receiver.store.due import Claimed, ClaimRequest, claim
from receiver.store.statements import Transaction
from receiver.work.dispatcher import Dispatcher, Prepared
from receiver.work.limits import ConcurrencyLimits
from receiver.work.wakeup import Wakeup

Item = TypeVar("Item", bound=Prepared)

LOGGER = logging.getLogger("ringback.worker")
AFTER_TROUBLE = 1.0
AT_LAST = 0.4
"""Seconds for tasks that were told to end, or are within a commit, when the grace is over."""


class Performer(Protocol[Item]):
    """Who does one kind of work."""

    @property
    def work(self) -> Work:
        """Which kind."""

    @property
    def lease(self) -> timedelta:
        """How long performing one may take."""

    def serves(self, lane: str) -> bool:
        """Whether anything of this lane may start now, if there is room."""

    def job_limits(self) -> Mapping[str, int]:
        """How many jobs of a lane may run at the provider at once."""

    def prepare(self, claims: Sequence[Claim]) -> Transaction[Sequence[Item]]:
        """Inside the claiming transaction: what performing each claim needs."""

    def give_back(self, prepared: Sequence[Item], now: datetime) -> Transaction[None]:
        """Leave what was claimed and prepared to others, as if it never had been."""

    async def perform(self, prepared: Item) -> None:
        """Do it and record what came of it."""


class LeaseOwner(Protocol):
    """Whose leases they are; while it is not `live`, nothing is started under them."""

    name: str

    @property
    def live(self) -> bool:
        """Whether what it holds is still its own."""


class Worker(Generic[Item]):
    """Performs one kind of due work until it is stopped."""

    def __init__(
        self,
        performer: Performer[Item],
        dispatcher: Dispatcher,
        limits: ConcurrencyLimits,
        store: Store,
        clock: Clock,
        holder: LeaseOwner,
    ) -> None:
        self.work = performer.work
        self._holder = holder
        self._dispatcher = dispatcher
        self._performer = performer
        self._limits = limits
        self._store = store
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self.alarm = Wakeup()
        self._under_way: dict[asyncio.Task[None], str] = {}
        self._prepared: Sequence[Item] = ()
        self._unsure: Sequence[Item] = ()
        self._stopping = False
        self._claiming = asyncio.Lock()

    def wake(self, at: datetime | None = None) -> None:
        """Something is due at a moment, or now."""
        self.alarm.schedule(0.0 if at is None else (at - self._clock.now()).total_seconds())

    def mark_waiting(self, lane: str) -> None:
        """Something that is due was told to wait: it is claimed as soon as its lane has room."""
        self._limits.mark_waiting(self.work, lane)
        self._watch(lane)

    async def run(self) -> None:
        """Claim and perform until stopped; look once per scan where nobody hints, and again after trouble."""
        while not self._stopping:
            try:
                await self.tick()
            except StoreUnavailable as error:
                LOGGER.debug("cannot claim %s work: %s", self.work, error.detail)
                await self._recover()
            except Exception:
                LOGGER.exception("claiming %s work failed", self.work)
                await self._recover()
            self.alarm.schedule(self._store.scan)
            await self.alarm.wait()

    async def tick(self) -> int:
        """Claim what is due now and start on it; how many were claimed.

        One at a time: between its commit and its start, only the claim knows that work is under way.
        """
        async with self._claiming:
            return await self._tick()

    async def _tick(self) -> int:
        self.alarm.reset()
        if not self._holder.live:
            return 0
        if self._unsure:
            await self._give_back(self._unsure)
            self._unsure = ()
        noted = dict(self._limits.waiting(self.work))
        room: dict[str, int] = {}

        def promised(lane: str) -> int:
            noted[lane] = self._limits.mark_waiting(self.work, lane)
            self._limits.reserve_for_claim(self.work, lane, 0)
            room[lane] = self._limits.room(self.work, lane) if self._performer.serves(lane) else 0
            self._limits.reserve_for_claim(self.work, lane, room[lane])
            return room[lane]

        try:
            taken = await self._claim(promised)
            if taken.next_at is not None:
                self.wake(taken.next_at)
            claimed = await self._take_up(taken.prepared)
        finally:
            self._limits.release_claim(self.work, room)
        for lane, count in noted.items():
            full = claimed[lane] == room.get(lane)
            if full or not self._limits.clear_waiting(self.work, lane, count):
                self._watch(lane)
            else:
                self._wake(self._limits.others(self.work, lane))
        return claimed.total()

    async def _claim(self, room: Callable[[str], int]) -> Claimed:
        """Claim due work. Where it is unknown whether that was committed, it is given back by the next look:
        nothing was started, and the lease would end as if it had been."""
        request = self._request(room)
        try:
            return await self._store.write(lambda: claim(request), last=True)
        except BaseException:
            self._unsure = self._prepared
            raise
        finally:
            self._prepared = ()

    def _prepare(self, claims: Sequence[Claim]) -> Transaction[Sequence[Item]]:
        self._prepared = yield from self._performer.prepare(claims)
        return self._prepared

    def _request(self, room: Callable[[str], int]) -> ClaimRequest:
        now, lease = self._clock.now(), self._performer.lease
        return ClaimRequest(
            work=self.work,
            owner=self._holder.name,
            now=now,
            lease_until=now + lease,
            until=self._clock.monotonic() + lease.total_seconds(),
            room=room,
            found=lambda lane, count: self._limits.reserve_for_claim(self.work, lane, count),
            prepare=self._prepare,
            busy=frozenset(self._under_way.values()),
            running_limits=self._performer.job_limits(),
            places=self._limits.unproven_room,
            behind=self._limits.set_unproven_backlog,
        )

    async def _take_up(self, prepared: Sequence[Item]) -> Counter[str]:
        """Start on what was claimed, or give it back when we may not any more; how many, by lane."""
        if self._stopping or not self._holder.live:
            await self._give_back(prepared)
            return Counter()
        lanes = [one.claim.lane for one in prepared]
        for one, lane in zip(prepared, lanes, strict=True):
            self._limits.acquire(self.work, lane)
            self.start(one)
        return Counter(lanes)

    def start(self, prepared: Item) -> None:
        """Perform something that holds a slot of its lane; while stopping, its lease is left to end."""
        if self._stopping:
            return
        task = self._loop.create_task(self._perform(prepared))
        self._under_way[task] = prepared.claim.id
        task.add_done_callback(self._under_way.pop)

    async def stop(self, grace: float) -> None:
        """Claim no more, and give work under way `grace` seconds, then `AT_LAST`.

        A claim that is cut within its commit would leave a job that nobody sends: it ends, and gives back.
        """
        self._stopping = True
        self.alarm.schedule()
        claiming = self._loop.create_task(self._claimed())
        _, late = await asyncio.wait([claiming, *self._under_way], timeout=grace)
        for task in late - {claiming}:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=AT_LAST)
        claiming.cancel()

    async def _claimed(self) -> None:
        """Wait until the claim that runs, if one does, has ended."""
        async with self._claiming:
            pass

    async def _give_back(self, prepared: Sequence[Item]) -> None:
        await self._store.write(lambda: self._performer.give_back(prepared, self._clock.now()))

    async def _perform(self, prepared: Item) -> None:
        try:
            if self._holder.live:
                await self._performer.perform(prepared)
            else:
                await self._give_back([prepared])
        except StoreUnavailable:
            LOGGER.warning("the outcome of %s work could not be stored; its lease will end", self.work)
        except Exception:
            LOGGER.exception("performing %s work failed; its lease will end", self.work)
        finally:
            self._wake(self._limits.release(prepared.claim.lane, self.work))

    def _wake(self, kinds: Iterable[Work]) -> None:
        for kind in kinds:
            self._dispatcher.wake(kind)

    async def _recover(self) -> None:
        await asyncio.sleep(AFTER_TROUBLE)
        self.alarm.schedule()

    def _watch(self, lane: str) -> None:
        """Look when the lane has room by itself; where another has to end first, that tells."""
        opens = self._limits.opens_in(self.work, lane) if self._performer.serves(lane) else None
        if opens is not None:
            self.alarm.schedule(opens)
