"""Pings: one `endpoint.test`, sent to one endpoint now, with no second attempt."""

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
from receiver.work.dispatcher import Dispatcher
from receiver.work.limits import ConcurrencyLimits


@immutable
class Pinger:
    """Sends pings."""

    sender: DeliverySender
    recorder: Recorder
    limits: ConcurrencyLimits
    dispatcher: Dispatcher

    async def send(self, endpoint: Endpoint) -> Attempt:
        """Return the attempt, once it was made and recorded."""
        clock = self.sender.clock
        now, delivery_id = clock.now(), self.sender.ids.new("dlv")
        data = {"object": "endpoint", "id": endpoint.id, "url": printable(endpoint.url), "at": stamp(now)}
        event = self.recorder.event("endpoint.test", endpoint.id, f"test|{delivery_id}", data, now)
        claim = Claim(delivery_id, Work.DELIVER, endpoint.id, 1, 0, clock.monotonic() + 3600)
        until, owner = now + timedelta(seconds=self.sender.timeout + 15), self.recorder.context.owner

        def promise() -> Transaction[Sequence[Event]]:
            at = ms(now)
            row = (delivery_id, event.id, endpoint.id, "test", None, "pending", at, at, 0, None)
            yield insert("delivery", [row])
            yield insert("due", [(delivery_id, Work.DELIVER.value, endpoint.id, ms(until), 1, 1, 0, owner)])
            return [event]

        await self.recorder.write(promise, alone=True)
        self.limits.acquire(Work.DELIVER, endpoint.id)
        try:
            delivery = PendingDelivery(delivery_id, event, endpoint.id, None)
            return await self.sender.attempt(claim, delivery, last=True)
        finally:
            for work in self.limits.release(endpoint.id):
                self.dispatcher.wake(work)
