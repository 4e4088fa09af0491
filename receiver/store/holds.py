"""Holds: until when lanes are left alone, known to every replica and kept over a restart."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from receiver.store.due import plain
from receiver.store.statements import Transaction, moment, ms, query


def hold(lanes: Sequence[tuple[str, datetime]]) -> Transaction[None]:
    """Leave lanes alone until a moment, or until the later one that was noted before."""
    for lane, until in sorted(lanes):
        yield query(
            "insert into hold values (:lane, :until) on conflict (lane) do update set until = "
            "case when hold.until < excluded.until then excluded.until else hold.until end",
            lane=lane,
            until=ms(until),
        )


def held(now: datetime, limit: int) -> Transaction[dict[str, datetime]]:
    """The lanes that are left alone, and until when; the longest holds where there are more than `limit`."""
    found = yield query(
        "select lane, until from hold where until > :now order by until desc limit :limit",
        now=ms(now),
        limit=limit,
    )
    return {row["lane"]: moment(row["until"]) for row in found}


def let_go(lane: str) -> Transaction[None]:
    """Leave a lane alone no longer."""
    yield query("delete from hold where lane = :lane", lane=lane)


def forget(now: datetime) -> Transaction[None]:
    """Remove the holds that are over."""
    yield query("delete from hold where until <= :now", now=ms(now))


def hold_of(lane: str, url: str | None) -> str:
    """Return the name to hold when a delivery of `lane` is told to wait: an endpoint's lane, or a job's own
    callback URL and not all of its host. The URL itself may be a secret."""
    if url is None:
        return plain(lane)
    return f"{plain(lane)}#{hashlib.sha256(url.encode()).hexdigest()[:16]}"
