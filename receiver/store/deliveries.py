"""Deliveries: loaded, listed, retried, canceled."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from handlers.values import immutable
from receiver.domain.model import CALLBACK_TARGET, Claim, Event, PendingDelivery, Work
from receiver.store.attempts import LAST, Attempt
from receiver.store.due import HAND_LANES, first_fence
from receiver.store.holds import let_go
from receiver.store.rows import due_row, read_event
from receiver.store.schema import named
from receiver.store.statements import (
    Row,
    Transaction,
    for_update,
    insert,
    moment,
    ms,
    one_or_none,
    query,
)

EVENT_OF = named("event", "e.", numbered=True)
NEWEST = "dlv_g"
"""A bound above every delivery's id: ids go on with hexadecimal digits."""
SCAN = 5_000
"""The number of deliveries that a list examines, at most, where no index serves its filter."""
SELDOM = frozenset({"exhausted", "canceled"})
"""The states that have an index: few deliveries end in them."""
BY_HAND = "canceled by hand"
"""The reason of a delivery that a person canceled."""


@immutable
class ClaimedDelivery:
    """A delivery under a lease, with all that sending it needs."""

    claim: Claim
    delivery: PendingDelivery


@immutable(kw_only=True)
class StoredDelivery:
    """A delivery as the API shows it; `url` only where it goes to a job's own callback URL.

    `status` and `error` are those of its last attempt.
    """

    id: str
    event_id: str
    event_type: str
    endpoint_id: str | None
    job_id: str | None
    url: str | None
    state: str
    created_at: datetime
    updated_at: datetime
    next_at: datetime | None
    tries: int
    reason: str | None
    leased: bool = False
    status: int | None = None
    error: str | None = None


@immutable
class Listed:
    """A part of a list. `place` is where to continue when the list has examined as much as it may."""

    found: Sequence[StoredDelivery]
    place: str | None = None


@immutable(kw_only=True)
class DeliveryFilter:
    """The filter of a list of deliveries."""

    endpoint: str | None = None
    state: str | None = None
    event: str | None = None
    job: str | None = None
    before: str | None = None
    limit: int = 50


def load(claims: Sequence[Claim]) -> Transaction[tuple[str, list[ClaimedDelivery]]]:
    """Return the generation, and each claimed delivery that is there with all that sending it needs."""
    found = yield query(
        "select (select value from meta where key = 'generation') as generation, "
        f"d.id as delivery_id, d.target, d.origin, j.callback_url, j.callback_secret, "
        f"j.traceparent, {EVENT_OF} "
        "from delivery d join event e on e.id = d.event left join job j on j.id = d.job where d.id in (:ids)",
        ids=[claim.id for claim in claims],
    )
    pending = {row["delivery_id"]: _pending(row, read_event(row)) for row in found}
    generation = found[0]["generation"] if found else ""
    return generation, [ClaimedDelivery(claim, pending[claim.id]) for claim in claims if claim.id in pending]


def _pending(row: Row, event: Event) -> PendingDelivery:
    own = row["target"] == CALLBACK_TARGET
    return PendingDelivery(
        id=row["delivery_id"],
        event=event,
        endpoint_id=None if own else row["target"],
        job_id=event.job_id,
        url=row["callback_url"] if own else None,
        secret=row["callback_secret"] if own else None,
        origin=row["origin"],
        traceparent=row["traceparent"],
    )


_OF_JOB = "d.event in (select id from event where job = :job)"
_SEEN = (
    f"select {named('delivery', 'd.')}, (select count(*) from attempt a where a.delivery = d.id) as made, "
    f"{LAST.format('status')} as status, {LAST.format('error')} as error, "
    "e.type as event_type, j.callback_url, due.at as next_at, due.leased, ep.state as endpoint_state, "
    "hold.until as held_until "
    "from delivery d join event e on e.id = d.event left join job j on j.id = d.job "
    "left join due on due.id = d.id left join endpoint ep on ep.id = d.target and ep.deleted_at is null "
    "left join hold on hold.lane = d.target and due.lane not like '%~hand' and due.lane not like '%~again'"
)


def search(wanted: DeliveryFilter) -> Transaction[Listed]:
    """Return deliveries, newest first."""
    named: Mapping[str, str | None] = {"target": wanted.endpoint, "event": wanted.event, "job": wanted.job}
    given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    where = [_OF_JOB if name == "job" else f"d.{name} = :{name}" for name in given] + ["d.id < :before"]
    given |= {"before": wanted.before or NEWEST, "limit": wanted.limit}
    if wanted.state is not None:
        few = "event" in given or "job" in given
        return (yield from _in_state(wanted.state, where, given, few=few))
    found = yield query(f"{_SEEN} where {' and '.join(where)} order by d.id desc limit :limit", **given)
    return Listed([_seen(row) for row in found])


def _in_state(state: str, where: list[str], given: dict[str, Any], *, few: bool) -> Transaction[Listed]:
    """Return deliveries in one state: by an index that serves it, else among the newest `SCAN`."""
    place = None
    looked = "d.state = :state"
    # Every pending delivery has a row in `due`, which is small.
    if not few and "target" not in given and state == "pending":
        looked = (
            "d.id in (select id from due where id >= 'dlv_' and id < :before order by id desc limit :limit)"
        )
    elif not few and "target" not in given and state in SELDOM:
        # The constant condition selects the partial index, which the parameter alone would not.
        looked = "d.state = :state and d.state in ('exhausted', 'canceled')"
    elif not few:
        among = (
            f"select d.id, d.state from delivery d where {' and '.join(where)} order by d.id desc limit :scan"
        )
        bounds = {name: value for name, value in given.items() if name != "limit"} | {"scan": SCAN}
        [reached] = yield query(f"select count(*) as many, min(id) as place from ({among}) c", **bounds)
        place = reached["place"] if reached["many"] == SCAN else None
        where, given = [*where, "d.id >= :place"], {**given, "place": reached["place"] or ""}
    found = yield query(
        f"{_SEEN} where {' and '.join([*where, looked])} order by d.id desc limit :limit",
        **given,
        **({"state": state} if ":state" in looked else {}),
    )
    return Listed([_seen(row) for row in found], place if len(found) < given["limit"] else None)


def get(delivery_id: str) -> Transaction[tuple[StoredDelivery, list[Attempt]] | None]:
    """Return a delivery and its attempts, oldest first; None where it does not exist."""
    row = one_or_none((yield query(f"{_SEEN} where d.id = :id", id=delivery_id)))
    if row is None:
        return None
    found = yield query(
        f"select {named('attempt')} from attempt where delivery = :id order by at, id", id=delivery_id
    )
    return _seen(row), [read_attempt(one) for one in found]


def read_attempt(row: Row) -> Attempt:
    """Return the attempt of a row of `attempt`."""
    return Attempt(
        id=row["id"],
        delivery_id=row["delivery"],
        at=moment(row["at"]),
        status=row["status"],
        latency_ms=row["latency_ms"],
        error=row["error"],
        answer=row["answer"] or b"",
    )


def _seen(row: Row) -> StoredDelivery:
    own = row["target"] == CALLBACK_TARGET
    return StoredDelivery(
        id=row["id"],
        event_id=row["event"],
        event_type=row["event_type"],
        endpoint_id=None if own else row["target"],
        job_id=row["job"],
        url=row["callback_url"] if own else None,
        state=row["state"],
        created_at=moment(row["created_at"]),
        updated_at=moment(row["updated_at"]),
        next_at=moment(max(row["next_at"], row["held_until"] or 0)) if _comes(row, own=own) else None,
        tries=row["made"],
        reason=row["reason"],
        leased=bool(row["leased"]),
        status=row["status"],
        error=row["error"],
    )


def _comes(row: Row, *, own: bool) -> bool:
    """Return whether another attempt will be made: something is due, and its endpoint is active."""
    return row["next_at"] is not None and not row["leased"] and (own or row["endpoint_state"] == "active")


def retry(delivery_id: str, lane: str, now: datetime, held: str | None = None) -> Transaction[bool]:
    """Make a delivery due now, by hand, and end its hold (`held`, else its lane's).

    Returns False where its endpoint is gone. A delivery that is being sent is sent once more afterwards.
    """
    target = one_or_none((yield query("select target from delivery where id = :id", id=delivery_id)))
    if target is None or not (yield from _there(target["target"])):
        return False
    row = one_or_none((yield for_update("select leased, lane from due where id = :id", id=delivery_id)))
    # Always another lane than its own, so that the settling of a send under way notices the retry.
    by_hand = next(lane + end for end in HAND_LANES if row is None or row["lane"] != lane + end)
    if row is None:
        values = due_row(id=delivery_id, work=Work.DELIVER, lane=by_hand, at=now, fence=first_fence(now))
        yield insert("due", [values])
    elif row["leased"]:
        yield query("update due set lane = :lane where id = :id", lane=by_hand, id=delivery_id)
    else:
        yield query(
            "update due set at = :now, lane = :lane, tries = 0, fence = fence + 1 where id = :id",
            now=ms(now),
            lane=by_hand,
            id=delivery_id,
        )
    yield query(
        "update delivery set state = 'pending', updated_at = :now, reason = null where id = :id",
        now=ms(now),
        id=delivery_id,
    )
    yield from let_go(held or lane)
    return True


def _there(target: str) -> Transaction[bool]:
    found = yield for_update("select id from endpoint where id = :id and deleted_at is null", id=target)
    return bool(found) or target == CALLBACK_TARGET


def cancel(delivery_ids: Sequence[str], reason: str, now: datetime) -> Transaction[set[str]]:
    """Cancel pending deliveries; those that ended stay as they are. Returns the ids of the pending ones."""
    ids = list(delivery_ids)
    # Locked in one order, as in `settle`: neither can wait for the other in a circle.
    yield for_update("select id from due where id in (:ids) order by id", ids=ids)
    owed = yield query("delete from due where id in (:ids) returning id", ids=ids)
    yield query(
        "update delivery set state = 'canceled', updated_at = :now, reason = :reason "
        "where id in (:ids) and state = 'pending'",
        now=ms(now),
        reason=reason,
        ids=ids,
    )
    return {row["id"] for row in owed}


def cancel_target(target: str, job: str, reason: str, now: datetime) -> Transaction[None]:
    """Cancel the pending deliveries to a job's own callback URL, and record no more for it."""
    yield query("update job set callback_off = 1 where id = :job", job=job)
    found = yield query(
        f"select id from delivery d where target = :target and state = 'pending' and {_OF_JOB}",
        target=target,
        job=job,
    )
    yield from cancel([row["id"] for row in found], reason, now)


def cancel_some(target: str, before: str, limit: int, reason: str, now: datetime) -> Transaction[str]:
    """Cancel the pending ones among the `limit` newest deliveries of a target before an id.

    Returns the id to continue from, "" at the end.
    """
    found = yield query(
        "select id, state from delivery where target = :target and id < :before "
        "order by id desc limit :limit",
        target=target,
        before=before,
        limit=limit,
    )
    pending = [row["id"] for row in found if row["state"] == "pending"]
    if pending:
        yield from cancel(pending, reason, now)
    return str(found[-1]["id"]) if len(found) == limit else ""
