"""When to try a delivery again: the answer table of the contract, as data."""

import enum
from collections.abc import Sequence
from datetime import datetime, timedelta

from handlers.values import immutable

SLOW_DOWN = frozenset({429, 502, 503, 504})
HINT_CEILING = timedelta(hours=24)
JITTER = 0.1
ASKED = "the endpoint asked to be disabled"
GONE = "the endpoint answered 410 Gone"
ABORTED = "the endpoint answered abort-message"


class AttemptOutcome(enum.Enum):
    """What an attempt means for its delivery."""

    DELIVERED = "delivered"
    RETRY = "retry"
    EXHAUSTED = "exhausted"
    CANCELED = "canceled"


@immutable
class Decision:
    """What follows from an attempt: for the delivery, for its endpoint, and when to go on.

    `hold` keeps the whole lane still; `disable` is the reason to disable the endpoint; `reason` is why the
    delivery ends.
    """

    consequence: AttemptOutcome
    next_at: datetime | None = None
    hold: timedelta | None = None
    disable: str | None = None
    reason: str | None = None


def decide(
    status: int | None,
    asked: str | None,
    hint: timedelta | None,
    *,
    tries: int,
    now: datetime,
    schedule: Sequence[float],
    jitter: float,
    current: bool = True,
) -> Decision:
    """What follows from the answer `status` (None: no answer) to the attempt number `tries`, from 1.

    `asked` is the answer's `webhook-delivery` header, `hint` its `Retry-After`; `jitter` is in 0..1.
    An answer that is not `current` came from where the endpoint is no longer: it is only not delivered.
    """
    if not current and not (status is not None and 200 <= status < 300):
        status, asked, hint = None, None, None
    word = (asked or "").strip().lower()
    if status is not None and 200 <= status < 300:
        disable = ASKED if word == "disable" and current else None
        return Decision(AttemptOutcome.DELIVERED, disable=disable, reason=disable)
    if status == 410:
        return Decision(AttemptOutcome.CANCELED, disable=GONE, reason=GONE)
    if word == "disable":
        return Decision(AttemptOutcome.CANCELED, disable=ASKED, reason=ASKED)
    if word == "abort-message":
        return Decision(AttemptOutcome.CANCELED, reason=ABORTED)
    wait = min(hint, HINT_CEILING) if hint is not None else timedelta()
    slow = status in SLOW_DOWN
    hold = max(wait, timedelta(seconds=schedule[0] if schedule else 0)) if slow else None
    if tries > len(schedule):
        return Decision(AttemptOutcome.EXHAUSTED, hold=hold)
    planned = timedelta(seconds=schedule[tries - 1] * (1 + JITTER * jitter))
    return Decision(AttemptOutcome.RETRY, now + max(planned, wait), hold)
