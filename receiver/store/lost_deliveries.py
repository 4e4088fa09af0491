"""Lost deliveries: those that retention took although they were owed, counted by target and reason."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from handlers.values import immutable
from receiver.store.deliveries import cancel
from receiver.store.rows import first_id
from receiver.store.schema import named
from receiver.store.statements import (
    Transaction,
    ms,
    query,
)


@immutable
class LostDelivery:
    """How many deliveries a target lost for one reason, between which moments (in milliseconds)."""

    target: str
    reason: str
    count: int
    first_at: int
    last_at: int


def outdated(before: datetime, limit: int) -> Transaction[list[tuple[str, str]]]:
    """Deliveries that are owed since before a moment and that nobody sends just now, with their targets."""
    found = yield query(
        "select due.id, delivery.target from due join delivery on delivery.id = due.id "
        "where due.id >= :first and due.id < :before and due.leased = 0 order by due.id limit :limit",
        first=first_id("dlv", 0),
        before=first_id("dlv", ms(before)),
        limit=limit,
    )
    return [(row["id"], row["target"]) for row in found]


def lose(owed: Sequence[tuple[str, str]], reason: str, now: datetime) -> Transaction[Mapping[str, int]]:
    """Owe these no more, and keep a count of how many each target lost and why; those that it lost now."""
    gone = yield from cancel([delivery for delivery, _ in owed], reason, now)
    lost = Counter(target for delivery, target in owed if delivery in gone)
    yield from count(lost, reason, now)
    return lost


def count(lost: Mapping[str, int], reason: str, now: datetime) -> Transaction[None]:
    """Keep a count of how many deliveries each target lost, and why."""
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
    """What was owed and taken, by target."""
    found = yield query(f"select {named('taken')} from taken order by target, reason")
    return [LostDelivery(*row) for row in found]
