"""Evidence: every report about a job, as its timeline keeps it, within a budget for each job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from handlers import json
from handlers.contract import Proof
from handlers.values import immutable
from receiver.domain.model import Job, Outcome, Source
from receiver.domain.reports import Report, details_of, proof_of, raw_of
from receiver.security.ids import IdGenerator
from receiver.store.rows import evidence_row
from receiver.store.statements import Transaction, insert, moment, ms, query, update


@immutable
class Budget:
    """The callbacks that are kept whole for one job; further ones share one entry that counts them."""

    entries: int
    size: int

    def holds(self, entries: int, size: int) -> bool:
        """Return whether so many entries of so many bytes together fit."""
        return entries <= self.entries and size <= self.size


PROVED = Budget(1_000, 8 * 1024 * 1024)
"""The budget of proved callbacks: large, because a provider may report progress in many of them."""
UNPROVED = Budget(20, 192 * 1024)
"""The budget of unproved callbacks: small, because any sender with the URL can send any number of them, with
any content.
"""
UNKEPT = "this job has more callbacks than are kept: this entry counts them"


@dataclass(slots=True)
class Heard:
    """The callbacks kept for a job that is gone: their number, their size, and the id of the last entry."""

    entries: int
    size: int
    last: str


@immutable(kw_only=True)
class RawMessage:
    """A message of the provider as it came."""

    id: str
    at: datetime
    kind: str
    outcome: str
    headers: Sequence[tuple[str, str]]
    body: bytes


def messages(job_id: str, after: str, limit: int) -> Transaction[list[RawMessage]]:
    """Return the messages that are kept whole of a job, oldest first, behind the entry `after`."""
    found = yield query(
        "select id, at, kind, outcome, headers, body from evidence "
        "where job = :job and id > :after and body is not null order by id limit :limit",
        job=job_id,
        after=after,
        limit=limit,
    )
    return [
        RawMessage(
            id=row["id"],
            at=moment(row["at"]),
            kind=row["kind"],
            outcome=row["outcome"],
            headers=[(str(pair[0]), str(pair[1])) for pair in json.read(bytes(row["headers"] or b"[]"))],
            body=bytes(row["body"]),
        )
        for row in found
    ]


def heard_of(job_ids: Sequence[str]) -> Transaction[dict[str, Heard]]:
    """Return the callbacks that are kept of jobs that are gone, by job."""
    if not job_ids:
        return {}
    found = yield query(
        "select job, count(*) as entries, coalesce(sum(length(body)), 0) as size, max(id) as last "
        "from evidence where job in (:ids) group by job",
        ids=list(job_ids),
    )
    return {row["job"]: Heard(row["entries"], int(row["size"]), row["last"]) for row in found}


class Evidence:
    """The entries that one transaction writes."""

    def __init__(self, ids: IdGenerator, orphans: dict[str, Heard]) -> None:
        self._ids = ids
        self._orphans = orphans
        self._entries: list[tuple[Any, ...]] = []
        self._counted: dict[tuple[str, str], tuple[int, int]] = {}

    def file(self, report: Report, outcome: Outcome, before: Job, after: Job) -> Job:
        """Keep a report. Returns the job with the entry noted.

        Unchanged polls in a row share an entry, as do the callbacks beyond the budget. The callback that ends
        its job is always kept.
        """
        quiet = report.source is Source.POLL and outcome is Outcome.UNCHANGED
        if quiet and after.quiet_poll is not None:
            self._count(report, after.quiet_poll)
            return after
        if report.source is Source.CALLBACK:
            ends = after.state.final and not before.state.final
            heard, size = after.heard + 1, after.heard_bytes + _size(report)
            budget = PROVED if proof_of(report) is Proof.PROVED else UNPROVED
            # The number is up to the sender. Why: receiver/README.md#hints-have-a-budget
            if not ends and not budget.holds(heard, size):
                return self._overflow(report, outcome, after)
            after = after.but(heard=heard, heard_bytes=size)
        entry = self._add(report, outcome, before, after)
        if quiet:
            return after.but(quiet_poll=entry)
        return after.but(quiet_poll=None) if after.quiet_poll is not None else after

    def file_orphan(self, report: Report) -> None:
        """Keep a report about a job that is gone, within the budget of unproved callbacks."""
        heard = self._orphans.get(report.job_id)
        if heard is None:
            heard = self._orphans[report.job_id] = Heard(0, 0, "")
        heard.entries, size = heard.entries + 1, heard.size + _size(report)
        if heard.last and not UNPROVED.holds(heard.entries, size):
            self._count(report, heard.last)
            return
        fits = UNPROVED.holds(heard.entries, size)
        if fits:
            heard.size = size
        heard.last = self._add(report, Outcome.LATE, None, None, whole=fits)

    def write(self) -> Transaction[None]:
        """Write the entries, and add to the counts of those that exist."""
        yield insert("evidence", self._entries)
        yield from count_quiet(self._counted)

    def _overflow(self, report: Report, outcome: Outcome, job: Job) -> Job:
        if job.overflow is not None:
            self._count(report, job.overflow)
            return job
        return job.but(overflow=self._add(report, outcome, job, job, whole=False))

    def _count(self, report: Report, entry: str) -> None:
        place = (report.job_id, entry)
        count, _ = self._counted.get(place, (0, 0))
        self._counted[place] = (count + 1, ms(report.at))

    def _add(
        self, report: Report, outcome: Outcome, before: Job | None, after: Job | None, *, whole: bool = True
    ) -> str:
        """Add an entry; one that is not `whole` leaves out the raw callback. Returns its id."""
        entry = self._ids.new("evd", report.at)
        details = dict(details_of(report)) | _move(before, after)
        if not whole:
            details["note"] = UNKEPT
        headers, body = raw_of(report) if whole else (None, None)
        self._entries.append(
            evidence_row(
                id=entry,
                job=report.job_id,
                at=report.at,
                kind=report.source,
                outcome=outcome.value,
                details={name: value for name, value in details.items() if value is not None},
                headers=headers,
                body=body,
            )
        )
        return entry


def _size(report: Report) -> int:
    headers, body = raw_of(report)
    return len(headers or b"") + len(body or b"")


def _move(before: Job | None, after: Job | None) -> dict[str, str]:
    """Return the states between which a report moved its job."""
    if before is None or after is None or before.state is after.state:
        return {}
    return {"from": before.state.value, "to": after.state.value}


def count_quiet(quiet: Mapping[tuple[str, str], tuple[int, int]]) -> Transaction[None]:
    """Add to the counts of entries (job, id): each value is a number and the time of the last report."""
    if not quiet:
        return
    found = yield query(
        "select job, id, count from evidence where job in (:jobs) and id in (:ids)",
        jobs=[job for job, _ in quiet],
        ids=[entry for _, entry in quiet],
    )
    values = []
    for job, entry, count in found:
        more, last_at = quiet[job, entry]
        values.append((count + more, last_at, job, entry))
    yield update("evidence", ("count", "last_at"), values, key=("job", "id"))
