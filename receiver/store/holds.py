"""Holds: the times until which lanes are left alone, shared by all replicas and kept over a restart."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from receiver.store.due import plain
from receiver.store.statements import Transaction, moment, ms, query


def hold(lanes: Sequence[tuple[str, datetime]]) -> Transaction[None]:
    """Hold lanes until a moment each; an earlier hold that ends later stays."""
    # Sorted, so that replicas that hold the same lanes lock their rows in the same order.
    for lane, until in sorted(lanes):
        yield query(
            "insert into hold values (:lane, :until) on conflict (lane) do update set until = "
            "case when hold.until < excluded.until then excluded.until else hold.until end",
            lane=lane,
            until=ms(until),
        )


def held(now: datetime, limit: int) -> Transaction[dict[str, datetime]]:
    """Return the held lanes with the end of each hold; the longest holds if there are more than `limit`."""
    found = yield query(
        "select lane, until from hold where until > :now order by until desc limit :limit",
        now=ms(now),
        limit=limit,
    )
    return {row["lane"]: moment(row["until"]) for row in found}


def let_go(lane: str) -> Transaction[None]:
    """End the hold of a lane."""
    yield query("delete from hold where lane = :lane", lane=lane)


def forget(now: datetime) -> Transaction[None]:
    """Remove the holds that have ended."""
    yield query("delete from hold where until <= :now", now=ms(now))


def hold_of(lane: str, url: str | None) -> str:
    """Return the name to hold when a delivery of `lane` must wait: the endpoint's lane, or the job's own
    callback URL (as a digest), not its whole host.
    """
    if url is None:
        return plain(lane)
    # A digest, because the URL may be a secret. Why: receiver/README.md#a-hold-is-a-row
    return f"{plain(lane)}#{hashlib.sha256(url.encode()).hexdigest()[:16]}"
