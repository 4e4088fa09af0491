"""The scope of a refusal: one job, or its account. Pure.

A refusal about the key or the balance concerns the account, and so do refusals of several operations or jobs
in a row. A job that is refused again although the account accepted another call in between is refused alone.
"""

from dataclasses import dataclass, field

from receiver.domain.bounded import keep

JOBS = 3
"""The number of different jobs refused in a row that means the account, even if all have one operation."""
KEPT = 1000
"""The number of refused jobs that are remembered of an account."""


@dataclass(slots=True)
class RefusedJob:
    """The refusals of one job: the number of accepted calls before the first (`seen`), and their `count`."""

    operation: str
    seen: int
    count: int = 0


@dataclass(slots=True)
class RefusalScope:
    """The refused jobs of one account for one kind of call, and the number of `accepted` calls."""

    accepted: int = 0
    refused: dict[str, RefusedJob] = field(default_factory=dict)

    def takes(self, job_id: str) -> None:
        """Count a call that the account accepted."""
        self.accepted += 1
        self.refused.pop(job_id, None)

    def refuses(self, job_id: str, operation: str, *, certain: bool) -> tuple[bool, int]:
        """Count a refused call. Returns whether the account is refused, and the refusals of this job."""
        found = self.refused.get(job_id)
        if found is None:
            found = RefusedJob(operation, self.accepted)
            keep(self.refused, job_id, found, KEPT)
        found.count += 1
        # The account accepted another call since the first refusal, so it is this job that is refused.
        if found.seen < self.accepted:
            return False, found.count
        together = [one.operation for one in self.refused.values() if one.seen == self.accepted]
        return certain or len(set(together)) > 1 or len(together) >= JOBS, found.count
