"""Attempts: one row for each HTTP request of a delivery."""

from collections.abc import Sequence
from dataclasses import field
from datetime import datetime

from handlers.values import immutable
from receiver.store.statements import Transaction, insert, ms, query

LAST = "(select a.{} from attempt a where a.delivery = d.id order by a.id desc limit 1)"
"""A column of the last attempt of the delivery `d`, for a `select`."""


@immutable(kw_only=True)
class Attempt:
    """One HTTP request of a delivery. Without an answer, `error` names the stage and the cause."""

    id: str
    delivery_id: str
    at: datetime
    status: int | None
    latency_ms: float
    error: str | None = None
    answer: bytes = field(default=b"", repr=False)


def add_attempts(attempts: Sequence[tuple[Attempt, bool]]) -> Transaction[set[str]]:
    """Store attempts. Returns the ids of those that were stored already.

    That is by a commit that was never acknowledged, after which the attempt is stored once more.
    """
    again = [one for one, comes_again in attempts if comes_again]
    stored: set[str] = set()
    if again:
        # The delivery's id selects the partition. Why: receiver/README.md#history-in-partitions
        found = yield query(
            "select id from attempt where delivery in (:deliveries) and id in (:attempts)",
            deliveries=[one.delivery_id for one in again],
            attempts=[one.id for one in again],
        )
        stored = {row["id"] for row in found}
    yield insert(
        "attempt",
        [
            (one.id, one.delivery_id, ms(one.at), one.status, one.latency_ms, one.error, one.answer)
            for one, _ in attempts
            if one.id not in stored
        ],
    )
    return stored
