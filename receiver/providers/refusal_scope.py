"""The subject of a refusal: one job, or its account. Pure, so that it can be told by a table of stories.

A refusal that speaks of the key or the balance is about the account, and so are refusals of several
operations or jobs in a row. A job that is refused again although the account took another call since stands
for itself.
"""

from dataclasses import dataclass, field

from receiver.domain.bounded import keep

JOBS = 3
"""So many different jobs refused in a row make it the account, whatever their operations."""
KEPT = 1000
"""Refused jobs that are remembered of an account."""


@dataclass(slots=True)
class RefusedJob:
    """The refusals of one job: after how many taken calls the first came, and how many there were."""

    operation: str
    seen: int
    count: int = 0


@dataclass(slots=True)
class RefusalScope:
    """The refused jobs of one account by one door, and how many calls it took."""

    taken: int = 0
    refused: dict[str, RefusedJob] = field(default_factory=dict)

    def takes(self, job_id: str) -> None:
        """Count a call that the account took."""
        self.taken += 1
        self.refused.pop(job_id, None)

    def refuses(self, job_id: str, operation: str, *, certain: bool) -> tuple[bool, int]:
        """Count a refused call; returns whether it is the account, and how often this job was refused."""
        found = self.refused.get(job_id)
        if found is None:
            found = RefusedJob(operation, self.taken)
            keep(self.refused, job_id, found, KEPT)
        found.count += 1
        if found.seen < self.taken:
            return False, found.count
        together = [one.operation for one in self.refused.values() if one.seen == self.taken]
        return certain or len(set(together)) > 1 or len(together) >= JOBS, found.count
