"""Events: the feed in the order of commits, and single events with their deliveries."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from handlers import json
from handlers.values import immutable
from receiver.domain.model import CALLBACK_TARGET, Event
from receiver.domain.rendering import stamp
from receiver.domain.subscriptions import explain, unsubscribed
from receiver.store import endpoint_versions
from receiver.store.attempts import LAST
from receiver.store.endpoint_versions import EndpointVersion
from receiver.store.rows import read_event
from receiver.store.schema import named
from receiver.store.statements import Rows, Transaction, moment, ms, one_or_none, query

EVENT = named("event", numbered=True)
ROOM = 1 << 20
"""Bytes of events on a page after the first of them: messages of sources may have more than a MiB each."""
SCAN = 2_000
"""Maximum number of events that one read of the feed examines."""


@immutable(kw_only=True)
class Page:
    """A page of the feed, and the position `after` it.

    `lost`: the requested position no longer exists. `after` is then the position before the `oldest` event.
    """

    events: Sequence[Event]
    after: int
    more: bool
    lost: bool = False
    oldest: str | None = None


@immutable
class EventDelivery:
    """The outcome of one event at one endpoint, or at the job's own callback URL."""

    endpoint_id: str | None
    delivery_id: str | None
    status: str
    reason: str | None = None


def feed(
    after: int | str | None, types: Sequence[str], prefixes: Sequence[str], job: str | None, limit: int
) -> Transaction[Page]:
    """Return events after the position `after` (an event's id or a number), oldest first, from the next
    `SCAN` events. With `job` all later events of the job are searched.

    The position of the page is that of the last event examined, whether or not it matches.
    """
    place = yield from _place(after, job)
    if place is None:
        of_job = "where job = :job" if job is not None else ""
        oldest = one_or_none((yield query(f"select id from event {of_job} order by seq limit 1", **_of(job))))
        marks = yield from _marks()
        return Page(
            events=(),
            after=marks.get("removed_until", 0),
            more=False,
            lost=True,
            oldest=oldest["id"] if oldest else None,
        )
    reached = yield from (_end() if job is not None else _reached(place))
    conditions, parameters = _wanted(types, prefixes)
    if job is not None:
        conditions.append("job = :job")
        parameters["job"] = job
    parameters |= {"place": place, "last": max(place, reached.seq)}
    where = " and ".join(["seq > :place", "seq <= :last", *conditions])
    fits = yield from _fitting(where, parameters, limit)
    found = yield query(
        f"select {EVENT} from event where {where} order by seq limit :limit", **parameters, limit=fits + 1
    )
    page = found[:fits]
    if len(found) > fits:
        return Page(events=[read_event(row) for row in page], after=page[-1]["seq"], more=True)
    # A reader of a rare type keeps up with retention. Why: receiver/README.md#the-feed-says-how-far-it-looked
    return Page(events=[read_event(row) for row in page], after=max(place, reached.seq), more=reached.more)


def _of(job: str | None) -> dict[str, str]:
    return {} if job is None else {"job": job}


def _fitting(where: str, parameters: Mapping[str, Any], limit: int) -> Transaction[int]:
    """Return the number of events, at most `limit` and at least one, that together fit into `ROOM`."""
    sizes = yield query(
        f"select length(body) as size from event where {where} order by seq limit :limit",
        **parameters,
        limit=limit,
    )
    total = 0
    for count, row in enumerate(sizes):
        total += row["size"]
        if total > ROOM and count:
            return count
    return limit


@immutable
class _Reached:
    """The position of the last event to examine, and whether others may follow it."""

    seq: int
    more: bool


def _reached(place: int) -> Transaction[_Reached]:
    found = yield query(
        "select max(seq) as last, count(*) as many from "
        "(select seq from event where seq > :place order by seq limit :scan) looked",
        place=place,
        scan=SCAN,
    )
    return _Reached(found[0]["last"] or 0, found[0]["many"] == SCAN)


def _end() -> Transaction[_Reached]:
    found = yield query("select max(seq) as last from event")
    return _Reached(found[0]["last"] or 0, more=False)


def _wanted(types: Sequence[str], prefixes: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Return the conditions for these types, and their parameters."""
    if not (types or prefixes):
        return [], {}
    wanted = ["type in (:types)"] if types else []
    wanted += [f"type like :prefix{index} escape '!'" for index in range(len(prefixes))]
    bound: dict[str, Any] = {f"prefix{index}": _beginning(prefix) for index, prefix in enumerate(prefixes)}
    if types:
        bound["types"] = list(types)
    return [f"({' or '.join(wanted)})"], bound


def _beginning(prefix: str) -> str:
    """Return the pattern of texts that begin with `prefix`. The name of a source may hold an underscore."""
    return prefix.replace("!", "!!").replace("%", "!%").replace("_", "!_") + "%"


def _place(after: int | str | None, job: str | None) -> Transaction[int | None]:
    if after is None:
        return 0
    # The events of a job stay as long as the job does, whatever was removed around them.
    if job is not None and isinstance(after, int):
        return after
    marks = yield from _marks()
    removed = marks.get("removed_until", 0)
    if isinstance(after, str):
        row = one_or_none((yield query("select seq from event where id = :id", id=after)))
        if row is not None:
            return int(row["seq"])
        row = one_or_none((yield query("select place from erased where id = :id", id=after)))
        return None if row is None or row["place"] < removed else int(row["place"])
    # The newest events may have been removed since: `issued_until` shows that their positions existed.
    last = one_or_none((yield query("select max(seq) as last from event")))
    known = max((last["last"] or 0) if last else 0, *marks.values(), 0)
    return after if removed <= after <= known else None


def _marks() -> Transaction[dict[str, int]]:
    found = yield query("select key, value from meta where key in ('removed_until', 'issued_until')")
    return {row["key"]: int(row["value"]) for row in found}


@immutable
class End:
    """The end of the feed: the position of the newest event, and its id where it still exists."""

    seq: int
    id: str | None


def mark() -> Transaction[str]:
    """Return the mark of the feed, by which its places are told from those of another deployment."""
    found = yield query("select value from meta where key = 'feed'")
    return str(found[0]["value"])


def end() -> Transaction[End]:
    """Return the end of the feed."""
    newest = one_or_none((yield query("select seq, id from event order by seq desc limit 1")))
    marks = yield from _marks()
    issued = max(marks.values(), default=0)
    if newest is None or newest["seq"] < issued:
        return End(issued, None)
    return End(newest["seq"], newest["id"])


def tail(after: int, limit: int) -> Transaction[tuple[list[tuple[int, Event]], bool]]:
    """Return the next events of any kind after a position, oldest first, and whether there may be more.

    Each event comes with its position.
    """
    fits = yield from _fitting("seq > :after", {"after": after}, limit)
    found = yield query(
        f"select {EVENT} from event where seq > :after order by seq limit :limit", after=after, limit=fits
    )
    return [(row["seq"], read_event(row)) for row in found], len(found) == fits


def since(moment: datetime) -> Transaction[int]:
    """Return the position before the first event from `moment` on. Events are searched by halves.

    The moments of events follow their positions, but for the moments in which two were recorded at once.
    """
    marks = yield from _marks()
    low, high = marks.get("removed_until", 0), (yield from end()).seq
    while low < high:
        middle = (low + high) // 2
        found = yield query(
            "select seq, at from event where seq > :middle order by seq limit 1", middle=middle
        )
        # Between `middle` and the event found, positions are empty.
        if found and found[0]["at"] < ms(moment):
            low = found[0]["seq"]
        else:
            high = middle
    return low


def one(event_id: str) -> Transaction[Event | None]:
    """Return an event, None if it does not exist."""
    row = one_or_none((yield query(f"select {EVENT} from event where id = :id", id=event_id)))
    return None if row is None else read_event(row)


def get(event_id: str, now: datetime) -> Transaction[tuple[Event, list[EventDelivery]] | None]:
    """Return an event with its outcome at every endpoint, None if it does not exist."""
    row = one_or_none((yield query(f"select {EVENT} from event where id = :id", id=event_id)))
    if row is None:
        return None
    endpoints = yield query(
        "select e.id, e.state, e.disabled_reason, e.created_at, h.until as held_until from endpoint e "
        "left join hold h on h.lane = e.id and h.until > :now where e.deleted_at is null order by e.id",
        now=ms(now),
    )
    versions = yield from endpoint_versions.at(row["seq"])
    found = yield query(
        f"select d.id, d.target, d.state, d.reason, {LAST.format('status')} as status, "
        f"{LAST.format('error')} as error from delivery d where d.event = :id order by d.id",
        id=event_id,
    )
    deliveries: dict[str, Any] = {}
    for delivery in found:
        known = deliveries.get(delivery["target"])
        # It went, even if a later replay of it did not.
        if known is None or known["state"] != "delivered" or delivery["state"] == "delivered":
            deliveries[delivery["target"]] = delivery
    event, places = read_event(row), []
    for endpoint in endpoints:
        mine = deliveries.pop(endpoint["id"], None)
        if mine is None:
            places.append(_undelivered(endpoint, versions.get(endpoint["id"]), event))
        else:
            places.append(_delivered(endpoint["id"], mine, endpoint))
    # Left over: deliveries to removed endpoints and to the job's callback URL.
    for target, mine in deliveries.items():
        places.append(_delivered(None if target == CALLBACK_TARGET else target, mine, None))
    return event, places


def _delivered(endpoint_id: str | None, delivery: Any, endpoint: Any | None) -> EventDelivery:
    """Return the outcome of an event that has a delivery to this endpoint."""
    status, reason = delivery["state"], delivery["reason"]
    if status == "pending":
        if endpoint is not None and endpoint["state"] != "active":
            status, reason = endpoint["state"], endpoint["disabled_reason"]
        elif delivery["error"] is not None:
            reason = f"the last attempt failed: {delivery['error']}"
        elif delivery["status"] is not None:
            reason = f"the last attempt was answered {delivery['status']}"
        if status == "pending" and endpoint is not None and endpoint["held_until"] is not None:
            held = f"the endpoint is left alone until {stamp(moment(endpoint['held_until']))}"
            reason = f"{reason}; {held}" if reason else f"{held}, because deliveries to it fail"
    elif status == "exhausted" and reason is None:
        reason = f"the last attempt was answered {delivery['status']}"
    return EventDelivery(endpoint_id, delivery["id"], status, reason)


def _undelivered(endpoint: Any, version: EndpointVersion | None, event: Event) -> EventDelivery:
    """Return the reason why an event has no delivery to an endpoint, which had this version at its time."""
    endpoint_id = endpoint["id"]
    # Endpoints from before versions were kept have one since the first event.
    if version is None or (version.since == 0 and endpoint["created_at"] > ms(event.at)):
        return EventDelivery(endpoint_id, None, "created-later", "it was created after the event")
    data = json.read_object(bytes(event.body))["data"]
    reason = unsubscribed(version.events, event.type, data, endpoint_id)
    if reason is not None:
        return EventDelivery(endpoint_id, None, "not-subscribed", reason)
    because = explain(version.events, version.filter, event.type, data, endpoint_id)
    if not because.matches:
        return EventDelivery(endpoint_id, None, "filtered", because.reason)
    return EventDelivery(endpoint_id, None, "canceled", "retention removed its delivery")


def old(before: datetime, limit: int) -> Transaction[list[tuple[str, int]]]:
    """Return events without a job that are older than a moment, each with its number of deliveries."""
    found = yield query(
        "select e.id, (select count(*) from delivery d where d.event = e.id) as many from event e "
        "where e.job is null and e.at < :before order by e.at limit :limit",
        before=ms(before),
        limit=limit,
    )
    return [(row["id"], row["many"]) for row in found]


def remove(ids: Sequence[str]) -> Transaction[None]:
    """Remove events without a job that are older than the retention."""
    yield from note_removed_events(ids)
    yield query("delete from event where id in (:ids)", ids=list(ids))


def note_removed(job_ids: Sequence[str]) -> Transaction[None]:
    """Store the position up to which events are removed, so that a reader before it learns of the loss."""
    yield from _note_removed("job in (:ids)", list(job_ids))


def note_removed_events(ids: Sequence[str]) -> Transaction[None]:
    """Do the same as `note_removed` for events by their ids."""
    yield from _note_removed("id in (:ids)", list(ids))


def remember_places(ids: Sequence[str], now: datetime) -> Transaction[None]:
    """Keep the feed positions of events that are erased by hand, so that a reader at one can continue."""
    yield query(
        "insert into erased (id, place, at) select id, seq, :now from event where id in (:ids) "
        "on conflict (id) do nothing",
        ids=list(ids),
        now=ms(now),
    )


def forget_places(before: datetime) -> Transaction[None]:
    """Delete the feed positions of events that were erased before a moment."""
    yield query("delete from erased where at < :before", before=ms(before))


def note_removed_between(low: str, high: str) -> Transaction[None]:
    """Do the same as `note_removed` for all events from the id `low` to before `high`."""
    found = yield query(
        "select max(seq) as last from event where id >= :low and id < :high", low=low, high=high
    )
    yield from _raise_mark("removed_until", found)


def _note_removed(which: str, ids: list[str]) -> Transaction[None]:
    found = yield query(f"select max(seq) as last from event where {which}", ids=ids)
    yield from _raise_mark("removed_until", found)


def note_issued() -> Transaction[None]:
    """Store the newest feed position before events are removed: a reader that stands there lost nothing."""
    found = yield query("select max(seq) as last from event")
    yield from _raise_mark("issued_until", found)


def _raise_mark(key: str, found: Rows) -> Transaction[None]:
    last = found[0]["last"] if found else None
    if last is not None:
        yield query(
            "insert into meta values (:key, :last) on conflict (key) do update set "
            "value = :last where cast(meta.value as bigint) < cast(:last as bigint)",
            key=key,
            last=str(last),
        )
