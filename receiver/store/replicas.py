"""Replicas: who serves this database, and what those held who do no more."""

from collections.abc import Mapping
from datetime import datetime

from receiver.store.due import void_leases
from receiver.store.statements import Transaction, ms, rows


def alone() -> Transaction[None]:
    """Forget every other replica: the file is ours alone."""
    yield rows("delete from replica")


def seen() -> Transaction[dict[str, int]]:
    """Return when each replica said last that it is there."""
    found = yield rows("select id, seen_at from replica")
    return {row["id"]: row["seen_at"] for row in found}


def beat(replica: str, role: str, now: datetime, silent: Mapping[str, int]) -> Transaction[tuple[int, bool]]:
    """Say that a replica is there, and forget the `silent` ones, with their leases, unless they spoke since.

    Returns how many there are, and whether anything was taken back.
    """
    yield rows(
        "insert into replica values (:id, :role, :now) "
        "on conflict (id) do update set seen_at = excluded.seen_at",
        id=replica,
        role=role,
        now=ms(now),
    )
    gone = 0
    for name, at in silent.items():
        found = yield rows(
            "delete from replica where id = :id and seen_at = :at returning id", id=name, at=at
        )
        gone += len(found)
    taken = (yield from void_leases(now)) if gone else 0
    found = yield rows("select count(*) as live from replica where role <> 'api'")
    return max(1, found[0]["live"]), taken > 0


def join(replica: str, role: str, now: datetime, dead_before: datetime) -> Transaction[int]:
    """The first beat of a replica: it has watched none of the others, so the clock tells which are gone."""
    yield rows("delete from replica where seen_at < :dead", dead=ms(dead_before))
    live, _ = yield from beat(replica, role, now, {})
    yield from void_leases(now)
    return live


def listed() -> Transaction[list[str]]:
    """The replicas that serve this database."""
    found = yield rows("select id from replica order by id")
    return [row["id"] for row in found]


def leave(replica: str, now: datetime) -> Transaction[None]:
    """A replica stops: what it still holds is due at once."""
    yield rows("delete from replica where id = :id", id=replica)
    yield from void_leases(now)
