"""Workers that perform nothing, registered with the dispatcher of a service at rest."""

from receiver.domain.model import Work
from tests.receiver.store_fixture import StoreFixture
from tests.receiver.woken_worker import WokenWorker


def register_workers(fixture: StoreFixture, *, hints: bool = False) -> dict[Work, WokenWorker]:
    """Register a worker for each kind of work. Returns them by kind.

    Hints of other processes wake them only with `hints`: on PostgreSQL one comes whenever the connection that
    listens is made.
    """
    dispatcher = fixture.services.core.dispatcher
    workers = {kind: WokenWorker(kind) for kind in Work}
    for worker in workers.values():
        dispatcher.register(worker)
    if not hints:
        vars(dispatcher)["heard"] = lambda _word: None
    return workers
