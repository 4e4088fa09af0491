"""The leases of deliveries: longer than any attempt, so that a live sender never loses its claim."""

from collections.abc import Callable
from datetime import datetime, timedelta

from receiver.domain.clock import Clock
from receiver.domain.model import LONGEST_TIMEOUT


def lease_of(timeout: float) -> timedelta:
    """Return the lease for a delivery, with attempts of `timeout` seconds where the endpoint chooses none.

    It is longer than any attempt, so that a live sender never loses its claim.
    """
    return timedelta(seconds=max(timeout, LONGEST_TIMEOUT) + 15)


def leases(timeout: float, clock: Clock) -> Callable[[], tuple[datetime, float]]:
    """Return a function that returns the end of a lease that begins now, and that on the monotonic clock."""
    lease = lease_of(timeout)
    return lambda: (clock.now() + lease, clock.monotonic() + lease.total_seconds())
