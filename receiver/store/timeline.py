"""A job's timeline: its evidence, events, deliveries and attempts as one ordered list."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from handlers import json
from handlers.values import immutable
from receiver.domain.model import CALLBACK_TARGET
from receiver.store.statements import Row, Transaction, moment, query


@immutable(order=True)
class TimelinePlace:
    """A position in a timeline: by time, then by rank, so that an effect follows its cause, then by id."""

    at: int
    rank: int
    id: str


@immutable
class TimelineEntry:
    """An entry of a timeline. `details` holds its fields."""

    place: TimelinePlace
    kind: str
    details: dict[str, Any]

    @property
    def at(self) -> datetime:
        """Return the time of the entry."""
        return moment(self.place.at)


_EVIDENCE = """
select id, at, kind, outcome, told, count, last_at, length(body) as bytes from evidence
where job = :job and {behind} order by at, id limit :limit
"""
_EVENTS = "select id, at, type from event where job = :job and {behind} order by at, id limit :limit"
_DELIVERIES = """
select id, created_at as at, event, target, state from delivery
where event in (select id from event where job = :job) and {behind} order by created_at, id limit :limit
"""
_ATTEMPTS = """
select a.id, a.at, a.delivery, a.status, a.latency_ms, a.error from delivery d
join attempt a on a.delivery = d.id
where d.event in (select id from event where job = :job) and {behind} order by a.at, a.id limit :limit
"""
_SOURCES = ((0, _EVIDENCE), (2, _EVENTS), (3, _DELIVERIES), (4, _ATTEMPTS))
_COLUMNS = {0: ("at", "id"), 2: ("at", "id"), 3: ("created_at", "id"), 4: ("a.at", "a.id")}
_MOVED = "~"
"""The suffix of an update's id: the update sorts directly after the evidence that caused it."""


def timeline(job: str, after: TimelinePlace | None, limit: int) -> Transaction[list[TimelineEntry]]:
    """Return the entries after `after`, oldest first: `limit` of them, and one more when there are more."""
    place = after or TimelinePlace(-1, -1, "")
    entries: list[TimelineEntry] = []
    for rank, sql in _SOURCES:
        at, identity = _COLUMNS[rank]
        # `>=` reads the row at `after` again, because its update may still follow it. The limit is therefore
        # one row more than the `limit + 1` entries that are returned.
        same = f"{identity} >= :id" if rank == place.rank else f"{rank} > :rank"
        behind = f"({at} > :at or ({at} = :at and {same}))"
        found = yield query(
            sql.replace("{behind}", behind),
            job=job,
            limit=limit + 2,
            at=place.at,
            rank=place.rank,
            id=place.id.removesuffix(_MOVED),
        )
        for row in found:
            entries.extend(_entries(rank, row))
    later = sorted((entry for entry in entries if entry.place > place), key=lambda entry: entry.place)
    return later[: limit + 1]


def _entries(rank: int, row: Row) -> list[TimelineEntry]:
    place = TimelinePlace(row["at"], rank, row["id"])
    if rank == 2:
        return [TimelineEntry(place, "event", {"event": row["id"], "type": row["type"]})]
    if rank == 3:
        own = row["target"] == CALLBACK_TARGET
        fields = {
            "delivery": row["id"],
            "event": row["event"],
            "endpoint": None if own else row["target"],
            "state": row["state"],
        }
        return [TimelineEntry(place, "delivery", fields)]
    if rank == 4:
        fields = {
            "attempt": row["id"],
            "delivery": row["delivery"],
            "status": row["status"],
            "latency_ms": row["latency_ms"],
            "error": row["error"],
        }
        return [TimelineEntry(place, "attempt", fields)]
    return _evidence(place, row)


def _evidence(place: TimelinePlace, row: Row) -> list[TimelineEntry]:
    fields = json.read_object(row["told"].encode())
    moved: dict[str, Any] = {name: fields.pop(name) for name in ("from", "to") if name in fields}
    said = {"outcome": row["outcome"], **fields}
    if row["bytes"] is not None:
        said["bytes"] = row["bytes"]
    if row["count"] > 1:
        last = moment(row["last_at"]).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        said |= {"count": row["count"], "last_at": last}
    entries = [TimelineEntry(place, row["kind"], said)]
    if moved:
        entries.append(
            TimelineEntry(replace(place, id=place.id + _MOVED), "update", {**moved, "by": row["kind"]})
        )
    return entries
