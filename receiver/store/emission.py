"""Events: written with a delivery for each target, behind all other writes of a transaction."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from receiver.domain.event_types import JOB_FINAL
from receiver.domain.model import (
    CALLBACK_TARGET,
    Claim,
    Endpoint,
    EndpointState,
    Event,
    Job,
    PendingDelivery,
    Work,
)
from receiver.domain.statistics import Sample
from receiver.domain.subscriptions import subscribers
from receiver.egress.address_guard import origin_of
from receiver.store import rollups
from receiver.store.record_context import EndpointSource, NewDelivery, RecordContext, SlotReservation
from receiver.store.rows import ENDPOINTS, delivery_row, due_row, event_row
from receiver.store.samples import of_events
from receiver.store.statements import Step, Transaction, insert, query

TO_CALLBACK_URL = frozenset({*JOB_FINAL, "job.unconfirmed"})
"""The events that are delivered to a job's own callback URL."""


def emit(
    context: RecordContext,
    events: Sequence[tuple[Event, Job | None]],
    samples: Sequence[Sample] = (),
    *,
    alone: bool = False,
) -> Transaction[dict[str, list[NewDelivery]]]:
    """Write events, and a delivery for each subscribed endpoint. Returns the deliveries by event id.

    The events are counted in one row with the `samples` of their transaction. With `alone` no deliveries are
    written: the events are sent in another way.
    """
    counted = rollups.changes([*samples, *of_events(event for event, _ in events)], context.now())
    if not events:
        yield counted
        return {}
    endpoints = yield from _endpoints(context.endpoints)
    until, until_monotonic = context.lease()
    now = context.now()
    deliveries: dict[str, list[NewDelivery]] = {}
    try:
        for event, job in events:
            targets = () if alone else _targets(endpoints, event, job)
            deliveries[event.id] = [
                _bear(context, event, job, target, now, until_monotonic) for target in targets
            ]
        yield insert("event", [event_row(event) for event, _ in events])
        yield counted
        yield insert("delivery", [_delivery_row(one, now) for group in deliveries.values() for one in group])
        yield insert(
            "due",
            [_due_row(one, now, until, context.owner) for group in deliveries.values() for one in group],
        )
    except BaseException:
        # Slots are counted in memory: a rollback of the database does not give them back.
        for group in deliveries.values():
            for one in group:
                give_back(context.limits, one)
        raise
    return deliveries


def give_back(limits: SlotReservation, delivery: NewDelivery) -> None:
    """Give back the slot of a delivery after its transaction failed."""
    if delivery.claim is not None:
        limits.release(delivery.lane)


def _endpoints(source: EndpointSource) -> Transaction[Sequence[Endpoint]]:
    # The order lock, held to the commit, makes `seq` grow as transactions commit, and comes with the
    # generation: endpoints in memory of another generation are out of date.
    found = yield Step.IN_ORDER
    generation = found[0]["value"]
    known = source.as_of(generation)
    if known is None:
        known = source.adopt(generation, (yield query(ENDPOINTS)))
    return known


def _targets(
    endpoints: Sequence[Endpoint], event: Event, job: Job | None
) -> Iterator[tuple[str | None, str, bool]]:
    for endpoint in subscribers(endpoints, event):
        # A paused or disabled endpoint collects its deliveries without slots.
        yield endpoint.id, endpoint.id, endpoint.state is EndpointState.ACTIVE
    if job is not None and job.callback_url and not job.callback_off and event.type in TO_CALLBACK_URL:
        yield None, origin_of(job.callback_url), True


def _bear(
    context: RecordContext,
    event: Event,
    job: Job | None,
    target: tuple[str | None, str, bool],
    now: datetime,
    until: float,
) -> NewDelivery:
    endpoint_id, lane, live = target
    owed = PendingDelivery(
        id=context.ids.new("dlv", now),
        event=event,
        endpoint_id=endpoint_id,
        job_id=event.job_id,
        traceparent=None if job is None else job.traceparent,
    )
    waits_in = context.limits.reserve(lane).waits_in if live else lane
    if waits_in is not None:
        return NewDelivery(owed, waits_in, None)
    return NewDelivery(
        owed,
        lane,
        Claim(id=owed.id, work=Work.DELIVER, lane=lane, fence=1, tries=0, until=until, owner=context.owner),
    )


def _delivery_row(new: NewDelivery, now: datetime) -> tuple[Any, ...]:
    delivery = new.delivery
    target = delivery.endpoint_id or CALLBACK_TARGET
    return delivery_row(id=delivery.id, event=delivery.event.id, target=target, job=delivery.job_id, at=now)


def _due_row(new: NewDelivery, now: datetime, until: datetime, owner: str) -> tuple[Any, ...]:
    leased = new.claim is not None
    return due_row(
        id=new.delivery.id,
        work=Work.DELIVER,
        lane=new.lane,
        at=until if leased else now,
        fence=int(leased),
        owner=owner if leased else None,
    )
