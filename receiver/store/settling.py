"""Settling: attempts to deliver and their consequences, in one transaction."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from handlers.values import immutable
from receiver.domain.endpoint_health import EndpointHealth, pause
from receiver.domain.model import Claim
from receiver.domain.statistics import Sample
from receiver.store import endpoint_health, rollups
from receiver.store.attempts import Attempt, add_attempts
from receiver.store.due import WAITING, plain
from receiver.store.endpoint_health import EndpointAttempt
from receiver.store.holds import hold
from receiver.store.samples import of_attempt
from receiver.store.statements import (
    InsertStatement,
    Transaction,
    delete,
    for_update,
    moment,
    ms,
    query,
    update,
)


@immutable(kw_only=True)
class Settled:
    """An attempt and its consequence: another try at `next_at`, or the final `state` with its reason.

    `hold` is the name to hold for every replica, and until when. With `again` the attempt may be stored
    already. `counts` tells whether the attempt counts for the health of its endpoint; None: it has none.
    `event_at` is the moment of the event.
    """

    claim: Claim
    attempt: Attempt
    state: str
    next_at: datetime | None = None
    reason: str | None = None
    hold: tuple[str, datetime] | None = None
    again: bool = False
    counts: bool | None = None
    event_at: datetime | None = None


@immutable
class Standing:
    """The state of a delivery after an attempt: whether the claim still held, and when it is due next.

    `health` is that of its endpoint, where that may be failing, `samples` those of the attempt.
    """

    mine: bool
    next_at: datetime | None = None
    health: EndpointHealth | None = None
    samples: tuple[Sample, ...] = ()


def settle(items: Sequence[Settled]) -> Transaction[list[Standing]]:
    """Store attempts and their consequences. Returns the standing of each delivery.

    An attempt under a lost claim has no consequences. A delivery that was retried by hand while it was being
    sent is due again at once, regardless of this attempt.
    """
    ids = [item.claim.id for item in items]
    found = yield for_update("select id, fence, lane from due where id in (:ids) order by id", ids=ids)
    fences, lanes = {row["id"]: row["fence"] for row in found}, {row["id"]: row["lane"] for row in found}
    there = set(fences)
    # Without due work the delivery was settled or canceled: the attempt is stored unless retention removed
    # the delivery itself.
    if late := [delivery for delivery in ids if delivery not in fences]:
        there |= {row["id"] for row in (yield query("select id from delivery where id in (:ids)", ids=late))}
    yield from _taken([item for item in items if item.claim.id in late])
    mine = [fences.get(item.claim.id) == item.claim.fence for item in items]
    ours = [item for item, is_mine in zip(items, mine, strict=True) if is_mine]
    known = yield from add_attempts([(one.attempt, one.again) for one in items if one.claim.id in there])
    samples = [
        () if one.attempt.id in known or one.claim.id not in there else _samples(one, ends=ends)
        for one, ends in zip(items, _ends(items, mine, lanes), strict=True)
    ]
    after = [_after(item, lanes[item.claim.id]) for item in ours]
    yield delete("due", [item.claim.id for item, due in zip(ours, after, strict=True) if due is None])
    yield update("due", ("lane", "at", "leased", "tries"), [due for due in after if due is not None])
    yield update(
        "delivery",
        ("state", "updated_at", "tries", "reason"),
        [_stored(item, again=lanes[item.claim.id] != item.claim.lane) for item in ours],
    )
    yield _counted(samples, items)
    health = yield from endpoint_health.note([_at_endpoint(one) for one in items if one.counts is not None])
    yield from hold([*(one.hold for one in ours if one.hold is not None), *_breaks(health)])
    nexts = {due[-1]: moment(due[1]) for due in after if due is not None}
    return [
        Standing(
            is_mine, nexts.get(one.claim.id) if is_mine else None, health.get(plain(one.claim.lane)), told
        )
        for one, is_mine, told in zip(items, mine, samples, strict=True)
    ]


def _taken(late: Sequence[Settled]) -> Transaction[None]:
    """Note that deliveries which were canceled while they were under way were taken all the same."""
    went = [item.claim.id for item in late if item.state == "delivered"]
    if went:
        yield query(
            "update delivery set state = 'delivered', reason = null "
            "where id in (:ids) and state = 'canceled'",
            ids=went,
        )


def _ends(items: Sequence[Settled], mine: Sequence[bool], lanes: Mapping[str, str]) -> Iterator[bool]:
    """Yield whether each attempt ends its delivery: not under a lost claim, nor after a retry by hand."""
    for item, is_mine in zip(items, mine, strict=True):
        yield is_mine and item.state != "pending" and lanes[item.claim.id] == item.claim.lane


def _samples(item: Settled, *, ends: bool) -> tuple[Sample, ...]:
    attempt, target = item.attempt, plain(item.claim.lane)
    seconds = attempt.latency_ms / 1000
    return of_attempt(
        None if "://" in target else target,
        attempt.status,
        seconds,
        item.state if ends else None,
        (attempt.at - (item.event_at or attempt.at)).total_seconds() + seconds,
    )


def _counted(samples: Sequence[tuple[Sample, ...]], items: Sequence[Settled]) -> InsertStatement:
    latest = max(item.attempt.at for item in items)
    return rollups.changes([sample for group in samples for sample in group], latest)


def _at_endpoint(item: Settled) -> EndpointAttempt:
    return EndpointAttempt(
        endpoint_id=plain(item.claim.lane),
        attempt=item.attempt,
        delivered=item.state == "delivered",
        counts=bool(item.counts),
    )


def _breaks(health: Mapping[str, EndpointHealth]) -> Iterator[tuple[str, datetime]]:
    """Yield the hold of each endpoint with an open breaker."""
    for endpoint_id, one in health.items():
        if one.last_at is not None and (length := pause(one, one.last_at)) is not None:
            yield endpoint_id, one.last_at + length


def _after(item: Settled, lane: str) -> tuple[Any, ...] | None:
    # Changed by `retry` meanwhile. Why: receiver/README.md#a-retry-by-hand-has-its-own-lane
    if lane != item.claim.lane:
        return (lane, ms(item.attempt.at), 0, 0, item.claim.id)
    if item.next_at is None:
        return None
    return (plain(lane) + WAITING, ms(item.next_at), 0, item.claim.tries + 1, item.claim.id)


def _stored(item: Settled, *, again: bool) -> tuple[Any, ...]:
    state, reason = ("pending", None) if again else (item.state, item.reason)
    return (state, ms(item.attempt.at), item.claim.tries + 1, reason, item.claim.id)
