"""Recording, and what follows at once in this process: deliveries set off, workers and waiters woken."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from receiver.domain.errors import StoreUnavailable
from receiver.domain.model import Event, ScheduledWork, Word
from receiver.domain.rendering import event_body
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


def _cost(word: Word) -> int:
    return 10 + len(word.body or b"") // 1024


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
        self._verb: BatchedWrite[Word, RecordResult] = BatchedWrite(
            "record",
            lambda words: record(context, words),
            _cost,
            lambda recorded: self._give_back(recorded.born),
            self._recorded,
            in_order=True,
        )
        self._announcing: BatchedWrite[Announcing, Announced] = BatchedWrite(
            "announce",
            self._announce,
            rollback=lambda announced: self._give_back(announced[1]),
            follow=self._announced,
            in_order=True,
        )

    async def record(self, word: Word) -> RecordResult:
        """What became of `word`, once it is durable."""
        return await self._store.do(self._verb, word)

    async def settle(self, word: Word) -> RecordResult:
        """Record the outcome of work, however long the store is away. Returns how the job stands after it.

        A provider's answer exists only here: without it a job that was paid for would have no id.
        """

        def away(error: StoreUnavailable) -> None:
            if word.job_id not in self.waiting_since:
                self.waiting_since[word.job_id] = word.at
                LOGGER.warning(
                    "the outcome of a job waits for the store: %s", error.detail, extra={"job": word.job_id}
                )

        async def attempt() -> RecordResult:
            return await self._store.do(self._verb, word, reserved=True)

        try:
            return await retry_until_stored(attempt, away)
        except asyncio.CancelledError:
            theirs = word.update.provider_job_id if word.update else None
            LOGGER.error(
                "an outcome was not stored before the process ended: the provider calls the job %s",
                theirs,
                extra={"job": word.job_id},
            )
            raise
        finally:
            self.waiting_since.pop(word.job_id, None)

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
        return Event(identity, event_type, None, now, 1, body)

    def _recorded(self, word: Word, recorded: RecordResult) -> None:
        self._follow_up([word.job_id], recorded.born, recorded.due, events=bool(recorded.events))
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
