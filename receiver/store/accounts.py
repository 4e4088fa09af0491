"""Blocked provider accounts, with the time and the reason of each block."""

from datetime import datetime

from receiver.store.generation import bump
from receiver.store.statements import Transaction, insert, ms, one_or_none, query


def block(account: str, reason: str, now: datetime) -> Transaction[int | None]:
    """Mark an account as blocked. Returns the number of this block, None if it was blocked already."""
    # Before the read: its order lock keeps two replicas from both counting the same block.
    yield from bump()
    found = yield query("select blocked_at, blocks from account where name = :name", name=account)
    row = one_or_none(found)
    if row is not None and row["blocked_at"] is not None:
        return None
    count = (row["blocks"] if row else 0) + 1
    yield query("delete from account where name = :name", name=account)
    yield insert("account", [(account, ms(now), reason, count)])
    return count


def unblock(account: str) -> Transaction[int | None]:
    """Mark an account as working. Returns the number of the block that ended, None if it was not blocked."""
    yield from bump()
    found = yield query(
        "update account set blocked_at = null, reason = null where name = :name and blocked_at is not null "
        "returning blocks",
        name=account,
    )
    row = one_or_none(found)
    return None if row is None else int(row["blocks"])


def blocked() -> Transaction[dict[str, tuple[int, str]]]:
    """Return the blocked accounts: the time of the block, in milliseconds, and its reason, by name."""
    found = yield query("select name, blocked_at, reason from account where blocked_at is not null")
    return {row["name"]: (row["blocked_at"], row["reason"] or "") for row in found}
