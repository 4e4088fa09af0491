"""Partitions of history by time, on PostgreSQL: created ahead, dropped whole once everything in them is old.

Why: receiver/README.md#history-in-partitions
"""

from collections.abc import Iterable, Iterator, Sequence

from handlers.values import immutable
from receiver.store.events import note_issued, note_removed_between
from receiver.store.rows import first_id
from receiver.store.statements import Transaction, query

DAY = 86_400_000
"""Milliseconds of a day. Partitions begin and end at midnight UTC."""
PAGE = 5_000
"""Jobs that one query of `busy` reads, at most."""


@immutable
class Part:
    """A partition: the history that began from `low` to before `high`, in milliseconds since 1970.

    The id by which a row is kept begins with its time: an event by its own, evidence by its job's, a delivery
    and its attempts by the delivery's.
    """

    low: int
    high: int

    def ids(self, kind: str) -> dict[str, str]:
        """Return the range of ids of a kind in this partition: from `low` to before `high`."""
        return {"low": first_id(kind, self.low), "high": first_id(kind, self.high)}

    def overdue(self, before: int) -> bool:
        """Return whether the partition ended before `before` by at least its own length."""
        return 2 * self.high - self.low <= before


def parts() -> Transaction[Sequence[Part]]:
    """Return the existing partitions, oldest first."""
    found = yield query("select low, high from history order by low")
    return [Part(row["low"], row["high"]) for row in found]


def gaps(found: Sequence[Part], since: int, until: int, width: int) -> Iterator[Part]:
    """Yield the partitions missing from `since` to `until` (milliseconds), each at most `width` days long."""
    low = since // DAY * DAY
    while low < until:
        there = next((part for part in found if part.low <= low < part.high), None)
        if there is None:
            # A new partition ends where the next existing one begins: PostgreSQL refuses overlapping ranges.
            there = Part(low, min([low + width * DAY, *(part.low for part in found if part.low > low)]))
            yield there
        low = there.high


def make(missing: Iterable[Part]) -> Transaction[None]:
    """Create partitions. Those that another replica has created meanwhile are kept."""
    for part in missing:
        yield query("select make_history(:low, :high)", low=part.low, high=part.high)


def busy(part: Part, before: int) -> Transaction[bool]:
    """Return whether a partition must be kept: it has a job that is open or ended at `before` or later, or a
    delivery that is still due.
    """
    ids = part.ids("job")
    place = ids["high"]
    # Newest first: the newest jobs are the likeliest to be open, so the first page usually decides.
    while place:
        found = yield query(
            "select id, completed_at from job where id >= :low and id < :high order by id desc limit :page",
            low=ids["low"],
            high=place,
            page=PAGE,
        )
        if any(row["completed_at"] is None or row["completed_at"] >= before for row in found):
            return True
        place = found[-1]["id"] if len(found) == PAGE else ""
    return (yield from owed(part))


def owed(part: Part) -> Transaction[bool]:
    """Return whether a delivery in this partition, or of an event in it, is still due."""
    for kind, sql in OWED.items():
        if (yield query(sql, **part.ids(kind))):
            return True
    return False


def drop(part: Part) -> Transaction[bool]:
    """Drop a partition, unless a delivery of it is due by now. Returns whether it was dropped."""
    # Checked again: a delivery may have become due since `busy` ran in a transaction of its own.
    if (yield from owed(part)):
        return False
    # Before the drop, because the feed's marks are computed from the events that it removes.
    yield from note_issued()
    yield from note_removed_between(**part.ids("evt"))
    yield query("select drop_history(:low)", low=part.low)
    return True


OWED = {
    "dlv": "select 1 as owed from due where id >= :low and id < :high limit 1",
    "evt": (
        "select 1 as owed from due join delivery on delivery.id = due.id where due.id >= 'dlv_' "
        "and due.id < 'dlv_g' and delivery.event >= :low and delivery.event < :high limit 1"
    ),
}
