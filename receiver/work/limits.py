"""Lanes: whose turn due work shares, and how many of a lane may be under way at once.

Slots are handed out on the writer's thread too, so counting is under a lock.

A lane is there while something of it is under way, waits or was promised; its slots, while one of their lanes
is, and longer where they have learned something: one-off callbacks name any number of origins.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from receiver.domain.model import Reserved, Work
from receiver.store.due import WAITING, plain
from receiver.work.slots import UNPROVEN, ConcurrencyLimit, Lane, UnprovenOrigins

LEARNED = 1_000
"""How many idle endpoints and origins keep the slots that they have earned."""
HELD = 10_000
"""How many holds are remembered at least; of many more, those that end first are forgotten."""
SOME_HOLDS = 256
"""Beyond how many holds it is looked for those that are over, and then whenever there are twice as many."""


@dataclass(slots=True)
class ConcurrencyLimits:
    """Every lane in which something goes on, made when it is first met."""

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
        """Every cap and rate is shared by so many replicas from now on."""
        with self._lock:
            self._live = live
            for slots in self._slots.values():
                slots.live = live

    def lane(self, work: Work, name: str) -> Lane:
        """The lane of `work` with this name."""
        with self._lock:
            return self._lane(work, name)

    def room(self, work: Work, name: str) -> int:
        """How many of this lane may start now."""
        with self._lock:
            return self._room(self._look(work, name))

    def opens_in(self, work: Work, name: str) -> float | None:
        """Seconds until one of this lane may start, 0 where it may; None where another has to end first."""
        with self._lock:
            if name.endswith(WAITING):
                return 0.0 if self.unproven.opens else None
            return self._look(work, name).opens_in(self.monotonic())

    def acquire(self, work: Work, name: str) -> None:
        """Count one that starts."""
        with self._lock:
            self._take(self._lane(work, name))

    def seize(self, work: Work, name: str) -> bool:
        """Take a slot for a call that no claim stands for. Returns False where there is no room."""
        with self._lock:
            lane = self._lane(work, name)
            if self._room(lane) <= 0:
                return False
            self._take(lane)
            return True

    def reserve(self, name: str) -> Reserved:
        """Take a slot for a delivery that is being recorded. Returns whether one was free."""
        with self._lock:
            lane = self._look(Work.DELIVER, name)
            if lane.slots.lines_up:
                self.unproven.behind = True
                return Reserved(name + WAITING)
            self._enter(lane)
            kept = lane.slots.share // 2 if lane.waiting else 0
            if self._room(lane) <= kept:
                self._note(lane)
                return Reserved(name)
            self._take(lane)
            return Reserved()

    def release(self, name: str, work: Work = Work.DELIVER) -> Sequence[Work]:
        """Count one that ended; the kinds of work that wait for its slot, the others before its own."""
        with self._lock:
            lane = self._lane(work, name)
            lane.in_flight -= 1
            lane.slots.count(started=-1)
            waiting = {one.work for one in lane.slots.lanes if one.waiting}
            if self.unproven.opens:
                waiting.add(Work.DELIVER)
            self._leave(lane)
            return sorted(waiting, key=lambda kind: (kind is work, kind))

    def others(self, work: Work, name: str) -> Sequence[Work]:
        """Return the other kinds of work that wait for the slots of a lane."""
        with self._lock:
            lanes = self._look(work, name).slots.lanes
            return sorted({one.work for one in lanes if one.work is not work and one.waiting})

    def mark_waiting(self, work: Work, name: str) -> int:
        """Note that something of this lane waits, or may; how often that was noted.

        Those that wait whatever their lanes are not noted one by one: there may be any number.
        """
        with self._lock:
            if name.endswith(WAITING):
                self.unproven.behind = True
                return 0
            lane = self._lane(work, name)
            self._note(lane)
            return lane.waiting

    def reserve_for_claim(self, work: Work, name: str, count: int) -> None:
        """A claim keeps so many slots for itself, instead of what it kept of this lane before."""
        with self._lock:
            lane = self._lane(work, name)
            lane.slots.count(promised=count - lane.reserved)
            lane.reserved = count

    def release_claim(self, work: Work, names: Iterable[str]) -> None:
        """The claim has taken its slots, or failed."""
        for name in names:
            self.reserve_for_claim(work, name, 0)

    def waiting(self, work: Work) -> dict[str, int]:
        """The lanes of this kind in which something waits, and how often that was noted."""
        with self._lock:
            return {name: lane.waiting for (kind, name), lane in self._waiting.items() if kind is work}

    def clear_waiting(self, work: Work, name: str, noted: int) -> bool:
        """A claim left nothing of this lane waiting; False where more was noted than the claim knew of."""
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
        """An endpoint took a delivery: it may have one more at once; whether it was failing before."""
        with self._lock:
            slots = self._look(Work.DELIVER, name, learns=True).slots
            slots.allow(slots.current + 1)
            was, slots.failing = slots.failing, False
            return was

    def failed(self, name: str) -> bool:
        """An endpoint failed: it is held to a few until it proves itself again; whether that began now."""
        with self._lock:
            slots = self._look(Work.DELIVER, name, learns=True).slots
            slots.allow(UNPROVEN)
            was, slots.failing = slots.failing, True
            return not was

    def hold(self, work: Work, name: str, seconds: float) -> None:
        """Let nothing of this lane, its retries included, start for a while."""
        with self._lock:
            self._hold(work, plain(name), self.monotonic() + seconds)

    def held(self, name: str) -> float:
        """Seconds for which an endpoint, or a job's own callback URL, is left alone."""
        with self._lock:
            return max(0.0, self._holds.get((Work.DELIVER, name), 0.0) - self.monotonic())

    def replace_holds(self, seconds: Mapping[str, float]) -> None:
        """Hold all lanes that any replica holds, and no longer those that none holds."""
        with self._lock:
            now = self.monotonic()
            for name in self._told - seconds.keys():
                self._holds.pop((Work.DELIVER, name), None)
            for name, left in seconds.items():
                self._hold(Work.DELIVER, name, now + left)
            self._told = set(seconds)

    def end_hold(self, name: str, top: int | None = None) -> None:
        """End an endpoint's hold; with `top`, it may have so many at once from now on."""
        with self._lock:
            self._holds.pop((Work.DELIVER, name), None)
            slots = self._slots.get((True, name))
            if slots is not None and top is not None:
                slots.max = top
                slots.allow(slots.current)

    def block(self, name: str, *, blocked: bool, probe_in: float = 0.0) -> None:
        """Close an account's submissions but for one probe at a time, or open them again."""
        with self._lock:
            self._lane(Work.SUBMIT, name).blocked = blocked
            if blocked:
                self._holds[Work.SUBMIT, name] = self.monotonic() + probe_in
            else:
                self._holds.pop((Work.SUBMIT, name), None)

    def unproven_room(self) -> int:
        """Return how many deliveries may start to origins that have not proved themselves."""
        with self._lock:
            return self.unproven.free

    def set_unproven_backlog(self, left: bool) -> None:
        """Note whether a claim left deliveries to such origins waiting in the store."""
        with self._lock:
            self.unproven.behind = left

    def _room(self, lane: Lane) -> int:
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
        """The lane, made where it is not there."""
        lane = self._look(work, name)
        self._enter(lane)
        return lane

    def _enter(self, lane: Lane) -> None:
        """Keep a lane in which something goes on."""
        if (lane.work, lane.name) in self._lanes:
            return
        self._lanes[lane.work, lane.name] = lane
        key = (lane.work is Work.DELIVER, plain(lane.name))
        self._slots.setdefault(key, lane.slots).lanes.append(lane)
        self._learned.pop(key, None)

    def _look(self, work: Work, name: str, *, learns: bool = False) -> Lane:
        """Return the lane, or one as it would be; where it `learns`, its slots are kept while it is idle."""
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
        return Lane(slots, work, name, self._holds)

    def _leave(self, lane: Lane) -> None:
        """Forget an idle lane, and its slots if they have no other lane and have learned nothing."""
        slots = lane.slots
        if not lane.idle or not slots.adaptive:
            return
        del self._lanes[lane.work, lane.name]
        slots.lanes = [one for one in slots.lanes if one is not lane]
        if slots.lanes:
            return
        key = (lane.work is Work.DELIVER, plain(lane.name))
        if slots.current > UNPROVEN or slots.failing:
            self._keep(key)
        else:
            del self._slots[key]

    def _keep(self, key: tuple[bool, str]) -> None:
        self._learned[key] = None
        self._learned.move_to_end(key)
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
    """Where nobody delivers: whatever is recorded waits for a process that does."""

    def reserve(self, lane: str, /) -> Reserved:
        """Take no slot: there are none here."""
        return Reserved(lane)

    def release(self, _lane: str, /) -> object:
        """There was none."""
        return None
