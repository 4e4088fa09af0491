"""Counts of the calls and events of each account, by minute: every replica adds to the same rows."""

from collections import Counter
from collections.abc import Mapping

from receiver.store.statements import Transaction, add_to, query

Counts = Mapping[tuple[str, int, str], int]


def add(counts: Counts, oldest: int) -> Transaction[None]:
    """Add counts by account, minute and kind, and delete every minute before `oldest`."""
    # Sorted, so that replicas that add to the same rows lock them in the same order.
    rows = [(*key, count) for key, count in sorted(counts.items())]
    yield add_to("tally", ("account", "minute", "what"), ("count",), rows)
    yield query("delete from tally where minute < :oldest", oldest=oldest)


def totals(oldest: int) -> Transaction[dict[str, Counter[str]]]:
    """Return the counts from the minute `oldest` on, by account and kind."""
    found = yield query(
        "select account, what, sum(count) as total from tally where minute >= :oldest group by account, what",
        oldest=oldest,
    )
    by_account: dict[str, Counter[str]] = {}
    for row in found:
        by_account.setdefault(row["account"], Counter())[row["what"]] = int(row["total"])
    return by_account
