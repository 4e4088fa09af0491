"""Calls about deliveries."""

from ringback.calls.common import PAGE_SIZE, get, listing, reader, send
from ringback.core import Call, path, query
from ringback.values import Delivery, DeliveryWithAttempts, Page


def pages(
    *,
    endpoint: str | None = None,
    state: str | None = None,
    event: str | None = None,
    job: str | None = None,
    page_size: int = PAGE_SIZE,
) -> Call[Page[Delivery]]:
    """List deliveries, newest first."""
    wanted = query(endpoint=endpoint, state=state, event=event, job=job, limit=page_size)
    return listing("/v1/deliveries", reader(Delivery), wanted)


def show(delivery_id: str) -> Call[DeliveryWithAttempts]:
    """Read a delivery with its attempts."""
    return get(path("deliveries", delivery_id), reader(DeliveryWithAttempts))


def retry(delivery_id: str) -> Call[Delivery]:
    """Send a delivery again now, in any state. Returns it."""
    return send("POST", path("deliveries", delivery_id, "retry"), reader(Delivery))


def cancel(delivery_id: str) -> Call[Delivery]:
    """Cancel a pending delivery. Returns it."""
    return send("POST", path("deliveries", delivery_id, "cancel"), reader(Delivery))
