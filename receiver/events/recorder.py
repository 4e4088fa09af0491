"""Recording, and what follows at once in this process: deliveries set off, workers and waiters woken."""

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
from receiver.security.ids import event_id
from receiver.store import Store
from receiver.store.group_commit import BatchedWrite
from receiver.store.record import NewDelivery, RecordContext, RecordResult, emit, give_back, record
from receiver.store.statements import Transaction
from receiver.work.dispatcher import Dispatcher
from receiver.work.periodic import retry_until_stored

LOGGER = logging.getLogger("ringback.recording")
FEED = "feed"
"""What other processes are told when there are events."""
Announcing = tuple[Callable[[], Transaction[Sequence[Event]]], bool]
Announced = tuple[list[Event], list[NewDelivery]]


def _cost(report: Report) -> int:
    return 10 + len(raw_of(report)[1] or b"") // 1024


class Recorder:
    """The way in for every word about a job, and for events of the service itself."""

    def __init__(
        self, store: Store, context: RecordContext, waiting_calls: WaitingCalls, dispatcher: Dispatcher
    ) -> None:
        self._store = store
        self._waiting_calls = waiting_calls
        self._dispatcher = dispatcher
        self.context = context
        self.waiting_since: dict[str, datetime] = {}
        self._verb: BatchedWrite[Report, RecordResult] = BatchedWrite(
            name="record",
            run=lambda reports: record(context, reports),
            cost=_cost,
            rollback=lambda recorded: self._give_back(recorded.born),
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
        """What became of `report`, once it is durable."""
        return await self._store.do(self._verb, report)

    async def settle(self, report: Report) -> RecordResult:
        """Record the outcome of work, however long the store is away. Returns how the job stands after it.

        A provider's answer exists only here: without it a job that was paid for would have no id.
        """

        def away(error: StoreUnavailable) -> None:
            if report.job_id not in self.waiting_since:
                self.waiting_since[report.job_id] = report.at
                LOGGER.warning(
                    "the outcome of a job waits for the store: %s", error.detail, extra={"job": report.job_id}
                )

        async def attempt() -> RecordResult:
            return await self._store.do(self._verb, report, reserved=True)

        try:
            return await retry_until_stored(attempt, away)
        except asyncio.CancelledError:
            theirs = report.update.provider_job_id if isinstance(report, ProviderUpdate) else None
            LOGGER.error(
                "an outcome was not stored before the process ended: the provider calls the job %s",
                theirs,
                extra={"job": report.job_id},
            )
            raise
        finally:
            self.waiting_since.pop(report.job_id, None)

    async def write(
        self, transaction: Callable[[], Transaction[Sequence[Event]]], *, alone: bool = False
    ) -> list[Event]:
        """Run a transaction of its own and emit the events that it tells; those events.

        With `alone` nothing is owed for them: they are sent another way.
        """
        events, _ = await self._store.do(self._announcing, (transaction, alone))
        return events

    def event(self, event_type: str, subject: str, kind: str, data: dict[str, Any], now: datetime) -> Event:
        """An event about something other than a job; the same subject and kind make the same event."""
        identity = event_id(subject, kind)
        body = event_body(identity, event_type, now, {**data, "sequence": 1})
        return Event(id=identity, type=event_type, job_id=None, at=now, sequence=1, body=body)

    def _recorded(self, report: Report, recorded: RecordResult) -> None:
        self._follow_up([report.job_id], recorded.born, recorded.due, events=bool(recorded.events))
        log_lines.recorded(recorded)

    def _announced(self, _asked: Announcing, announced: Announced) -> None:
        events, born = announced
        self._follow_up([], born, None, events=bool(events))
        log_lines.announced(events)

    def _follow_up(
        self, job_ids: Sequence[str], born: Sequence[NewDelivery], due: ScheduledWork | None, *, events: bool
    ) -> None:
        self._dispatcher.deliver(born)
        if due is not None:
            self._dispatcher.wake_at(due)
        self._waiting_calls.tell(job_ids, events=events)
        if events:
            self._store.tell(FEED)

    def _announce(self, asked: Sequence[Announcing]) -> Transaction[list[Announced]]:
        told: list[Announced] = []
        try:
            for transaction, alone in asked:
                events = list((yield from transaction()))
                born = yield from emit(self.context, [(event, None) for event in events], alone=alone)
                told.append((events, [one for many in born.values() for one in many]))
        except BaseException:
            for _, promised in told:
                self._give_back(promised)
            raise
        return told

    def _give_back(self, promised: Sequence[NewDelivery]) -> None:
        for born in promised:
            give_back(self.context.limits, born)
