"""Concurrency limits: how many calls of each lane may start now, and which kinds of work wait for a slot.

Slots are taken on the writer's thread too, so all counting is under a lock.

A lane is kept while it has work under way, waiting or reserved for a claim. Slots are kept as long as one of
their lanes, and longer where they have learned something. All others are forgotten, because one-off callbacks
name any number of origins.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from receiver.domain.model import Endpoint, Reserved, Work
from receiver.store.due import WAITING, plain
from receiver.work.slots import UNPROVEN, ConcurrencyLimit, Lane, UnprovenOrigins

LEARNED = 1_000
"""The number of idle endpoints and origins, at most, that keep the slots that they have earned."""
HELD = 10_000
"""The number of holds that is always kept; of many more, those that end first are forgotten."""
SOME_HOLDS = 256
"""The number of holds beyond which ended ones are removed, and again whenever the rest has doubled."""


@dataclass(slots=True)
class ConcurrencyLimits:
    """The concurrency limits of every lane in use; a lane is made when it is first used."""

    make: Callable[[Work, str], ConcurrencyLimit]
    monotonic: Callable[[], float]
    unproven: UnprovenOrigins = field(default_factory=UnprovenOrigins)
    _slots: dict[tuple[bool, str], ConcurrencyLimit] = field(default_factory=dict)
    _lanes: dict[tuple[Work, str], Lane] = field(default_factory=dict)
    _learned: OrderedDict[tuple[bool, str], None] = field(default_factory=OrderedDict)
    _waiting: dict[tuple[Work, str], Lane] = field(default_factory=dict)
    _holds: dict[tuple[Work, str], float] = field(default_factory=dict)
    _many_holds: int = SOME_HOLDS
    _told: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _live: int = 1

    def share(self, live: int) -> None:
        """Share every limit and rate among `live` replicas from now on."""
        with self._lock:
            self._live = live
            for slots in self._slots.values():
                slots.live = live

    def lane(self, work: Work, name: str) -> Lane:
        """Return the lane of `work` with this name, created where it is missing."""
        with self._lock:
            return self._lane(work, name)

    def room(self, work: Work, name: str) -> int:
        """Return how many calls of this lane may start now."""
        with self._lock:
            return self._room(self._look(work, name))

    def opens_in(self, work: Work, name: str) -> float | None:
        """Return the seconds until a call of this lane may start, 0 where it may start now.

        Returns None where another call has to end first.
        """
        with self._lock:
            if name.endswith(WAITING):
                return 0.0 if self.unproven.opens else None
            return self._look(work, name).opens_in(self.monotonic())

    def acquire(self, work: Work, name: str) -> None:
        """Take a slot for claimed work that starts."""
        with self._lock:
            self._take(self._lane(work, name))

    def seize(self, work: Work, name: str) -> bool:
        """Take a slot for a call without a claim. Returns False where there is no room."""
        with self._lock:
            lane = self._lane(work, name)
            if self._room(lane) <= 0:
                return False
            self._take(lane)
            return True

    def reserve(self, name: str) -> Reserved:
        """Take a slot for a delivery that is being recorded.

        Returns a true value where one was free, or else the lane in which the delivery waits.
        """
        with self._lock:
            lane = self._look(Work.DELIVER, name)
            # Unproven origins share one queue in the store, in the order of moments, so no lane is kept or
            # noted for each of them. Why: receiver/README.md#unproven-origins-share-a-bound
            if lane.slots.lines_up:
                self.unproven.behind = True
                return Reserved(name + WAITING)
            self._enter(lane)
            # Half of the slots are left to deliveries of this lane that wait in the store: those need a
            # claim, and new deliveries, which take a slot as they are recorded, would always come first.
            kept = lane.slots.share // 2 if lane.waiting else 0
            if self._room(lane) <= kept:
                self._note(lane)
                return Reserved(name)
            self._take(lane)
            return Reserved()

    def release(self, name: str, work: Work = Work.DELIVER) -> Sequence[Work]:
        """Free the slot of an ended call. Returns the kinds of work that wait for it, its own kind last."""
        with self._lock:
            lane = self._lane(work, name)
            lane.in_flight -= 1
            lane.slots.count(started=-1)
            waiting = {one.work for one in lane.slots.lanes if one.waiting}
            # The call may have freed a place that deliveries to other origins wait for.
            if self.unproven.opens:
                waiting.add(Work.DELIVER)
            self._leave(lane)
            # Its own kind comes last, so that it does not take back every slot that it frees.
            return sorted(waiting, key=lambda kind: (kind is work, kind))

    def others(self, work: Work, name: str) -> Sequence[Work]:
        """Return the other kinds of work that wait for the slots of a lane."""
        with self._lock:
            lanes = self._look(work, name).slots.lanes
            return sorted({one.work for one in lanes if one.work is not work and one.waiting})

    def mark_waiting(self, work: Work, name: str) -> int:
        """Note that work of this lane waits, or may wait. Returns how often that was noted.

        Deliveries that wait for a place of the unproven origins are not noted by lane, because there may be
        any number of these lanes.
        """
        with self._lock:
            if name.endswith(WAITING):
                self.unproven.behind = True
                return 0
            lane = self._lane(work, name)
            self._note(lane)
            return lane.waiting

    def reserve_for_claim(self, work: Work, name: str, count: int) -> None:
        """Reserve `count` slots of this lane for a running claim, in place of its earlier reservation."""
        with self._lock:
            lane = self._lane(work, name)
            lane.slots.count(reserved=count - lane.reserved)
            lane.reserved = count

    def release_claim(self, work: Work, names: Iterable[str]) -> None:
        """Drop the reservations of a claim that has taken its slots, or failed."""
        for name in names:
            self.reserve_for_claim(work, name, 0)

    def waiting(self, work: Work) -> dict[str, int]:
        """Return the lanes of this kind in which work waits, with how often that was noted."""
        with self._lock:
            return {name: lane.waiting for (kind, name), lane in self._waiting.items() if kind is work}

    def clear_waiting(self, work: Work, name: str, noted: int) -> bool:
        """Clear the mark of a lane that a claim left empty.

        Returns False, and keeps the mark, where more was noted than the `noted` that the claim knew of.
        """
        with self._lock:
            lane = self._look(work, name)
            if lane.waiting not in {0, noted}:
                return False
            if lane.waiting:
                lane.waiting = 0
                del self._waiting[work, name]
            if (work, name) in self._lanes:
                self._leave(lane)
            return True

    def succeeded(self, name: str) -> bool:
        """Give one more slot to an endpoint that took a delivery. Returns whether it was failing before."""
        with self._lock:
            slots = self._look(Work.DELIVER, name, learns=True).slots
            slots.allow(slots.current + 1)
            was, slots.failing = slots.failing, False
            return was

    def failed(self, name: str) -> bool:
        """Limit an endpoint that failed to `UNPROVEN` slots. Returns whether it was working until now."""
        with self._lock:
            slots = self._look(Work.DELIVER, name, learns=True).slots
            slots.allow(UNPROVEN)
            was, slots.failing = slots.failing, True
            return not was

    def probe(self, name: str, seconds: float) -> None:
        """Leave an endpoint alone for so many seconds, then send one at a time until it takes one."""
        with self._lock:
            self._look(Work.DELIVER, name, learns=True).slots.allow(1)
            self._hold(Work.DELIVER, plain(name), self.monotonic() + seconds)

    def hold(self, work: Work, name: str, seconds: float) -> None:
        """Hold a lane and its retries: nothing of it starts for so many seconds."""
        with self._lock:
            self._hold(work, plain(name), self.monotonic() + seconds)

    def held(self, name: str) -> float:
        """Return the seconds for which an endpoint, or a job's own callback URL, is still held."""
        with self._lock:
            return max(0.0, self._holds.get((Work.DELIVER, name), 0.0) - self.monotonic())

    def replace_holds(self, seconds: Mapping[str, float]) -> None:
        """Apply the holds of all replicas, and end those applied before that no replica has any more."""
        with self._lock:
            now = self.monotonic()
            for name in self._told - seconds.keys():
                self._holds.pop((Work.DELIVER, name), None)
            for name, left in seconds.items():
                self._hold(Work.DELIVER, name, now + left)
            self._told = set(seconds)

    def end_hold(self, name: str) -> None:
        """End an endpoint's hold."""
        with self._lock:
            self._holds.pop((Work.DELIVER, name), None)

    def change(self, endpoint: Endpoint) -> None:
        """Apply the limits of a new or changed endpoint."""
        with self._lock:
            slots = self._slots.get((True, endpoint.id))
            if slots is not None:
                slots.max = endpoint.max_in_flight
                slots.allow(slots.current)
                slots.limit(endpoint.rate_limit)

    def block(self, name: str, *, blocked: bool, probe_in: float = 0.0) -> None:
        """Block an account's submissions except for one probe at a time, or unblock them."""
        with self._lock:
            self._lane(Work.SUBMIT, name).blocked = blocked
            if blocked:
                self._holds[Work.SUBMIT, name] = self.monotonic() + probe_in
            else:
                self._holds.pop((Work.SUBMIT, name), None)

    def unproven_room(self) -> int:
        """Return how many deliveries to unproven origins may start."""
        with self._lock:
            return self.unproven.free

    def set_unproven_backlog(self, left: bool) -> None:
        """Note whether a claim left deliveries to unproven origins waiting in the store."""
        with self._lock:
            self.unproven.behind = left

    def _room(self, lane: Lane) -> int:
        # This lane may have no call under way whose end wakes a claim: with the backlog noted, the end of a
        # call to any other unproven origin does.
        if lane.slots.crowded_out:
            self.unproven.behind = True
        return lane.room(self.monotonic())

    def _hold(self, work: Work, name: str, until: float) -> None:
        key, now = (work, name), self.monotonic()
        if until <= now:
            return
        self._holds[key] = max(self._holds.get(key, 0.0), until)
        if len(self._holds) > self._many_holds:
            kept = sorted(self._holds.items(), key=lambda one: one[1])[-HELD:]
            self._holds.clear()
            self._holds.update((one, ends) for one, ends in kept if ends > now)
            self._many_holds = max(SOME_HOLDS, 2 * len(self._holds))

    def _lane(self, work: Work, name: str) -> Lane:
        """Return the lane, created where it is missing."""
        lane = self._look(work, name)
        self._enter(lane)
        return lane

    def _enter(self, lane: Lane) -> None:
        """Keep a lane that is in use."""
        if (lane.work, lane.name) in self._lanes:
            return
        self._lanes[lane.work, lane.name] = lane
        key = (lane.work is Work.DELIVER, plain(lane.name))
        self._slots.setdefault(key, lane.slots).lanes.append(lane)
        self._learned.pop(key, None)

    def _look(self, work: Work, name: str, *, learns: bool = False) -> Lane:
        """Return the lane, or a new one that is not kept; with `learns`, its slots are kept while idle."""
        lane = self._lanes.get((work, name))
        if lane is not None:
            return lane
        key = (work is Work.DELIVER, plain(name))
        slots = self._slots.get(key)
        if slots is None:
            slots = self.make(work, key[1])
            slots.live = self._live
            slots.unproven = self.unproven if key[0] and "://" in key[1] else None
            if learns or not slots.adaptive:
                self._slots[key] = slots
        if learns and not slots.lanes:
            self._keep(key)
        return Lane(slots=slots, work=work, name=name, holds=self._holds)

    def _leave(self, lane: Lane) -> None:
        """Forget an idle lane, and its slots if they have no other lane and have learned nothing."""
        slots = lane.slots
        # Slots that do not adapt belong to configured accounts: their number is bounded, so they stay.
        if not lane.idle or not slots.adaptive:
            return
        del self._lanes[lane.work, lane.name]
        slots.lanes = [one for one in slots.lanes if one is not lane]
        if slots.lanes:
            return
        key = (lane.work is Work.DELIVER, plain(lane.name))
        # The tokens of a rate, too: an endpoint that is idle between two deliveries must not start anew.
        if slots.current > UNPROVEN or slots.failing or slots.rate is not None:
            self._keep(key)
        else:
            del self._slots[key]

    def _keep(self, key: tuple[bool, str]) -> None:
        self._learned[key] = None
        self._learned.move_to_end(key)
        # Slots in this list have no lane, so none with calls under way are dropped. A forgotten endpoint only
        # has to prove itself again.
        if len(self._learned) > LEARNED:
            oldest, _ = self._learned.popitem(last=False)
            del self._slots[oldest]

    def _note(self, lane: Lane) -> None:
        lane.waiting += 1
        self._waiting[lane.work, lane.name] = lane

    def _take(self, lane: Lane) -> None:
        lane.in_flight += 1
        lane.slots.count(started=1)
        lane.slots.last = lane.work
        lane.slots.tokens -= 1


class NullLimits:
    """A null object for API-only processes.

    It never grants a slot, so workers elsewhere claim the deliveries.
    """

    def reserve(self, lane: str, /) -> Reserved:
        """Return the lane in which the delivery waits: no slot is granted."""
        return Reserved(lane)

    def release(self, _lane: str, /) -> object:
        """Do nothing: no slot was granted."""
        return None
