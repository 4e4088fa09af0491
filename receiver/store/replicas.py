"""Replicas: who serves this database, and what those held who do no more."""

from collections.abc import Mapping
from datetime import datetime

from handlers.values import immutable
from receiver.store.due import void_leases
from receiver.store.statements import Transaction, ms, query


def alone() -> Transaction[None]:
    """Forget every other replica: the file is ours alone."""
    yield query("delete from replica")


@immutable
class Present:
    """A replica that says that it is there. `kids` names its master keys, with blanks between."""

    id: str
    role: str
    kids: str
    at: datetime


def seen() -> Transaction[dict[str, int]]:
    """Return when each replica said last that it is there."""
    found = yield query("select id, seen_at from replica")
    return {row["id"]: row["seen_at"] for row in found}


def beat(replica: Present, silent: Mapping[str, int]) -> Transaction[tuple[int, bool]]:
    """Say that a replica is there, and forget the `silent` ones, with their leases, unless they spoke since.

    Returns how many there are, and whether anything was taken back.
    """
    yield query(
        "insert into replica (id, role, seen_at, kids) values (:id, :role, :now, :kids) "
        "on conflict (id) do update set seen_at = excluded.seen_at",
        id=replica.id,
        role=replica.role,
        now=ms(replica.at),
        kids=replica.kids,
    )
    gone = 0
    for name, at in silent.items():
        found = yield query(
            "delete from replica where id = :id and seen_at = :at returning id", id=name, at=at
        )
        gone += len(found)
    taken = (yield from void_leases(replica.at)) if gone else 0
    found = yield query("select count(*) as live from replica where role <> 'api'")
    return max(1, found[0]["live"]), taken > 0


def join(replica: Present, dead_before: datetime) -> Transaction[int]:
    """The first beat of a replica: it has watched none of the others, so the clock tells which are gone."""
    yield query("delete from replica where seen_at < :dead", dead=ms(dead_before))
    live, _ = yield from beat(replica, {})
    yield from void_leases(replica.at)
    return live


def without_key(kid: str, seen_since: datetime) -> Transaction[list[str]]:
    """Return the replicas seen since a moment that do not have a master key."""
    found = yield query(
        "select id, kids from replica where seen_at >= :since order by id", since=ms(seen_since)
    )
    return [row["id"] for row in found if kid not in row["kids"].split()]


def leave(replica: str, now: datetime) -> Transaction[None]:
    """A replica stops: what it still holds is due at once."""
    yield query("delete from replica where id = :id", id=replica)
    yield from void_leases(now)
