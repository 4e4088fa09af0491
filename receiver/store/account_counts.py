"""The events of each account, counted by the minute: every replica adds to the same rows."""

from collections import Counter
from collections.abc import Mapping

from receiver.store.statements import Transaction, query

Counts = Mapping[tuple[str, int, str], int]


def add(counts: Counts, oldest: int) -> Transaction[None]:
    """Add counts by account, minute and word, and forget every minute before `oldest`."""
    for (account, minute, what), count in sorted(counts.items()):
        yield query(
            "insert into tally values (:account, :minute, :what, :count) on conflict (account, minute, what) "
            "do update set count = tally.count + excluded.count",
            account=account,
            minute=minute,
            what=what,
            count=count,
        )
    yield query("delete from tally where minute < :oldest", oldest=oldest)


def totals(oldest: int) -> Transaction[dict[str, Counter[str]]]:
    """Return the counts since a minute, by account."""
    found = yield query(
        "select account, what, sum(count) as total from tally where minute >= :oldest group by account, what",
        oldest=oldest,
    )
    told: dict[str, Counter[str]] = {}
    for row in found:
        told.setdefault(row["account"], Counter())[row["what"]] = int(row["total"])
    return told
