"""Lanes: whose turn due work shares, and how many of a lane may be under way at once.

An endpoint's lane holds 4 while it is unproven or failing and grows by one with each success; an account's
is as wide as configured. Retries of a lane share its slots and take at most half. Slots are handed out on
the writer's thread too, so counting is under a lock.

A lane is there while something of it is under way, waits or was promised; its slots, while one of their lanes
is, and longer where they have learned something: one-off callbacks name any number of origins.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from receiver.model import Work
from receiver.store.due import HAND_LANES, RETRY_LANE, plain

UNPROVEN = 4
LEARNED = 1_000
"""How many idle endpoints and origins keep the slots that they have earned."""
HELD = 10_000
"""How many holds are remembered at least; of many more, those that end first are forgotten."""
SOME_HOLDS = 256
"""Beyond how many holds it is looked for those that are over, and then whenever there are twice as many."""


@dataclass(slots=True)
class Slots:
    """What the lanes of one endpoint or account share. `rate` is in calls per second."""

    top: int
    adaptive: bool = False
    rate: float | None = None
    live: int = 1
    last: Work | None = None
    allowed: int = 0
    in_flight: int = 0
    promised: int = 0
    tokens: float = 0.0
    refilled_at: float = 0.0
    failing: bool = False
    lanes: "list[Lane]" = field(default_factory=list)

    def __post_init__(self) -> None:
        self.allowed = min(self.top, UNPROVEN) if self.adaptive else self.top

    @property
    def ours(self) -> int:
        """Our part of what is allowed: as many replicas share it as are `live`."""
        return -(-self.allowed // self.live)

    @property
    def free(self) -> int:
        """How many are not taken, whatever the rate says."""
        return self.ours - self.in_flight - self.promised

    def room(self, now: float) -> int:
        """How many may start now."""
        if self.rate is None:
            return self.free
        return min(self.free, int(self._refilled(now, self.rate / self.live)) - self.promised)

    def token_in(self, now: float) -> float:
        """Seconds until the rate lets one more start."""
        if self.rate is None:
            return 0.0
        rate = self.rate / self.live
        return max(0.0, (1 + self.promised - self._refilled(now, rate)) / rate)

    def _refilled(self, now: float, rate: float) -> float:
        burst = max(1.0, rate)
        if self.refilled_at == 0.0:
            self.tokens = burst
        else:
            self.tokens = min(burst, self.tokens + (now - self.refilled_at) * rate)
        self.refilled_at = now
        return self.tokens


@dataclass(slots=True)
class Lane:
    """One lane of one kind of work. While `blocked`, one probe at a time may pass once the hold is over.

    `waiting` counts what was told to wait since a claim last found the lane empty: as long as that is so, new
    deliveries leave it half of the lane. What is `promised` to a claim that runs is no longer free.
    """

    slots: Slots
    work: Work
    name: str
    holds: Mapping[tuple[Work, str], float] = field(repr=False)
    half: bool = field(init=False)
    held_as: tuple[Work, str] = field(init=False)
    in_flight: int = 0
    blocked: bool = False
    waiting: int = 0
    promised: int = 0

    @property
    def idle(self) -> bool:
        """Whether nothing hangs on it."""
        return not (self.in_flight or self.waiting or self.promised or self.blocked)

    def __post_init__(self) -> None:
        self.half, by_hand = self.name.endswith(RETRY_LANE), self.name.endswith(HAND_LANES)
        self.held_as = (self.work, self.name if by_hand else plain(self.name))

    @property
    def hold_until(self) -> float:
        """Return when its hold ends; a retry by hand waits for none."""
        return self.holds.get(self.held_as, 0.0)

    def room(self, now: float) -> int:
        """How many may start now."""
        if now < self.hold_until:
            return 0
        return max(0, min(self._share(now), self.slots.room(now)))

    def opens_in(self, now: float) -> float | None:
        """Seconds until one may start; None where another has to end, or has its turn, first."""
        if min(self._share(now), self.slots.free) <= 0:
            return None
        return max(0.0, self.hold_until - now, self.slots.token_in(now))

    def wants(self, now: float) -> bool:
        """Return whether something of this lane waits that could start if it had a slot."""
        return bool(self.waiting) and now >= self.hold_until and not (self.blocked and self.in_flight)

    def _share(self, now: float) -> int:
        """How many more of this lane may be under way.

        Where another kind of work wants slots too, each has half of them, and the last of them in turns:
        calls that hang for long would keep every slot otherwise.
        """
        most = self.slots.ours
        if self.blocked:
            most = 1
        elif self.half:
            most = max(1, most // 2)
        rivals = [lane for lane in self.slots.lanes if lane.work is not self.work and lane.wants(now)]
        if rivals:
            half = (self.slots.ours + 1) // 2
            most = min(most, half)
            last = self.slots.last is self.work and self.slots.room(now) <= 1
            if last and any(lane.in_flight < half for lane in rivals):
                return 0
        return most - self.in_flight


@dataclass(slots=True)
class Lanes:
    """Every lane in which something goes on, made when it is first met."""

    make: Callable[[Work, str], Slots]
    monotonic: Callable[[], float]
    _slots: dict[tuple[bool, str], Slots] = field(default_factory=dict)
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
            return self._look(work, name).room(self.monotonic())

    def opens_in(self, work: Work, name: str) -> float | None:
        """Seconds until one of this lane may start, 0 where it may; None where another has to end first."""
        with self._lock:
            return self._look(work, name).opens_in(self.monotonic())

    def take(self, work: Work, name: str) -> None:
        """Count one that starts."""
        with self._lock:
            self._take(self._lane(work, name))

    def seize(self, work: Work, name: str) -> bool:
        """Take a slot for a call that no claim stands for. Returns False where there is no room."""
        with self._lock:
            lane = self._lane(work, name)
            if lane.room(self.monotonic()) <= 0:
                return False
            self._take(lane)
            return True

    def reserve(self, name: str) -> bool:
        """Take a slot for a delivery that is being recorded; False when it has to wait for a claim."""
        with self._lock:
            lane = self._lane(Work.DELIVER, name)
            kept = lane.slots.ours // 2 if lane.waiting else 0
            if lane.room(self.monotonic()) <= kept:
                self._note(lane)
                return False
            self._take(lane)
            return True

    def release(self, name: str, work: Work = Work.DELIVER) -> Sequence[Work]:
        """Count one that ended; the kinds of work that wait for its slot, the others before its own."""
        with self._lock:
            lane = self._lane(work, name)
            lane.in_flight -= 1
            lane.slots.in_flight -= 1
            waiting = {one.work for one in lane.slots.lanes if one.waiting}
            self._leave(lane)
            return sorted(waiting, key=lambda kind: (kind is work, kind))

    def others(self, work: Work, name: str) -> Sequence[Work]:
        """Return the other kinds of work that wait for the slots of a lane."""
        with self._lock:
            lanes = self._look(work, name).slots.lanes
            return sorted({one.work for one in lanes if one.work is not work and one.waiting})

    def wait(self, work: Work, name: str) -> int:
        """Note that something of this lane waits, or may; how often that was noted."""
        with self._lock:
            lane = self._lane(work, name)
            self._note(lane)
            return lane.waiting

    def promise(self, work: Work, name: str, count: int) -> None:
        """A claim keeps so many slots for itself, instead of what it kept of this lane before."""
        with self._lock:
            lane = self._lane(work, name)
            lane.slots.promised += count - lane.promised
            lane.promised = count

    def asked(self, work: Work, names: Iterable[str]) -> None:
        """The claim has taken its slots, or failed."""
        for name in names:
            self.promise(work, name, 0)

    def waiting(self, work: Work) -> dict[str, int]:
        """The lanes of this kind in which something waits, and how often that was noted."""
        with self._lock:
            return {name: lane.waiting for (kind, name), lane in self._waiting.items() if kind is work}

    def drained(self, work: Work, name: str, noted: int) -> bool:
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
            slots.allowed = min(slots.top, slots.allowed + 1)
            was, slots.failing = slots.failing, False
            return was

    def failed(self, name: str) -> bool:
        """An endpoint failed: it is held to a few until it proves itself again; whether that began now."""
        with self._lock:
            slots = self._look(Work.DELIVER, name, learns=True).slots
            slots.allowed = min(slots.top, UNPROVEN)
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

    def take_up_holds(self, seconds: Mapping[str, float]) -> None:
        """Hold all lanes that any replica holds, and no longer those that none holds."""
        with self._lock:
            now = self.monotonic()
            for name in self._told - seconds.keys():
                self._holds.pop((Work.DELIVER, name), None)
            for name, left in seconds.items():
                self._hold(Work.DELIVER, name, now + left)
            self._told = set(seconds)

    def let_go(self, name: str, top: int | None = None) -> None:
        """End an endpoint's hold; with `top`, it may have so many at once from now on."""
        with self._lock:
            self._holds.pop((Work.DELIVER, name), None)
            slots = self._slots.get((True, name))
            if slots is not None and top is not None:
                slots.top = top
                slots.allowed = min(slots.allowed, top)

    def block(self, name: str, *, blocked: bool, probe_in: float = 0.0) -> None:
        """Close an account's submissions but for one probe at a time, or open them again."""
        with self._lock:
            self._lane(Work.SUBMIT, name).blocked = blocked
            if blocked:
                self._holds[Work.SUBMIT, name] = self.monotonic() + probe_in
            else:
                self._holds.pop((Work.SUBMIT, name), None)

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
        lane = self._lanes.get((work, name))
        if lane is None:
            lane = self._lanes[work, name] = self._look(work, name)
            key = (work is Work.DELIVER, plain(name))
            self._slots.setdefault(key, lane.slots).lanes.append(lane)
            self._learned.pop(key, None)
        return lane

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
        if slots.allowed > UNPROVEN or slots.failing:
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
        lane.slots.in_flight += 1
        lane.slots.last = lane.work
        lane.slots.tokens -= 1


class NoLanes:
    """Where nobody delivers: whatever is recorded waits for a process that does."""

    def reserve(self, _lane: str, /) -> bool:
        """There is no slot."""
        return False

    def release(self, _lane: str, /) -> object:
        """There was none."""
        return None
