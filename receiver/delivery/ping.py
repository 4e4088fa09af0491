"""Pings: one `endpoint.test`, sent to one endpoint now, without a second attempt."""

from collections.abc import Sequence

from handlers.values import immutable
from receiver.delivery.sender import DeliverySender
from receiver.domain.model import Claim, Endpoint, Event, PendingDelivery, Work
from receiver.domain.rendering import stamp
from receiver.egress.address_guard import printable
from receiver.events.recorder import Recorder
from receiver.store.attempts import Attempt
from receiver.store.rows import delivery_row, due_row
from receiver.store.statements import Transaction, insert
from receiver.work.dispatcher import Dispatcher
from receiver.work.limits import ConcurrencyLimits


@immutable
class Pinger:
    """A sender of pings."""

    sender: DeliverySender
    recorder: Recorder
    limits: ConcurrencyLimits
    dispatcher: Dispatcher

    async def send(self, endpoint: Endpoint) -> Attempt:
        """Send a ping. Returns the attempt once it is recorded."""
        clock = self.sender.clock
        now, delivery_id = clock.now(), self.sender.ids.new("dlv")
        data = {"object": "endpoint", "id": endpoint.id, "url": printable(endpoint.url), "at": stamp(now)}
        event = self.recorder.event("endpoint.test", endpoint.id, f"test|{delivery_id}", data, now)
        claim = Claim(
            id=delivery_id,
            work=Work.DELIVER,
            lane=endpoint.id,
            fence=1,
            tries=0,
            until=clock.monotonic() + 3600,
        )
        # Stored as leased by this process, so that no worker claims and sends it as well.
        until, owner = now + self.sender.lease, self.recorder.context.owner

        def promise() -> Transaction[Sequence[Event]]:
            row = delivery_row(
                id=delivery_id, event=event.id, target=endpoint.id, job=None, at=now, origin="test"
            )
            due = due_row(id=delivery_id, work=Work.DELIVER, lane=endpoint.id, at=until, fence=1, owner=owner)
            yield insert("delivery", [row])
            yield insert("due", [due])
            return [event]

        await self.recorder.write(promise, alone=True)
        # Taken even where none is free: a ping is sent at once.
        self.limits.acquire(Work.DELIVER, endpoint.id)
        try:
            delivery = PendingDelivery(id=delivery_id, event=event, endpoint_id=endpoint.id, job_id=None)
            return await self.sender.attempt(claim, delivery, last=True)
        finally:
            for work in self.limits.release(endpoint.id):
                self.dispatcher.wake(work)
