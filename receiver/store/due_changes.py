"""The due work of jobs as one transaction changes it."""

from datetime import datetime
from enum import Enum, auto
from typing import Any

from receiver.domain.model import ScheduledWork
from receiver.store.due import NOBODY, first_fence
from receiver.store.statements import Transaction, delete, insert, ms, query, update


class Then(Enum):
    """How the due work of a job changes after a word.

    `REPLACE`: the new one stands instead, None removing it. `KEEP`: it stays. `HASTEN`: work that waits is
    due no later than the new one; work that is under way stays.
    """

    REPLACE = auto()
    KEEP = auto()
    HASTEN = auto()


class Plans:
    """The changes of one transaction, by job."""

    def __init__(self) -> None:
        self._plans: dict[str, tuple[ScheduledWork | None, Then]] = {}

    def add(self, job_id: str, due: ScheduledWork | None, then: Then) -> None:
        """Lay the due work of a word over that of the words before it."""
        before = self._plans.get(job_id)
        if then is Then.KEEP:
            return
        if then is Then.HASTEN and before is not None and due is not None:
            earlier, then = before
            due = earlier if earlier is not None and earlier.at < due.at else due
        self._plans[job_id] = (due, then)

    def write(self, now: datetime) -> Transaction[None]:
        """Write the due work of every job."""
        yield delete("due", [job_id for job_id, (due, _) in self._plans.items() if due is None])
        planned = {job_id: (due, then) for job_id, (due, then) in self._plans.items() if due is not None}
        if not planned:
            return
        found = yield query("select id, at, leased from due where id in (:ids)", ids=list(planned))
        there = {row["id"]: row for row in found}
        changed = {
            job_id: due for job_id, (due, then) in planned.items() if _replaces(there.get(job_id), due, then)
        }
        values = [
            (due.work.value, due.lane, ms(due.at), 0, due.tries, job_id) for job_id, due in changed.items()
        ]
        yield update("due", ("work", "lane", "at", "leased", "tries"), values)
        yield query("update due set fence = fence + 1 where id in (:ids)", ids=list(changed))
        new = [
            (job_id, due.work.value, due.lane, ms(due.at), 0, first_fence(now), due.tries, NOBODY)
            for job_id, (due, _) in planned.items()
            if job_id not in there
        ]
        yield insert("due", new)


def _replaces(row: Any, due: ScheduledWork, then: Then) -> bool:
    """Return whether new due work is written over a row that is there."""
    if row is None:
        return False
    return then is Then.REPLACE or (not row["leased"] and row["at"] > ms(due.at))
