"""Changes of the due work of jobs within one transaction."""

from datetime import datetime
from typing import Any, TypeAlias

from handlers.values import immutable
from receiver.domain.model import ScheduledWork
from receiver.store.due import first_fence
from receiver.store.rows import due_row
from receiver.store.statements import Transaction, delete, insert, ms, query, update


@immutable
class Replace:
    """A replacement of the due work; None removes it."""

    due: ScheduledWork | None


@immutable
class Hasten:
    """A hastening: waiting due work becomes due no later than this; work under way stays."""

    due: ScheduledWork


@immutable
class Keep:
    """No change of the due work."""


DueChange: TypeAlias = Replace | Hasten | Keep


class DueChanges:
    """The changes of one transaction, by job."""

    def __init__(self) -> None:
        self._changes: dict[str, Replace | Hasten] = {}

    def add(self, job_id: str, change: DueChange) -> None:
        """Combine the change of a report with that of earlier reports on the same job."""
        match change:
            case Keep():
                return
            case Hasten():
                self._changes[job_id] = _hastened(self._changes.get(job_id), change)
            case Replace():
                self._changes[job_id] = change

    def write(self, now: datetime) -> Transaction[None]:
        """Write the changed due work of every job."""
        yield delete("due", [job_id for job_id, change in self._changes.items() if change.due is None])
        wanted = {job_id: change.due for job_id, change in self._changes.items() if change.due is not None}
        if not wanted:
            return
        found = yield query("select id, at, leased from due where id in (:ids)", ids=list(wanted))
        there = {row["id"]: row for row in found}
        changed = {
            job_id: due
            for job_id, due in wanted.items()
            if job_id in there and _overwrites(there[job_id], self._changes[job_id], due)
        }
        values = [
            (due.work.value, due.lane, ms(due.at), 0, due.tries, job_id) for job_id, due in changed.items()
        ]
        yield update("due", ("work", "lane", "at", "leased", "tries"), values)
        # A higher fence makes claims of the replaced due work stale.
        yield query("update due set fence = fence + 1 where id in (:ids)", ids=list(changed))
        fence = first_fence(now)
        new = [
            due_row(id=job_id, work=due.work, lane=due.lane, at=due.at, fence=fence, tries=due.tries)
            for job_id, due in wanted.items()
            if job_id not in there
        ]
        yield insert("due", new)


def _hastened(before: Replace | Hasten | None, change: Hasten) -> Replace | Hasten:
    if before is None:
        return change
    sooner = before.due is not None and before.due.at < change.due.at
    due = before.due if sooner and before.due is not None else change.due
    # The kind of the earlier change stays: a replacement must not become a mere hastening.
    return Replace(due) if isinstance(before, Replace) else Hasten(due)


def _overwrites(row: Any, change: Replace | Hasten, due: ScheduledWork) -> bool:
    """Return whether new due work overwrites an existing row."""
    return isinstance(change, Replace) or (not row["leased"] and row["at"] > ms(due.at))
