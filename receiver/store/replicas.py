"""Replicas: the processes that serve this database, and the leases of those that have gone."""

from collections.abc import Mapping
from datetime import datetime

from handlers.values import immutable
from receiver.store.due import void_leases
from receiver.store.statements import Transaction, ms, query


def alone() -> Transaction[None]:
    """Remove every replica: this process is the only one that serves the file."""
    yield query("delete from replica")


@immutable
class Present:
    """A heartbeat of a replica. `kids` holds the ids of its master keys, separated by spaces."""

    id: str
    role: str
    kids: str
    at: datetime


def seen() -> Transaction[dict[str, int]]:
    """Return the time of the last heartbeat of each replica, in milliseconds, by id."""
    found = yield query("select id, seen_at from replica")
    return {row["id"]: row["seen_at"] for row in found}


def beat(replica: Present, silent: Mapping[str, int]) -> Transaction[tuple[int, bool]]:
    """Store a heartbeat, and remove the `silent` replicas with their leases, unless they sent one since.

    Returns the number of replicas that work (at least 1; the role `api` does not count), and whether any
    lease was taken back.
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
        # Equal, not older: after a step of a clock, a replica that works must not look silent and so lose
        # its leases. Why: receiver/README.md#no-clock-step-ends-anything
        found = yield query(
            "delete from replica where id = :id and seen_at = :at returning id", id=name, at=at
        )
        gone += len(found)
    reclaimed = (yield from void_leases(replica.at)) if gone else 0
    found = yield query("select count(*) as live from replica where role <> 'api'")
    return max(1, found[0]["live"]), reclaimed > 0


def join(replica: Present, dead_before: datetime) -> Transaction[int]:
    """Store the first heartbeat of a replica, and remove replicas without one since `dead_before`.

    A new replica has not observed the others yet, so it has only the clock to find those that are gone.
    Returns the number of replicas that work.
    """
    yield query("delete from replica where seen_at < :dead", dead=ms(dead_before))
    live, _ = yield from beat(replica, {})
    yield from void_leases(replica.at)
    return live


def without_key(kid: str, seen_since: datetime) -> Transaction[list[str]]:
    """Return the ids of replicas with a heartbeat at `seen_since` or later that lack the master key `kid`."""
    found = yield query(
        "select id, kids from replica where seen_at >= :since order by id", since=ms(seen_since)
    )
    return [row["id"] for row in found if kid not in row["kids"].split()]


def leave(replica: str, now: datetime) -> Transaction[None]:
    """Remove a replica that stops. Due work that it still holds is due at once."""
    yield query("delete from replica where id = :id", id=replica)
    yield from void_leases(now)
