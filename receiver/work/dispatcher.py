"""The dispatcher: wakes the worker of a kind of work, and starts new deliveries that already hold a slot.

It is made before the workers, which register with it. Everything that creates due work gets it passed in.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

from receiver.domain.model import Claim, ScheduledWork, Work
from receiver.store.deliveries import ClaimedDelivery
from receiver.store.record_context import NewDelivery


class Prepared(Protocol):
    """Claimed work with the data that performing it needs."""

    @property
    def claim(self) -> Claim:
        """Return the claim under which the work is performed."""


class WakeableWorker(Protocol):
    """The interface of a worker that the dispatcher uses."""

    @property
    def work(self) -> Work:
        """Return the kind of work that the worker performs."""

    def wake(self, at: datetime | None = None) -> None:
        """Look for due work at a moment, or now."""

    def start(self, prepared: Any, /) -> None:
        """Perform work that holds a slot of its lane."""

    def free(self, claim: Claim) -> None:
        """Give back the slot of work with an outcome that is not stored yet."""

    def mark_waiting(self, lane: str) -> None:
        """Note that due work of a lane waits for a slot."""


class Dispatcher:
    """A dispatcher that wakes workers and starts deliveries.

    Work of a kind without a worker in this process is announced to the other processes through `tell`.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.workers: dict[Work, WakeableWorker] = {}
        self._tell = tell

    def register(self, worker: WakeableWorker) -> None:
        """Register the worker of a kind of work."""
        self.workers[worker.work] = worker

    def wake_at(self, due: ScheduledWork) -> None:
        """Wake the worker of this kind of work when the work is due.

        Where this process has none, the other processes are notified at once.
        """
        worker = self.workers.get(due.work)
        if worker is not None:
            worker.wake(due.at)
        else:
            self._tell(due.work.value)

    def wake(self, work: Work) -> None:
        """Wake the worker of a kind of work now: there may be room for work that is due."""
        worker = self.workers.get(work)
        if worker is not None:
            worker.wake()
        else:
            self._tell(work.value)

    def free(self, claim: Claim) -> None:
        """Give back the slot of work with an outcome that is not stored yet."""
        worker = self.workers.get(claim.work)
        if worker is not None:
            worker.free(claim)

    def heard(self, word: str) -> None:
        """Wake the worker of the kind of work that another process names.

        An empty `word` stands for hints that were lost, and wakes all workers.
        """
        for work, worker in self.workers.items():
            if word in {"", work.value}:
                worker.wake()

    def deliver(self, deliveries: Sequence[NewDelivery]) -> None:
        """Start the deliveries that hold a slot; the worker claims the others once there is room.

        The lanes of the others are marked as waiting a second time: a claim that ran before these deliveries
        were committed did not find them and may have cleared the first mark.
        """
        worker = self.workers.get(Work.DELIVER)
        for one in deliveries:
            if worker is None:
                self._tell(Work.DELIVER.value)
            elif one.claim is not None:
                worker.start(ClaimedDelivery(one.claim, one.delivery))
            else:
                worker.mark_waiting(one.lane)
