"""Workers that perform nothing, registered with the dispatcher of a service at rest."""

from receiver.domain.model import Work
from tests.receiver.store_fixture import StoreFixture
from tests.receiver.woken_worker import WokenWorker


def register_workers(fixture: StoreFixture) -> dict[Work, WokenWorker]:
    """Register a worker for each kind of work. Returns them by kind."""
    workers = {kind: WokenWorker(kind) for kind in Work}
    for worker in workers.values():
        fixture.services.core.dispatcher.register(worker)
    return workers
