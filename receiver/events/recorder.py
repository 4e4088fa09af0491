"""The recorder of reports and events; it then starts deliveries and wakes workers and waiting calls here."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from receiver.domain.errors import StoreUnavailable
from receiver.domain.model import Event, ScheduledWork
from receiver.domain.rendering import event_body
from receiver.domain.reports import ProviderUpdate, Report, raw_of
from receiver.events import log_lines
from receiver.events.long_polling import WaitingCalls
from receiver.metrics import Metrics
from receiver.security.ids import event_id
from receiver.store import Store
from receiver.store.emission import emit, give_back
from receiver.store.group_commit import BatchedWrite
from receiver.store.record import record
from receiver.store.record_context import NewDelivery, RecordContext, RecordResult
from receiver.store.samples import of_events
from receiver.store.statements import Transaction
from receiver.tracing.spans import JobSpans, trace_of
from receiver.work.dispatcher import Dispatcher
from receiver.work.periodic import retry_until_stored

LOGGER = logging.getLogger("ringback.recording")
FEED = "feed"
"""The notification to other processes that there are new events."""
Announcing = tuple[Callable[[], Transaction[Sequence[Event]]], bool]
Announced = tuple[list[Event], list[NewDelivery]]


def _cost(report: Report) -> int:
    return 10 + len(raw_of(report)[1] or b"") // 1024


class Recorder:
    """A recorder of all reports about jobs, and of events of the service itself."""

    def __init__(
        self,
        store: Store,
        context: RecordContext,
        waiting_calls: WaitingCalls,
        dispatcher: Dispatcher,
        metrics: Metrics,
        spans: JobSpans,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._spans = spans
        self._waiting_calls = waiting_calls
        self._dispatcher = dispatcher
        self.context = context
        self.waiting_since: dict[str, datetime] = {}
        self._verb: BatchedWrite[Report, RecordResult] = BatchedWrite(
            name="record",
            run=lambda reports: record(context, reports),
            cost=_cost,
            rollback=lambda recorded: self._give_back(recorded.deliveries),
            # On the write, not in `record`: a caller cancelled after the commit would leave deliveries that
            # hold slots unsent. Why: receiver/README.md#follow-ups-hang-on-the-write
            follow=self._recorded,
            in_order=True,
        )
        self._announcing: BatchedWrite[Announcing, Announced] = BatchedWrite(
            name="announce",
            run=self._announce,
            rollback=lambda announced: self._give_back(announced[1]),
            follow=self._announced,
            in_order=True,
        )

    async def record(self, report: Report) -> RecordResult:
        """Return the result of `report` once it is durable. Raises `StoreUnavailable`."""
        began = self._spans.now()
        recorded = await self._store.do(self._verb, report)
        self._spans.committed(recorded.job, began)
        return recorded

    async def settle(self, report: Report) -> RecordResult:
        """Record the outcome of work, retrying until the store is available. Returns the result.

        A provider's answer exists only in this process: without it, a job that was paid for would have no id.
        """

        def away(error: StoreUnavailable) -> None:
            if report.job_id not in self.waiting_since:
                self.waiting_since[report.job_id] = report.at
                LOGGER.warning(
                    "the outcome of a job waits for the store: %s", error.detail, extra={"job": report.job_id}
                )

        async def attempt() -> RecordResult:
            # Outcomes have a part of the write queue of their own, so they cannot be
            # crowded out. Why: receiver/README.md#an-outcome-waits-for-the-store
            began = self._spans.now()
            recorded = await self._store.do(self._verb, report, reserved=True)
            self._spans.committed(recorded.job, began)
            return recorded

        try:
            # Without a last try: giving up would lose a job that was paid for.
            return await retry_until_stored(attempt, away)
        except asyncio.CancelledError:
            theirs = report.update.provider_job_id if isinstance(report, ProviderUpdate) else None
            LOGGER.error(
                "the outcome of a job was not stored before the process ended; the id at the provider is %s",
                theirs,
                extra={"job": report.job_id},
            )
            raise
        finally:
            self.waiting_since.pop(report.job_id, None)

    async def write(
        self, transaction: Callable[[], Transaction[Sequence[Event]]], *, alone: bool = False
    ) -> list[Event]:
        """Run a transaction and emit the events that it returns. Returns those events.

        With `alone` no deliveries are recorded for them: they are sent in another way.
        """
        events, _ = await self._store.do(self._announcing, (transaction, alone))
        return events

    def event(self, event_type: str, subject: str, kind: str, data: dict[str, Any], now: datetime) -> Event:
        """Return an event about something other than a job; the same subject and kind give the same id."""
        identity = event_id(subject, kind)
        body = event_body(identity, event_type, now, {**data, "sequence": 1})
        return Event(id=identity, type=event_type, job_id=None, at=now, sequence=1, body=body)

    def _recorded(self, report: Report, recorded: RecordResult) -> None:
        self._metrics.add(recorded.samples, trace_of(recorded.job))
        self._metrics.add(of_events(recorded.events))
        self._follow_up([report.job_id], recorded.deliveries, recorded.due, events=bool(recorded.events))
        log_lines.recorded(recorded)

    def _announced(self, _asked: Announcing, announced: Announced) -> None:
        events, deliveries = announced
        self._metrics.add(of_events(events))
        self._follow_up([], deliveries, None, events=bool(events))
        log_lines.announced(events)

    def _follow_up(
        self,
        job_ids: Sequence[str],
        deliveries: Sequence[NewDelivery],
        due: ScheduledWork | None,
        *,
        events: bool,
    ) -> None:
        self._dispatcher.deliver(deliveries)
        if due is not None:
            self._dispatcher.wake_at(due)
        self._waiting_calls.tell(job_ids, events=events)
        if events:
            self._store.tell(FEED)

    def _announce(self, requests: Sequence[Announcing]) -> Transaction[list[Announced]]:
        announced: list[Announced] = []
        try:
            for transaction, alone in requests:
                events = list((yield from transaction()))
                deliveries = yield from emit(self.context, [(event, None) for event in events], alone=alone)
                announced.append((events, [one for many in deliveries.values() for one in many]))
        except BaseException:
            # Only the slots of earlier requests: `emit` has given back those of the request that failed.
            for _, earlier in announced:
                self._give_back(earlier)
            raise
        return announced

    def _give_back(self, deliveries: Sequence[NewDelivery]) -> None:
        for delivery in deliveries:
            give_back(self.context.limits, delivery)
