"""History in parts by time, where the engine has them: made ahead, dropped whole once all of it is old."""

from collections.abc import Iterable, Iterator, Sequence

from handlers.values import immutable
from receiver.store.events import note_issued, note_removed_between
from receiver.store.rows import first_id
from receiver.store.statements import Transaction, query

DAY = 86_400_000
"""Milliseconds; parts begin and end with a day, UTC."""
PAGE = 5_000


@immutable
class Part:
    """What began between two moments, in milliseconds: jobs' events and evidence by the job, deliveries and
    their attempts by the delivery.
    """

    low: int
    high: int

    def ids(self, kind: str) -> dict[str, str]:
        """The ids of a kind that lie in it, from `low` to before `high`."""
        return {"low": first_id(kind, self.low), "high": first_id(kind, self.high)}

    def overdue(self, before: int) -> bool:
        """Whether it should have gone before a moment, and as long ago as it is long."""
        return 2 * self.high - self.low <= before


def parts() -> Transaction[Sequence[Part]]:
    """The parts that there are, oldest first."""
    found = yield query("select low, high from history order by low")
    return [Part(row["low"], row["high"]) for row in found]


def gaps(found: Sequence[Part], since: int, until: int, width: int) -> Iterator[Part]:
    """What is missing for everything from one moment to another, in parts of at most so many days."""
    low = since // DAY * DAY
    while low < until:
        there = next((part for part in found if part.low <= low < part.high), None)
        if there is None:
            there = Part(low, min([low + width * DAY, *(part.low for part in found if part.low > low)]))
            yield there
        low = there.high


def make(missing: Iterable[Part]) -> Transaction[None]:
    """Make parts; those that somebody else made meanwhile stay."""
    for part in missing:
        yield query("select make_history(:low, :high)", low=part.low, high=part.high)


def busy(part: Part, before: int) -> Transaction[bool]:
    """Whether a job of this part is open or ended only since a moment (the newest are the likeliest), or
    something of it is owed."""
    ids = part.ids("job")
    place = ids["high"]
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
    """Whether a delivery of this part, or of an event in it, is still to be made."""
    for kind, sql in OWED.items():
        if (yield query(sql, **part.ids(kind))):
            return True
    return False


def drop(part: Part) -> Transaction[bool]:
    """Remove a part, unless something of it is owed by now; whether it is gone."""
    if (yield from owed(part)):
        return False
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
