"""The versions of endpoints: the events that each took, since which event.

An event that did not go to an endpoint was compared with the version of its time. So the reason is found when
somebody asks, and costs nothing when an event is recorded.
"""

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from handlers.values import immutable
from receiver.domain.filter_reader import stored_filter
from receiver.domain.filters import Filter
from receiver.store.statements import Transaction, one_or_none, query


@immutable
class EndpointVersion:
    """The event types and the filter of an endpoint for the events after the number `since`."""

    since: int
    events: tuple[str, ...]
    filter: Filter | None


def note(row: Mapping[str, Any]) -> Transaction[None]:
    """Store the version of a new or changed endpoint, from its row, unless the newest one is the same.

    The caller holds the order lock, so that no event is recorded meanwhile.
    """
    newest = one_or_none(
        (
            yield query(
                "select since, events, filter from endpoint_version where endpoint = :id "
                "order by since desc limit 1",
                id=row["id"],
            )
        )
    )
    if newest is not None and (newest["events"], newest["filter"]) == (row["events"], row["filter"]):
        return
    found = yield query(
        "select max(seq) as place from event union all "
        "select cast(value as bigint) from meta where key = 'issued_until'"
    )
    # Versions without an event between them are one, so there are at most as many as events.
    yield query(
        "insert into endpoint_version (endpoint, since, events, filter) "
        "values (:id, :since, :events, :filter) on conflict (endpoint, since) "
        "do update set events = :events, filter = :filter",
        id=row["id"],
        since=max((one["place"] or 0 for one in found), default=0),
        events=row["events"],
        filter=row["filter"],
    )


def at(place: int) -> Transaction[Mapping[str, EndpointVersion]]:
    """Return the version of each endpoint that the event with the number `place` was compared with."""
    found = yield query(
        "select v.endpoint, v.since, v.events, v.filter from endpoint e, endpoint_version v "
        "where e.deleted_at is null and v.endpoint = e.id and v.since = "
        "(select max(o.since) from endpoint_version o where o.endpoint = e.id and o.since < :place)",
        place=place,
    )
    return {row["endpoint"]: _read(row) for row in found}


def prune(limit: int) -> Transaction[int]:
    """Delete versions of which retention removed every event. Returns their number, at most `limit`."""
    found = yield query(
        "delete from endpoint_version where (endpoint, since) in (select v.endpoint, v.since "
        "from endpoint_version v, endpoint_version o, meta m where m.key = 'removed_until' "
        "and o.endpoint = v.endpoint and o.since > v.since and o.since <= cast(m.value as bigint) "
        "limit :limit) returning since",
        limit=limit,
    )
    return len(found)


def _read(row: Any) -> EndpointVersion:
    text = row["filter"]
    return EndpointVersion(
        row["since"], tuple(from_json(row["events"])), None if text is None else stored_filter(text)
    )
