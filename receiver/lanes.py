"""Lanes: whose turn due work shares, and how many of a lane may be under way at once.

An endpoint's lane holds 4 while it is unproven or failing and grows by one with each success; an account's
is as wide as configured. Retries of a lane share its slots and take at most half. Slots are handed out on
the writer's thread too, so counting is under a lock.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from receiver.model import Work
from receiver.store.deliveries import RETRY_LANE

UNPROVEN = 4


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
    lanes: "list[tuple[Work, Lane]]" = field(default_factory=list)

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
    half: bool = False
    in_flight: int = 0
    hold_until: float = 0.0
    blocked: bool = False
    waiting: int = 0
    promised: int = 0

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
        rivals = [lane for work, lane in self.slots.lanes if work is not self.work and lane.wants(now)]
        if rivals:
            half = (self.slots.ours + 1) // 2
            most = min(most, half)
            last = self.slots.last is self.work and self.slots.room(now) <= 1
            if last and any(lane.in_flight < half for lane in rivals):
                return 0
        return most - self.in_flight


@dataclass(slots=True)
class Lanes:
    """Every lane, made when it is first met."""

    make: Callable[[Work, str], Slots]
    monotonic: Callable[[], float]
    _slots: dict[tuple[bool, str], Slots] = field(default_factory=dict)
    _lanes: dict[tuple[Work, str], Lane] = field(default_factory=dict)
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
            return self._lane(work, name).room(self.monotonic())

    def opens_in(self, work: Work, name: str) -> float | None:
        """Seconds until one of this lane may start, 0 where it may; None where another has to end first."""
        with self._lock:
            return self._lane(work, name).opens_in(self.monotonic())

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
                lane.waiting += 1
                return False
            self._take(lane)
            return True

    def release(self, name: str, work: Work = Work.DELIVER) -> Sequence[Work]:
        """Count one that ended; the kinds of work that wait for its slot, the others before its own."""
        with self._lock:
            lane = self._lane(work, name)
            lane.in_flight -= 1
            lane.slots.in_flight -= 1
            waiting = {kind for kind, one in lane.slots.lanes if one.waiting}
            return sorted(waiting, key=lambda kind: (kind is work, kind))

    def others(self, work: Work, name: str) -> Sequence[Work]:
        """Return the other kinds of work that wait for the slots of a lane."""
        with self._lock:
            lanes = self._lane(work, name).slots.lanes
            return sorted({kind for kind, one in lanes if kind is not work and one.waiting})

    def wait(self, work: Work, name: str) -> int:
        """Note that something of this lane waits, or may; how often that was noted."""
        with self._lock:
            lane = self._lane(work, name)
            lane.waiting += 1
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
            found = [(name, lane.waiting) for (kind, name), lane in self._lanes.items() if kind is work]
        return {name: count for name, count in found if count}

    def drained(self, work: Work, name: str, noted: int) -> bool:
        """A claim left nothing of this lane waiting; False where more was noted than the claim knew of."""
        with self._lock:
            lane = self._lane(work, name)
            if lane.waiting == noted:
                lane.waiting = 0
            return lane.waiting == 0

    def succeeded(self, name: str) -> None:
        """An endpoint took a delivery: it may have one more at once."""
        with self._lock:
            slots = self._lane(Work.DELIVER, name).slots
            slots.allowed = min(slots.top, slots.allowed + 1)

    def failed(self, name: str) -> None:
        """An endpoint failed: it is held to a few until it proves itself again."""
        with self._lock:
            slots = self._lane(Work.DELIVER, name).slots
            slots.allowed = min(slots.top, UNPROVEN)

    def hold(self, work: Work, name: str, seconds: float) -> None:
        """Let nothing of this lane, its retries included, start for a while."""
        until = self.monotonic() + seconds
        with self._lock:
            for one in {name, _plain(name), _plain(name) + RETRY_LANE}:
                lane = self._lane(work, one)
                lane.hold_until = max(lane.hold_until, until)

    def let_go(self, name: str, top: int | None = None) -> None:
        """End an endpoint's hold; with `top`, it may have so many at once from now on."""
        with self._lock:
            for one in (name, name + RETRY_LANE):
                lane = self._lane(Work.DELIVER, one)
                lane.hold_until = 0.0
            if top is not None:
                lane.slots.top = top
                lane.slots.allowed = min(lane.slots.allowed, top)

    def block(self, name: str, *, blocked: bool, probe_in: float = 0.0) -> None:
        """Close an account's submissions but for one probe at a time, or open them again."""
        with self._lock:
            lane = self._lane(Work.SUBMIT, name)
            lane.blocked = blocked
            lane.hold_until = self.monotonic() + probe_in if blocked else 0.0

    def _lane(self, work: Work, name: str) -> Lane:
        lane = self._lanes.get((work, name))
        if lane is None:
            plain = _plain(name)
            kind = (work is Work.DELIVER, plain)
            slots = self._slots.get(kind)
            if slots is None:
                slots = self._slots[kind] = self.make(work, plain)
                slots.live = self._live
            lane = self._lanes[work, name] = Lane(slots, work, half=name != plain)
            slots.lanes.append((work, lane))
        return lane

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


def _plain(name: str) -> str:
    return name.removesuffix(RETRY_LANE)
