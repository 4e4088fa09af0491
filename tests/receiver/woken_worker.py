"""A worker that notes each call of the dispatcher, and its registration with a service at rest."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from receiver.domain.model import Claim, Work
from tests.receiver.store_fixture import StoreFixture


@dataclass
class WokenWorker:
    """A worker that performs nothing.

    It notes the moments for which it is woken, the work that is started, the claims with a slot that is given
    back early, and the lanes that are marked.
    """

    work: Work
    woken: list[datetime | None] = field(default_factory=list)
    started: list[Any] = field(default_factory=list)
    freed: list[Claim] = field(default_factory=list)
    marked: list[str] = field(default_factory=list)

    def wake(self, at: datetime | None = None) -> None:
        """Note a moment, None for now."""
        self.woken.append(at)

    def start(self, prepared: Any, /) -> None:
        """Note work that holds a slot."""
        self.started.append(prepared)

    def free(self, claim: Claim) -> None:
        """Note a claim with a slot that is given back."""
        self.freed.append(claim)

    def mark_waiting(self, lane: str) -> None:
        """Note a lane in which work waits."""
        self.marked.append(lane)


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
