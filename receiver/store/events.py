"""Events: the feed in the order of their commits, and one event with where it went."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from handlers.values import immutable
from receiver.model import Event
from receiver.store.rows import read_event
from receiver.store.schema import named
from receiver.store.statements import Rows, Transaction, ms, rows, single

EVENT = named("event", numbered=True)


@immutable
class Page:
    """A piece of the feed. `after` is the place behind it; `lost` tells that the asked place is gone."""

    events: Sequence[Event]
    after: int
    more: bool
    lost: bool = False
    oldest: str | None = None


@immutable
class Whereabouts:
    """What became of one event at one endpoint, or at the job's own callback URL."""

    endpoint_id: str | None
    delivery_id: str | None
    status: str


def feed(
    after: int | str | None, types: Sequence[str], prefixes: Sequence[str], job: str | None, limit: int
) -> Transaction[Page]:
    """Events behind the place `after` (an event's id or a number), oldest first."""
    place = yield from _place(after)
    if place is None:
        oldest = single((yield rows("select id from event order by seq limit 1")))
        return Page((), 0, more=False, lost=True, oldest=oldest["id"] if oldest else None)
    conditions = ["seq > :place"]
    parameters: dict[str, Any] = {"place": place}
    if types or prefixes:
        wanted = ["type in (:types)"] if types else []
        wanted += [f"type like :prefix{index}" for index in range(len(prefixes))]
        parameters |= {f"prefix{index}": f"{prefix}%" for index, prefix in enumerate(prefixes)}
        if types:
            parameters["types"] = list(types)
        conditions.append(f"({' or '.join(wanted)})")
    if job is not None:
        conditions.append("job = :job")
        parameters["job"] = job
    found = yield rows(
        f"select {EVENT} from event where {' and '.join(conditions)} order by seq limit :limit",
        limit=limit + 1,
        **parameters,
    )
    page = found[:limit]
    last = page[-1]["seq"] if page else place
    return Page([read_event(row) for row in page], last, more=len(found) > limit)


def _place(after: int | str | None) -> Transaction[int | None]:
    if after is None:
        return 0
    if isinstance(after, str):
        row = single((yield rows("select seq from event where id = :id", id=after)))
        return None if row is None else int(row["seq"])
    if after == 0:
        return 0
    last = single((yield rows("select max(seq) as last from event")))
    found = yield rows("select key, value from meta where key in ('removed_until', 'issued_until')")
    marks = {row["key"]: int(row["value"]) for row in found}
    removed = marks.get("removed_until", 0)
    known = max((last["last"] or 0) if last else 0, *marks.values(), 0)
    return after if removed <= after <= known else None


def get(event_id: str) -> Transaction[tuple[Event, list[Whereabouts]] | None]:
    """One event with what became of it everywhere."""
    row = single((yield rows(f"select {EVENT} from event where id = :id", id=event_id)))
    if row is None:
        return None
    endpoints = yield rows("select id, state, created_at from endpoint where deleted_at is null order by id")
    found = yield rows("select id, target, state from delivery where event = :id order by id", id=event_id)
    deliveries = {one["target"]: one for one in found}
    places = []
    for endpoint in endpoints:
        mine = deliveries.pop(endpoint["id"], None)
        places.append(
            Whereabouts(endpoint["id"], mine["id"] if mine else None, _status(mine, endpoint["state"]))
        )
    for target, mine in deliveries.items():
        places.append(Whereabouts(None if target == "callback" else target, mine["id"], mine["state"]))
    return read_event(row), places


def _status(delivery: Any | None, endpoint_state: str) -> str:
    if delivery is None:
        return "not-subscribed"
    if delivery["state"] == "pending" and endpoint_state != "active":
        return endpoint_state
    return str(delivery["state"])


def prune(before: datetime, limit: int) -> Transaction[int]:
    """Remove events of no job that are older than a moment, with what was owed for them."""
    found = yield rows(
        "select id from event where job is null and at < :before order by at limit :limit",
        before=ms(before),
        limit=limit,
    )
    ids = [row["id"] for row in found]
    if ids:
        yield from _note_removed("id in (:ids)", ids)
        owned = "(select id from delivery where event in (:ids))"
        yield rows(f"delete from attempt where delivery in {owned}", ids=ids)
        yield rows(f"delete from due where id in {owned}", ids=ids)
        yield rows("delete from delivery where event in (:ids)", ids=ids)
        yield rows("delete from event where id in (:ids)", ids=ids)
    return len(ids)


def note_removed(job_ids: Sequence[str]) -> Transaction[None]:
    """Remember how far the feed is about to lose events, so that a reader's lost place is told as lost."""
    yield from _note_removed("job in (:ids)", list(job_ids))


def note_removed_between(low: str, high: str) -> Transaction[None]:
    """The same for all events between two ids."""
    found = yield rows(
        "select max(seq) as last from event where id >= :low and id < :high", low=low, high=high
    )
    yield from _raise_mark("removed_until", found)


def _note_removed(which: str, ids: list[str]) -> Transaction[None]:
    found = yield rows(f"select max(seq) as last from event where {which}", ids=ids)
    yield from _raise_mark("removed_until", found)


def note_issued() -> Transaction[None]:
    """Remember the newest place of the feed before it loses events: who has read so far lost nothing."""
    found = yield rows("select max(seq) as last from event")
    yield from _raise_mark("issued_until", found)


def _raise_mark(key: str, found: Rows) -> Transaction[None]:
    last = found[0]["last"] if found else None
    if last is not None:
        yield rows(
            "insert into meta values (:key, :last) on conflict (key) do update set "
            "value = :last where cast(meta.value as bigint) < cast(:last as bigint)",
            key=key,
            last=str(last),
        )
