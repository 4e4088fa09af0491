"""Deliveries: settled, listed, retried, cancelled."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any

from handlers.values import immutable
from receiver.model import Claim, Event, Owed, Work
from receiver.store.due import NOBODY, first_fence
from receiver.store.record import CALLBACK_TARGET
from receiver.store.rows import first_id, read_event
from receiver.store.schema import named
from receiver.store.statements import Row, Transaction, change, locked, many, moment, ms, remove, rows, single

EVENT_OF = named("event", "e.", numbered=True)
RETRY_LANE = "~"
"""What a lane's name ends in for retries: they share the lane's slots and may fill half of them."""


@immutable
class Attempt:
    """One HTTP try: `error` names the stage and the cause where there was no answer."""

    id: str
    delivery_id: str
    at: datetime
    status: int | None
    latency_ms: float
    error: str | None = None
    answer: bytes = field(default=b"", repr=False)


@immutable
class Settled:
    """An attempt and what follows: another try at `next_at`, or the final `state` with its reason."""

    claim: Claim
    attempt: Attempt
    state: str
    next_at: datetime | None = None
    reason: str | None = None


@immutable
class Seen:
    """A delivery as it is told; `url` only where it went to a job's own callback URL."""

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


@immutable
class Taken:
    """How many deliveries a target lost for one reason, between which moments (in milliseconds)."""

    target: str
    reason: str
    count: int
    first_at: int
    last_at: int


@immutable
class Search:
    """What a list of deliveries is asked for."""

    endpoint: str | None = None
    state: str | None = None
    event: str | None = None
    job: str | None = None
    before: str | None = None
    limit: int = 50


def settle(items: Sequence[Settled]) -> Transaction[list[bool]]:
    """Record attempts and what follows from each; False where the lease was no longer ours."""
    ids = [item.claim.id for item in items]
    found = yield locked("select id, fence from due where id in (:ids) order by id", ids=ids)
    fences = {row["id"]: row["fence"] for row in found}
    there = set(fences)
    if late := [delivery for delivery in ids if delivery not in fences]:
        there |= {row["id"] for row in (yield rows("select id from delivery where id in (:ids)", ids=late))}
    attempts = [item.attempt for item in items if item.claim.id in there]
    mine = [fences.get(item.claim.id) == item.claim.fence for item in items]
    ours = [item for item, is_mine in zip(items, mine, strict=True) if is_mine]
    yield many(
        "attempt",
        [(a.id, a.delivery_id, ms(a.at), a.status, a.latency_ms, a.error, a.answer) for a in attempts],
    )
    yield remove("due", [item.claim.id for item in ours if item.next_at is None])
    yield change(
        "due",
        ("lane", "at", "leased", "tries"),
        [
            (
                item.claim.lane.removesuffix(RETRY_LANE) + RETRY_LANE,
                ms(item.next_at),
                0,
                item.claim.tries + 1,
                item.claim.id,
            )
            for item in ours
            if item.next_at is not None
        ],
    )
    yield change(
        "delivery",
        ("state", "updated_at", "tries", "reason"),
        [(i.state, ms(i.attempt.at), i.claim.tries + 1, i.reason, i.claim.id) for i in ours],
    )
    return mine


def load(claims: Sequence[Claim]) -> Transaction[tuple[str, list[tuple[Claim, Owed]]]]:
    """What sending each claimed delivery needs, and the generation then; none where nothing is there."""
    found = yield rows(
        "select (select value from meta where key = 'generation') as generation, "
        f"d.id as delivery_id, d.target, j.callback_url, j.callback_secret, {EVENT_OF} "
        "from delivery d join event e on e.id = d.event left join job j on j.id = d.job where d.id in (:ids)",
        ids=[claim.id for claim in claims],
    )
    owed = {row["delivery_id"]: _owed(row, read_event(row)) for row in found}
    generation = found[0]["generation"] if found else ""
    return generation, [(claim, owed[claim.id]) for claim in claims if claim.id in owed]


def _owed(row: Row, event: Event) -> Owed:
    own = row["target"] == CALLBACK_TARGET
    return Owed(
        id=row["delivery_id"],
        event=event,
        endpoint_id=None if own else row["target"],
        job_id=event.job_id,
        url=row["callback_url"] if own else None,
        secret=row["callback_secret"] if own else None,
    )


_OF_JOB = "d.event in (select id from event where job = :job)"
_SEEN = (
    f"select {named('delivery', 'd.')}, (select count(*) from attempt a where a.delivery = d.id) as made, "
    "e.type as event_type, j.callback_url, due.at as next_at, due.leased from delivery d "
    "join event e on e.id = d.event left join job j on j.id = d.job left join due on due.id = d.id"
)


def search(wanted: Search) -> Transaction[list[Seen]]:
    """Deliveries, newest first."""
    named: Mapping[str, str | None] = {
        "d.target": wanted.endpoint,
        "d.state": wanted.state,
        "d.event": wanted.event,
    }
    conditions = [f"{column} = :{column[2:]}" for column, value in named.items() if value is not None]
    parameters: dict[str, Any] = {c[2:]: value for c, value in named.items() if value is not None}
    if wanted.job is not None:
        conditions.append(_OF_JOB)
        parameters["job"] = wanted.job
    if wanted.before is not None:
        conditions.append("d.id < :before")
        parameters["before"] = wanted.before
    where = " and ".join(conditions or ["1 = 1"])
    found = yield rows(
        f"{_SEEN} where {where} order by d.id desc limit :limit", limit=wanted.limit, **parameters
    )
    return [_seen(row) for row in found]


def get(delivery_id: str) -> Transaction[tuple[Seen, list[Attempt]] | None]:
    """One delivery with its attempts, oldest first."""
    row = single((yield rows(f"{_SEEN} where d.id = :id", id=delivery_id)))
    if row is None:
        return None
    found = yield rows(
        f"select {named('attempt')} from attempt where delivery = :id order by at, id", id=delivery_id
    )
    return _seen(row), [read_attempt(one) for one in found]


def read_attempt(row: Row) -> Attempt:
    """A row of `attempt`."""
    return Attempt(
        row["id"],
        row["delivery"],
        moment(row["at"]),
        row["status"],
        row["latency_ms"],
        row["error"],
        row["answer"] or b"",
    )


def _seen(row: Row) -> Seen:
    own = row["target"] == CALLBACK_TARGET
    return Seen(
        id=row["id"],
        event_id=row["event"],
        event_type=row["event_type"],
        endpoint_id=None if own else row["target"],
        job_id=row["job"],
        url=row["callback_url"] if own else None,
        state=row["state"],
        created_at=moment(row["created_at"]),
        updated_at=moment(row["updated_at"]),
        next_at=moment(row["next_at"]) if row["next_at"] is not None and not row["leased"] else None,
        tries=row["made"],
        reason=row["reason"],
        leased=bool(row["leased"]),
    )


def retry(delivery_id: str, lane: str, now: datetime) -> Transaction[None]:
    """Owe a delivery again, from now on; one that is being sent is left to finish."""
    found = yield locked("select leased from due where id = :id", id=delivery_id)
    row = single(found)
    if row is None:
        yield many("due", [(delivery_id, Work.DELIVER.value, lane, ms(now), 0, first_fence(now), 0, NOBODY)])
    elif not row["leased"]:
        yield rows(
            "update due set at = :now, lane = :lane, tries = 0, fence = fence + 1 where id = :id",
            now=ms(now),
            lane=lane,
            id=delivery_id,
        )
    yield rows(
        "update delivery set state = 'pending', updated_at = :now, reason = null where id = :id",
        now=ms(now),
        id=delivery_id,
    )


def cancel(delivery_ids: Sequence[str], reason: str, now: datetime) -> Transaction[set[str]]:
    """Owe these deliveries no more; those that ended stay as they are. The ids of those that were owed."""
    ids = list(delivery_ids)
    owed = yield rows("delete from due where id in (:ids) returning id", ids=ids)
    yield rows(
        "update delivery set state = 'canceled', updated_at = :now, reason = :reason "
        "where id in (:ids) and state = 'pending'",
        now=ms(now),
        reason=reason,
        ids=ids,
    )
    return {row["id"] for row in owed}


def outdated(before: datetime, limit: int) -> Transaction[list[tuple[str, str]]]:
    """Deliveries that are owed since before a moment and that nobody sends just now, with their targets."""
    found = yield rows(
        "select due.id, delivery.target from due join delivery on delivery.id = due.id "
        "where due.id >= :first and due.id < :before and due.leased = 0 order by due.id limit :limit",
        first=first_id("dlv", 0),
        before=first_id("dlv", ms(before)),
        limit=limit,
    )
    return [(row["id"], row["target"]) for row in found]


def take(owed: Sequence[tuple[str, str]], reason: str, now: datetime) -> Transaction[Mapping[str, int]]:
    """Owe these no more, and keep a count of how many each target lost and why; those that it lost now."""
    gone = yield from cancel([delivery for delivery, _ in owed], reason, now)
    lost = Counter(target for delivery, target in owed if delivery in gone)
    for target, count in sorted(lost.items()):
        yield rows(
            "insert into taken values (:target, :reason, :count, :now, :now) on conflict (target, reason) "
            "do update set count = taken.count + excluded.count, last_at = excluded.last_at",
            target=target,
            reason=reason,
            count=count,
            now=ms(now),
        )
    return lost


def taken() -> Transaction[list[Taken]]:
    """What was owed and taken, by target."""
    found = yield rows(f"select {named('taken')} from taken order by target, reason")
    return [Taken(*row) for row in found]


def cancel_target(target: str, job: str | None, reason: str, now: datetime) -> Transaction[None]:
    """Owe an endpoint, or a job's own callback URL, nothing more."""
    owner = {} if job is None else {"job": job}
    which = f"and {_OF_JOB}" if owner else ""
    found = yield rows(
        f"select id from delivery d where target = :target and state = 'pending' {which}",
        target=target,
        **owner,
    )
    yield from cancel([row["id"] for row in found], reason, now)
    if job is not None:
        yield rows("update job set callback_off = 1 where id = :job", job=job)
