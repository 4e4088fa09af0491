"""The worker: one loop that claims and performs due work of any kind, and knows none of the kinds by name."""

import asyncio
import functools
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
"""Seconds between a claim that failed and the next one."""
AT_LAST = 0.4
"""Seconds for tasks that were cancelled, or are within a commit, when the grace period is over."""
UNSTORED = 1_000
"""The number of outcomes that may wait for the store without a slot: further ones keep theirs meanwhile."""


class Performer(Protocol[Item]):
    """A performer of one kind of work."""

    @property
    def work(self) -> Work:
        """Return the kind of work."""

    @property
    def lease(self) -> timedelta:
        """Return how long performing one piece of work may take."""

    def serves(self, lane: str) -> bool:
        """Return whether work of this lane may start now, if there is room."""

    def job_limits(self) -> Mapping[str, int]:
        """Return how many jobs of each lane may run at the provider at once."""

    def prepare(self, claims: Sequence[Claim]) -> Transaction[Sequence[Item]]:
        """Load the data that performing each claim needs, inside the claiming transaction."""

    def give_back(self, prepared: Sequence[Item], now: datetime) -> Transaction[None]:
        """Release claimed and prepared work untried, as if it had never been claimed."""

    async def perform(self, prepared: Item) -> None:
        """Perform the work and record its outcome."""


class LeaseOwner(Protocol):
    """The owner of leases. While it is not `live`, no work is started under them."""

    name: str

    @property
    def live(self) -> bool:
        """Return whether its leases are still its own."""


class Worker(Generic[Item]):
    """A worker that performs one kind of due work until it is stopped."""

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
        self._fresh_first = True
        self._holding: dict[tuple[str, int], str] = {}
        self._prepared: Sequence[Item] = ()
        self._unsure: Sequence[Item] = ()
        self._stopping = False
        self._claiming = asyncio.Lock()

    def wake(self, at: datetime | None = None) -> None:
        """Look for due work at a moment, or now."""
        self.alarm.schedule(0.0 if at is None else (at - self._clock.now()).total_seconds())

    def mark_waiting(self, lane: str) -> None:
        """Note that due work of a lane waits for a slot: it is claimed as soon as the lane has room."""
        self._limits.mark_waiting(self.work, lane)
        self._watch(lane)

    async def run(self) -> None:
        """Claim and perform until stopped: at each hint, at least once a scan, and again after a failure."""
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
        """Claim due work and start it. Returns the number of claims.

        One claim runs at a time: between its commit and the start, only the claim knows that the work is
        under way.
        """
        async with self._claiming:
            return await self._tick()

    async def _tick(self) -> int:
        # Reset before the claim, not after it: a hint that comes while the claim runs sets the timer again,
        # and must not be lost. Why: receiver/README.md#time-frees-slots
        self.alarm.reset()
        if not self._holder.live:
            return 0
        if self._unsure:
            await self._give_back(self._unsure)
            self._unsure = ()
        # The claim clears only the marks that it knows of, by their number: work that begins to wait while it
        # runs stays marked. Why: receiver/README.md#waiters-are-counted
        noted = dict(self._limits.waiting(self.work))
        room: dict[str, int] = {}

        try:
            result = await self._claim(functools.partial(self._reserve, noted, room))
            if result.next_at is not None:
                self.wake(result.next_at)
            claimed = await self._take_up(result.prepared)
        finally:
            # Started work has taken its slots by now: released earlier, they would look free in between.
            self._limits.release_claim(self.work, room)
        self._unmark(noted, room, claimed)
        return claimed.total()

    def _reserve(self, noted: dict[str, int], room: dict[str, int], lane: str) -> int:
        """Reserve the free slots of a lane for the claim that runs. Returns their number."""
        # Called within the claim's transaction, which may run twice, so an earlier reservation is dropped
        # first. The mark keeps half of the slots from deliveries recorded meanwhile; the reservation keeps
        # them from lanes with the same slots. Why: receiver/README.md#a-claim-reserves-slots-once
        noted[lane] = self._limits.mark_waiting(self.work, lane)
        self._limits.reserve_for_claim(self.work, lane, 0)
        room[lane] = self._limits.room(self.work, lane) if self._performer.serves(lane) else 0
        self._limits.reserve_for_claim(self.work, lane, room[lane])
        return room[lane]

    def _unmark(self, noted: Mapping[str, int], room: Mapping[str, int], claimed: Counter[str]) -> None:
        # A lane whose room was used up may have more work due: it stays marked, and the timer is set to when
        # time alone opens it. A lane that was left empty leaves its slots to the other kinds of work.
        for lane, count in noted.items():
            full = claimed[lane] == room.get(lane)
            if full or not self._limits.clear_waiting(self.work, lane, count):
                self._watch(lane)
            else:
                self._wake(self._limits.others(self.work, lane))

    async def _claim(self, room: Callable[[str], int]) -> Claimed:
        """Claim due work. Where it is unknown whether the claim was committed, the next tick gives it back:
        the work was not started, but would count as started once its lease ended."""
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
        self._fresh_first = not self._fresh_first
        return ClaimRequest(
            work=self.work,
            owner=self._holder.name,
            now=now,
            lease_until=now + lease,
            until=self._clock.monotonic() + lease.total_seconds(),
            room=room,
            found=lambda lane, count: self._limits.reserve_for_claim(self.work, lane, count),
            prepare=self._prepare,
            # Work whose lease ended although it is under way here gets a new lease, and is not started a
            # second time. Why: receiver/README.md#no-clock-step-ends-anything
            busy=frozenset(self._under_way.values()),
            fresh_first=self._fresh_first,
            running_limits=self._performer.job_limits(),
            places=self._limits.unproven_room,
            behind=self._limits.set_unproven_backlog,
        )

    async def _take_up(self, prepared: Sequence[Item]) -> Counter[str]:
        """Start claimed work, or give it back if it may not start any more. Returns the starts by lane."""
        if self._stopping or not self._holder.live:
            await self._give_back(prepared)
            return Counter()
        lanes = [one.claim.lane for one in prepared]
        for one, lane in zip(prepared, lanes, strict=True):
            self._limits.acquire(self.work, lane)
            self.start(one)
        return Counter(lanes)

    def start(self, prepared: Item) -> None:
        """Perform work that holds a slot of its lane. While stopping, it is left until its lease ends."""
        if self._stopping:
            return
        claim = prepared.claim
        task = self._loop.create_task(self._perform(prepared))
        self._under_way[task] = claim.id
        self._holding[claim.id, claim.fence] = claim.lane
        task.add_done_callback(self._under_way.pop)

    async def stop(self, grace: float) -> None:
        """Claim no more, and wait for work under way: `grace` seconds, then `AT_LAST` after its cancellation.

        A claim cancelled within its commit would leave a job that no process sends, so a running claim may
        end by itself, and gives its work back.
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
        """Wait until the running claim, if there is one, has ended."""
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
            self._free(prepared.claim)

    def free(self, claim: Claim) -> None:
        """Give back the slot of work with an outcome that is not stored yet, if few such outcomes wait."""
        if len(self._under_way) - len(self._holding) < UNSTORED:
            self._free(claim)

    def _free(self, claim: Claim) -> None:
        lane = self._holding.pop((claim.id, claim.fence), None)
        if lane is not None:
            self._wake(self._limits.release(lane, self.work))

    def _wake(self, kinds: Iterable[Work]) -> None:
        for kind in kinds:
            self._dispatcher.wake(kind)

    async def _recover(self) -> None:
        await asyncio.sleep(AFTER_TROUBLE)
        self.alarm.schedule()

    def _watch(self, lane: str) -> None:
        """Wake when time alone opens the lane. Where a call has to end first, its end wakes the worker."""
        opens = self._limits.opens_in(self.work, lane) if self._performer.serves(lane) else None
        if opens is not None:
            self.alarm.schedule(opens)
