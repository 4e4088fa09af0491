"""Trying an endpoint: one `endpoint.test`, sent to it alone, now, with no second attempt."""

from collections.abc import Sequence
from datetime import timedelta

from handlers.values import immutable
from receiver.delivery.sender import DeliverySender
from receiver.domain.model import Claim, Endpoint, Event, PendingDelivery, Work
from receiver.domain.rendering import stamp
from receiver.egress.address_guard import printable
from receiver.events.recorder import Recorder
from receiver.store.attempts import Attempt
from receiver.store.statements import Transaction, insert, ms
from receiver.work.limits import ConcurrencyLimits
from receiver.work.worker import Dispatcher


@immutable
class Pinger:
    """Sends tests."""

    fanout: DeliverySender
    recording: Recorder
    lanes: ConcurrencyLimits
    hints: Dispatcher

    async def send(self, endpoint: Endpoint) -> Attempt:
        """The attempt, once it was made and recorded."""
        clock = self.fanout.clock
        now, delivery = clock.now(), self.fanout.ids.new("dlv")
        data = {"object": "endpoint", "id": endpoint.id, "url": printable(endpoint.url), "at": stamp(now)}
        event = self.recording.event("endpoint.test", endpoint.id, f"test|{delivery}", data, now)
        claim = Claim(delivery, Work.DELIVER, endpoint.id, 1, 0, clock.monotonic() + 3600)
        until, owner = now + timedelta(seconds=self.fanout.timeout + 15), self.recording.recorder.owner

        def promise() -> Transaction[Sequence[Event]]:
            at = ms(now)
            row = (delivery, event.id, endpoint.id, "test", None, "pending", at, at, 0, None)
            yield insert("delivery", [row])
            yield insert("due", [(delivery, Work.DELIVER.value, endpoint.id, ms(until), 1, 1, 0, owner)])
            return [event]

        await self.recording.write(promise, alone=True)
        self.lanes.acquire(Work.DELIVER, endpoint.id)
        try:
            return await self.fanout.attempt(
                claim, PendingDelivery(delivery, event, endpoint.id, None), last=True
            )
        finally:
            for work in self.lanes.release(endpoint.id):
                self.hints.wake(work)
