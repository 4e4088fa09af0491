"""The use cases of deliveries: list, show, retry, cancel."""

from handlers.values import immutable
from receiver.domain.clock import Clock
from receiver.domain.errors import Conflict, no_such
from receiver.domain.model import Work
from receiver.egress.address_guard import origin_of
from receiver.store import Store, deliveries
from receiver.store.attempts import Attempt
from receiver.store.deliveries import DeliveryFilter, Listed, StoredDelivery
from receiver.store.holds import hold_of
from receiver.work.dispatcher import Dispatcher
from receiver.work.limits import ConcurrencyLimits

CANCELABLE = frozenset({"pending", "canceled"})


@immutable(kw_only=True)
class DeliveryService:
    """The deliveries as users see and control them."""

    store: Store
    limits: ConcurrencyLimits
    dispatcher: Dispatcher
    clock: Clock

    async def search(self, wanted: DeliveryFilter) -> Listed:
        """Return the deliveries that fit, newest first."""
        return await self.store.read(deliveries.search(wanted))

    async def get(self, delivery_id: str) -> tuple[StoredDelivery, list[Attempt]]:
        """Return a delivery and its attempts, oldest first. Raises `NotFound`."""
        found = await self.store.read(deliveries.get(delivery_id))
        if found is None:
            raise no_such("delivery")
        return found

    async def retry(self, delivery_id: str) -> StoredDelivery:
        """Retry a delivery now, in any state, and end its endpoint's hold. Returns the delivery.

        Raises `Conflict` where its endpoint was deleted.
        """
        delivery, _ = await self.get(delivery_id)
        now, lane = self.clock.now(), delivery.endpoint_id or origin_of(delivery.url or "")
        held = hold_of(lane, delivery.url)
        if not await self.store.write(lambda: deliveries.retry(delivery_id, lane, now, held)):
            raise Conflict("the endpoint was deleted")
        # The transaction has ended the hold for all replicas; here it ends at once.
        self.limits.end_hold(held)
        self.dispatcher.wake(Work.DELIVER)
        return (await self.get(delivery_id))[0]

    async def cancel(self, delivery_id: str) -> StoredDelivery:
        """Cancel a pending delivery. Returns it. Raises `Conflict` where it has ended otherwise."""
        delivery, _ = await self.get(delivery_id)
        if delivery.state not in CANCELABLE:
            raise Conflict(f"the delivery is already {delivery.state}")
        now = self.clock.now()
        await self.store.write(lambda: deliveries.cancel([delivery_id], deliveries.BY_HAND, now))
        return (await self.get(delivery_id))[0]
