"""Slots: how many calls may be under way at once, and which of the lanes that share them may start next.

An endpoint has 4 slots while it is unproven or failing, and one more with each success; an account has as
many as configured. Retries of a lane share its slots and take at most half.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from receiver.domain.model import MAX_IN_FLIGHT, Endpoint, Work
from receiver.store.due import HAND_LANES, REPLAY_LANE, RETRY_LANE, plain

UNPROVEN = 4
"""Slots of an endpoint or origin that has not proved itself, or that is failing."""
ENDPOINT_BURST = 0.25
"""Seconds of an endpoint's rate that may start at once: subscribers count their limits in short windows."""
UNPROVEN_PLACES = 512
"""The number of deliveries to unproven origins that may be under way, all origins together."""


@dataclass(slots=True)
class UnprovenOrigins:
    """The places for deliveries to unproven origins, which all of these origins share.

    Jobs name any number of origins. A few calls to each would be thousands at once, which wait for each
    other until their deadlines pass. While some deliveries are `behind` (waiting in the store), new ones
    queue after them.
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
        """Return whether some are behind and a quarter of the places is free: fewer are not worth a claim."""
        return self.behind and 4 * self.free >= self.places


@dataclass(slots=True, kw_only=True)
class ConcurrencyLimit:
    """The slots that the lanes of one endpoint or account share.

    `rate` is in calls per second; after a pause, calls of `burst` seconds may start at once.
    """

    max: int
    adaptive: bool = False
    rate: float | None = None
    burst: float = 1.0
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

    def count(self, *, started: int = 0, reserved: int = 0) -> None:
        """Count calls that start or end, and slots that a claim reserves or gives back."""
        self.in_flight += started
        self.reserved += reserved
        if (crowd := self._crowd) is not None:
            crowd.taken += started + reserved

    def allow(self, allowed: int) -> None:
        """Allow so many calls at once from now on, at most `max`."""
        before, in_use = self._crowd, self.in_flight + self.reserved
        self.current = min(self.max, allowed)
        if before is self._crowd or self.unproven is None:
            return
        # The origin has joined or left the unproven ones, and its calls under way are counted with it.
        self.unproven.taken += -in_use if before else in_use

    def limit(self, rate: float | None) -> None:
        """Allow so many calls per second from now on."""
        if rate != self.rate:
            # Anew: calls without a rate have taken tokens that were never refilled.
            self.rate, self.refilled_at = rate, 0.0

    @property
    def _crowd(self) -> UnprovenOrigins | None:
        """Return the places of unproven origins, or None if the origin of these slots has proved itself."""
        return self.unproven if self.current <= UNPROVEN else None

    @property
    def crowded_out(self) -> bool:
        """Return whether the origin is unproven and no place is free for one more call."""
        crowd = self._crowd
        return crowd is not None and not crowd.free

    @property
    def lines_up(self) -> bool:
        """Return whether a new delivery has to queue behind others to unproven origins."""
        crowd = self._crowd
        return crowd is not None and (crowd.behind or not crowd.free)

    @property
    def share(self) -> int:
        """Return this replica's part of the allowed slots, which all `live` replicas share."""
        # Rounded up, so that a replica has a slot even where there are fewer slots than replicas; all shares
        # together may exceed the limit. Why: receiver/README.md#caps-are-shared-by-counting-replicas
        return -(-self.current // self.live)

    @property
    def free(self) -> int:
        """Return how many slots are free, regardless of the rate."""
        free = self.share - self.in_flight - self.reserved
        crowd = self._crowd
        return free if crowd is None else min(free, crowd.free)

    def room(self, now: float) -> int:
        """Return how many calls may start now."""
        if self.rate is None:
            return self.free
        return min(self.free, int(self._refilled(now, self.rate / self.live)) - self.reserved)

    def token_in(self, now: float) -> float:
        """Return the seconds until the rate lets one more call start."""
        if self.rate is None:
            return 0.0
        rate = self.rate / self.live
        # Reserved slots take their tokens when their calls start, so these tokens have to come in first.
        return max(0.0, (1 + self.reserved - self._refilled(now, rate)) / rate)

    def _refilled(self, now: float, rate: float) -> float:
        # At least one token: a bucket smaller than that would never let a call start at a rate below 1/s.
        burst = max(1.0, rate * self.burst)
        if self.refilled_at == 0.0:
            self.tokens = burst
        else:
            self.tokens = min(burst, self.tokens + (now - self.refilled_at) * rate)
        self.refilled_at = now
        return self.tokens


def limit_of(endpoint: Endpoint | None) -> ConcurrencyLimit:
    """Return the slots of an endpoint, or with None those of a callback origin."""
    if endpoint is None:
        return ConcurrencyLimit(max=MAX_IN_FLIGHT, adaptive=True)
    return ConcurrencyLimit(
        max=endpoint.max_in_flight, adaptive=True, rate=endpoint.rate_limit, burst=ENDPOINT_BURST
    )


@dataclass(slots=True, kw_only=True)
class Lane:
    """One lane of one kind of work. While `blocked`, one probe at a time may start once the hold is over.

    `waiting` counts how often work was noted as waiting since a claim last left the lane empty. While it is
    above zero, new deliveries leave half of the slots to that work. Slots `reserved` for a running claim are
    not free.
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
        """Return whether the lane has nothing under way, waiting or reserved, and is not blocked."""
        return not (self.in_flight or self.waiting or self.reserved or self.blocked)

    def __post_init__(self) -> None:
        self.half = self.name.endswith((RETRY_LANE, REPLAY_LANE))
        by_hand = self.name.endswith(HAND_LANES)
        # Holds name plain lanes, so the full name of a lane for retries by hand finds none.
        self.held_as = (self.work, self.name if by_hand else plain(self.name))

    @property
    def hold_until(self) -> float:
        """Return when the hold of this lane ends; no hold applies to retries by hand."""
        return self.holds.get(self.held_as, 0.0)

    def room(self, now: float) -> int:
        """Return how many calls of this lane may start now."""
        if now < self.hold_until:
            return 0
        return max(0, min(self._share(now), self.slots.room(now)))

    def opens_in(self, now: float) -> float | None:
        """Return the seconds until a call may start, None where another has to end or take its turn first."""
        if min(self._share(now), self.slots.free) <= 0:
            return None
        return max(0.0, self.hold_until - now, self.slots.token_in(now))

    def wants(self, now: float) -> bool:
        """Return whether work of this lane waits that could start if it had a slot."""
        return bool(self.waiting) and now >= self.hold_until and not (self.blocked and self.in_flight)

    def _share(self, now: float) -> int:
        """Return how many more calls this lane's part of the slots allows.

        Where another kind of work waits for slots too, each kind has half of them, and the last one in turns:
        otherwise calls that hang for long would keep every slot.
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
            # The last slot or token goes to the kind that did not start last, unless that kind already has
            # its half of the slots. Why: receiver/README.md#kinds-of-work-take-turns
            last = self.slots.last is self.work and self.slots.room(now) <= 1
            if last and any(lane.in_flight < half for lane in rivals):
                return 0
        return most - self.in_flight
