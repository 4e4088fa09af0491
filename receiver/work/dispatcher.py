"""The dispatcher: wakes the worker of a kind of work, and hands it new deliveries that may go out at once.

It is made before the workers, which register; everything that creates due work gets it as an argument.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

from receiver.domain.model import Claim, ScheduledWork, Work
from receiver.store.deliveries import ClaimedDelivery
from receiver.store.record import NewDelivery


class Prepared(Protocol):
    """Work that was claimed, with all that performing it needs."""

    @property
    def claim(self) -> Claim:
        """The lease under which it is performed."""


class WakeableWorker(Protocol):
    """A worker as the dispatcher knows it."""

    @property
    def work(self) -> Work:
        """The kind of work that it performs."""

    def wake(self, at: datetime | None = None) -> None:
        """Look for due work at a moment, or now."""

    def start(self, prepared: Any, /) -> None:
        """Perform work of its kind that holds a slot of its lane."""

    def mark_waiting(self, lane: str) -> None:
        """Note that due work waits for a slot of a lane."""


class Dispatcher:
    """Wakes workers and starts deliveries. Work of a kind that has no worker here is announced to the other
    processes through `tell`."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.workers: dict[Work, WakeableWorker] = {}
        self._tell = tell

    def register(self, worker: WakeableWorker) -> None:
        """Wake this worker for its kind of work from now on."""
        self.workers[worker.work] = worker

    def wake_at(self, due: ScheduledWork) -> None:
        """Wake the worker of this work's kind when the work is due."""
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

    def heard(self, word: str) -> None:
        """Wake the worker that another process names; an empty word stands for lost ones and wakes all."""
        for work, worker in self.workers.items():
            if word in {"", work.value}:
                worker.wake()

    def deliver(self, deliveries: Sequence[NewDelivery]) -> None:
        """Start the deliveries that hold a slot, and have a worker claim the others once there is room.

        That they wait is noted once more: a claim may have found nothing of them before they were committed.
        """
        worker = self.workers.get(Work.DELIVER)
        for one in deliveries:
            if worker is None:
                self._tell(Work.DELIVER.value)
            elif one.claim is not None:
                worker.start(ClaimedDelivery(one.claim, one.delivery))
            else:
                worker.mark_waiting(one.lane)
