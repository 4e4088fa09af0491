"""Slots: how many calls may be under way at once, and which lane of those that share them has its turn.

An endpoint holds 4 while it is unproven or failing and one more with each success; an account is as wide as
configured. Retries of a lane share its slots and take at most half.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from receiver.domain.model import Work
from receiver.store.due import HAND_LANES, RETRY_LANE, plain

UNPROVEN = 4
UNPROVEN_PLACES = 512
"""How many deliveries to origins that have not proved themselves may be under way, all together."""


@dataclass(slots=True)
class UnprovenOrigins:
    """The deliveries to one-off callback origins that have not proved themselves, all together.

    Jobs name any number of origins. A few calls to each would be thousands at once, which wait for each other
    until their time is over. While some are `behind`, in the store, those that come line up after them.
    """

    places: int = UNPROVEN_PLACES
    taken: int = 0
    behind: bool = False

    @property
    def free(self) -> int:
        """Return how many more calls may start."""
        return max(0, self.places - self.taken)

    @property
    def opens(self) -> bool:
        """Return whether a claim for those behind is worth its cost: many places are free, not one."""
        return self.behind and 4 * self.free >= self.places


@dataclass(slots=True)
class ConcurrencyLimit:
    """Slots that the lanes of one endpoint or account share. `rate` is in calls per second."""

    max: int
    adaptive: bool = False
    rate: float | None = None
    live: int = 1
    last: Work | None = None
    current: int = 0
    in_flight: int = 0
    reserved: int = 0
    tokens: float = 0.0
    refilled_at: float = 0.0
    failing: bool = False
    unproven: UnprovenOrigins | None = None
    lanes: "list[Lane]" = field(default_factory=list)

    def __post_init__(self) -> None:
        self.current = min(self.max, UNPROVEN) if self.adaptive else self.max

    def count(self, *, started: int = 0, promised: int = 0) -> None:
        """Count calls that start or end, and slots that a claim keeps for itself or gives back."""
        self.in_flight += started
        self.reserved += promised
        if (crowd := self._crowd) is not None:
            crowd.taken += started + promised

    def allow(self, allowed: int) -> None:
        """Allow so many calls at once from now on, and never more than the top."""
        before, taken = self._crowd, self.in_flight + self.reserved
        self.current = min(self.max, allowed)
        if before is self._crowd or self.unproven is None:
            return
        self.unproven.taken += -taken if before else taken

    @property
    def _crowd(self) -> UnprovenOrigins | None:
        """Return the crowd that these slots belong to, None once their origin has proved itself."""
        return self.unproven if self.current <= UNPROVEN else None

    @property
    def crowded_out(self) -> bool:
        """Return whether the crowd has no place for one more call."""
        crowd = self._crowd
        return crowd is not None and not crowd.free

    @property
    def lines_up(self) -> bool:
        """Return whether a new delivery has to wait behind others of the crowd."""
        crowd = self._crowd
        return crowd is not None and (crowd.behind or not crowd.free)

    @property
    def share(self) -> int:
        """Return this replica's part of the allowed slots, which all `live` replicas share."""
        return -(-self.current // self.live)

    @property
    def free(self) -> int:
        """How many are not taken, whatever the rate says."""
        free = self.share - self.in_flight - self.reserved
        crowd = self._crowd
        return free if crowd is None else min(free, crowd.free)

    def room(self, now: float) -> int:
        """How many may start now."""
        if self.rate is None:
            return self.free
        return min(self.free, int(self._refilled(now, self.rate / self.live)) - self.reserved)

    def token_in(self, now: float) -> float:
        """Seconds until the rate lets one more start."""
        if self.rate is None:
            return 0.0
        rate = self.rate / self.live
        return max(0.0, (1 + self.reserved - self._refilled(now, rate)) / rate)

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
    deliveries leave it half of the lane. What is `reserved` to a claim that runs is no longer free.
    """

    slots: ConcurrencyLimit
    work: Work
    name: str
    holds: Mapping[tuple[Work, str], float] = field(repr=False)
    half: bool = field(init=False)
    held_as: tuple[Work, str] = field(init=False)
    in_flight: int = 0
    blocked: bool = False
    waiting: int = 0
    reserved: int = 0

    @property
    def idle(self) -> bool:
        """Whether nothing hangs on it."""
        return not (self.in_flight or self.waiting or self.reserved or self.blocked)

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
        most = self.slots.share
        if self.blocked:
            most = 1
        elif self.half:
            most = max(1, most // 2)
        rivals = [lane for lane in self.slots.lanes if lane.work is not self.work and lane.wants(now)]
        if rivals:
            half = (self.slots.share + 1) // 2
            most = min(most, half)
            last = self.slots.last is self.work and self.slots.room(now) <= 1
            if last and any(lane.in_flight < half for lane in rivals):
                return 0
        return most - self.in_flight
