"""Trying an endpoint: one `endpoint.test`, sent to it alone, now, with no second attempt."""

from collections.abc import Sequence
from datetime import timedelta

from handlers.values import immutable
from receiver.delivery.sender import Fanout
from receiver.domain.model import Claim, Endpoint, Event, Owed, Work
from receiver.domain.rendering import stamp
from receiver.egress.address_guard import told
from receiver.events.recorder import Recording
from receiver.store.attempts import Attempt
from receiver.store.statements import Transaction, many, ms
from receiver.work.limits import Lanes
from receiver.work.worker import Hints


@immutable
class Testing:
    """Sends tests."""

    fanout: Fanout
    recording: Recording
    lanes: Lanes
    hints: Hints

    async def send(self, endpoint: Endpoint) -> Attempt:
        """The attempt, once it was made and recorded."""
        clock = self.fanout.clock
        now, delivery = clock.now(), self.fanout.ids.new("dlv")
        data = {"object": "endpoint", "id": endpoint.id, "url": told(endpoint.url), "at": stamp(now)}
        event = self.recording.event("endpoint.test", endpoint.id, f"test|{delivery}", data, now)
        claim = Claim(delivery, Work.DELIVER, endpoint.id, 1, 0, clock.monotonic() + 3600)
        until, owner = now + timedelta(seconds=self.fanout.timeout + 15), self.recording.recorder.owner

        def promise() -> Transaction[Sequence[Event]]:
            at = ms(now)
            row = (delivery, event.id, endpoint.id, "test", None, "pending", at, at, 0, None)
            yield many("delivery", [row])
            yield many("due", [(delivery, Work.DELIVER.value, endpoint.id, ms(until), 1, 1, 0, owner)])
            return [event]

        await self.recording.write(promise, alone=True)
        self.lanes.take(Work.DELIVER, endpoint.id)
        try:
            return await self.fanout.attempt(claim, Owed(delivery, event, endpoint.id, None), last=True)
        finally:
            for work in self.lanes.release(endpoint.id):
                self.hints.wake(work)
