"""Lost deliveries: pending deliveries that retention canceled or removed, by target and reason."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from handlers.values import immutable
from receiver.store.deliveries import cancel
from receiver.store.rows import first_id
from receiver.store.statements import (
    Transaction,
    ms,
    query,
)


@immutable(kw_only=True)
class LostDelivery:
    """The deliveries that a target lost for one reason: their number, and first and last time in ms."""

    target: str
    reason: str
    count: int
    last_at: int


def outdated(before: datetime, limit: int) -> Transaction[list[tuple[str, str]]]:
    """Return pending deliveries that are older than a moment and not being sent, with their targets."""
    # Ids begin with their time, so a range of ids is a range of time. Why: receiver/README.md#hexadecimal-ids
    found = yield query(
        "select due.id, delivery.target from due join delivery on delivery.id = due.id "
        "where due.id >= :first and due.id < :before and due.leased = 0 order by due.id limit :limit",
        first=first_id("dlv", 0),
        before=first_id("dlv", ms(before)),
        limit=limit,
    )
    return [(row["id"], row["target"]) for row in found]


def lose(owed: Sequence[tuple[str, str]], reason: str, now: datetime) -> Transaction[Mapping[str, int]]:
    """Cancel deliveries and count them by target and reason. Returns the number lost now by target."""
    gone = yield from cancel([delivery for delivery, _ in owed], reason, now)
    lost = Counter(target for delivery, target in owed if delivery in gone)
    yield from count(lost, reason, now)
    return lost


def count(lost: Mapping[str, int], reason: str, now: datetime) -> Transaction[None]:
    """Add to the stored number of deliveries that each target lost for a reason."""
    for target, count in sorted(lost.items()):
        yield query(
            "insert into taken values (:target, :reason, :count, :now, :now) on conflict (target, reason) "
            "do update set count = taken.count + excluded.count, last_at = excluded.last_at",
            target=target,
            reason=reason,
            count=count,
            now=ms(now),
        )


def list_all() -> Transaction[list[LostDelivery]]:
    """Return the counts of lost deliveries, by target and reason."""
    found = yield query("select target, reason, count, last_at from taken order by target, reason")
    return [
        LostDelivery(target=target, reason=reason, count=count, last_at=at)
        for target, reason, count, at in found
    ]
