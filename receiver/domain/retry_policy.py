"""The retry policy of deliveries: the answer table of the public contract."""

import enum
from collections.abc import Sequence
from datetime import datetime, timedelta

from handlers.values import immutable

SLOW_DOWN = frozenset({429, 502, 503, 504})
"""HTTP statuses of an overloaded or unavailable receiver: they hold the whole lane, not only the delivery."""
HINT_CEILING = timedelta(hours=24)
"""The longest `Retry-After` that is honoured: without a bound, one header could hold a lane for years."""
JITTER = 0.1
"""The largest fraction of a planned pause that is added to it at random, to spread deliveries that failed
together. It is never subtracted, so a retry is never earlier than the schedule says.
"""
ASKED = "the endpoint asked to be disabled"
GONE = "the endpoint answered 410 Gone"
ABORTED = "the endpoint answered abort-message"
"""Reasons that are stored with a delivery; the first two also with the endpoint that they disable."""


class AttemptOutcome(enum.Enum):
    """The effect of an attempt on its delivery."""

    DELIVERED = "delivered"
    RETRY = "retry"
    EXHAUSTED = "exhausted"
    CANCELED = "canceled"


@immutable(kw_only=True)
class Decision:
    """The consequences of an attempt for the delivery and its endpoint.

    `next_at` is the moment of the next attempt; `hold` is the time for which the whole lane is left alone;
    `disable` is the reason to disable the endpoint; `reason` is the reason why the delivery ends.
    """

    outcome: AttemptOutcome
    next_at: datetime | None = None
    hold: timedelta | None = None
    disable: str | None = None
    reason: str | None = None


def decide(
    status: int | None,
    delivery_control: str | None,
    retry_after: timedelta | None,
    *,
    tries: int,
    now: datetime,
    schedule: Sequence[float],
    jitter: float,
    current: bool = True,
) -> Decision:
    """Return the consequences of the answer `status` (None: no answer) to attempt number `tries`, from 1.

    `delivery_control` is the answer's `webhook-delivery` header, `retry_after` its `Retry-After`.
    `jitter` lies in 0..1.
    An answer that is not `current` belongs to a request sent before the endpoint was changed or resumed: a
    success counts without its directive, any other answer counts as none.
    """
    # An old URL must not disable or slow a new one. Why: receiver/README.md#an-answer-counts-for-its-endpoint
    if not current and not (status is not None and 200 <= status < 300):
        status, delivery_control, retry_after = None, None, None
    word = (delivery_control or "").strip().lower()
    # A success comes first: the event has arrived, so `abort-message` has nothing left to cancel.
    if status is not None and 200 <= status < 300:
        disable = ASKED if word == "disable" and current else None
        return Decision(outcome=AttemptOutcome.DELIVERED, disable=disable, reason=disable)
    if status == 410:
        return Decision(outcome=AttemptOutcome.CANCELED, disable=GONE, reason=GONE)
    if word == "disable":
        return Decision(outcome=AttemptOutcome.CANCELED, disable=ASKED, reason=ASKED)
    if word == "abort-message":
        return Decision(outcome=AttemptOutcome.CANCELED, reason=ABORTED)
    wait = min(retry_after, HINT_CEILING) if retry_after is not None else timedelta()
    slow = status in SLOW_DOWN
    hold = max(wait, timedelta(seconds=schedule[0] if schedule else 0)) if slow else None
    # The hold is kept: this delivery ends, but others of the same lane are still due.
    if tries > len(schedule):
        return Decision(outcome=AttemptOutcome.EXHAUSTED, hold=hold)
    planned = timedelta(seconds=schedule[tries - 1] * (1 + JITTER * jitter))
    return Decision(outcome=AttemptOutcome.RETRY, next_at=now + max(planned, wait), hold=hold)
