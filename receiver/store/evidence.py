"""Evidence: every word about a job, as its timeline keeps it, within a budget for each job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from handlers import json
from handlers.contract import Proof
from handlers.values import immutable
from receiver.domain.model import Job, Outcome, Source, Word
from receiver.security.ids import IdGenerator
from receiver.store.statements import Transaction, insert, ms, query, update


@immutable
class Budget:
    """The callbacks that are kept whole for one job; those beyond share one entry that counts them."""

    entries: int
    size: int

    def holds(self, entries: int, size: int) -> bool:
        """Return whether so many entries of so many bytes together fit."""
        return entries <= self.entries and size <= self.size


PROVED = Budget(1_000, 8 * 1024 * 1024)
UNPROVED = Budget(20, 192 * 1024)
"""Anybody with the URL of a callback can send one that proves nothing, of any content and any number of
times. A provider's own are many where it tells of progress."""
UNKEPT = "this job has more callbacks than are kept: this entry counts them"


@dataclass(slots=True)
class Heard:
    """The callbacks that are kept for a job which is gone, and the last entry."""

    entries: int
    size: int
    last: str


def heard_of(job_ids: Sequence[str]) -> Transaction[dict[str, Heard]]:
    """Return the callbacks that are kept of jobs which are gone."""
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

    def file(self, word: Word, outcome: Outcome, before: Job, after: Job) -> Job:
        """Keep a word. Returns the job with the entry noted.

        Unchanged polls in a row share an entry, as do the callbacks beyond the budget. The callback that
        ends its job is always kept.
        """
        quiet = word.source is Source.POLL and outcome is Outcome.UNCHANGED
        if quiet and after.quiet_poll is not None:
            self._count(word, after.quiet_poll)
            return after
        if word.source is Source.CALLBACK:
            ends = after.state.final and not before.state.final
            heard, size = after.heard + 1, after.heard_bytes + _size(word)
            budget = PROVED if word.proof is Proof.PROVED else UNPROVED
            if not ends and not budget.holds(heard, size):
                return self._overflow(word, outcome, after)
            after = after.but(heard=heard, heard_bytes=size)
        entry = self._add(word, outcome, before, after)
        if quiet:
            return after.but(quiet_poll=entry)
        return after.but(quiet_poll=None) if after.quiet_poll is not None else after

    def file_orphan(self, word: Word) -> None:
        """Keep a word about a job that is gone, within the budget of unproved callbacks."""
        heard = self._orphans.get(word.job_id)
        if heard is None:
            heard = self._orphans[word.job_id] = Heard(0, 0, "")
        heard.entries, size = heard.entries + 1, heard.size + _size(word)
        if heard.last and not UNPROVED.holds(heard.entries, size):
            self._count(word, heard.last)
            return
        if UNPROVED.holds(heard.entries, size):
            heard.size = size
        else:
            word = replace(word, headers=None, body=None, note=UNKEPT)
        heard.last = self._add(word, Outcome.LATE, None, None)

    def write(self) -> Transaction[None]:
        """Write the entries, and count on those that were there."""
        yield insert("evidence", self._entries)
        yield from count_quiet(self._counted)

    def _overflow(self, word: Word, outcome: Outcome, job: Job) -> Job:
        if job.overflow is not None:
            self._count(word, job.overflow)
            return job
        return job.but(
            overflow=self._add(replace(word, headers=None, body=None, note=UNKEPT), outcome, job, job)
        )

    def _count(self, word: Word, entry: str) -> None:
        place = (word.job_id, entry)
        count, _ = self._counted.get(place, (0, 0))
        self._counted[place] = (count + 1, ms(word.at))

    def _add(self, word: Word, outcome: Outcome, before: Job | None, after: Job | None) -> str:
        entry, at = self._ids.new("evd", word.at), ms(word.at)
        told = json.write(told_of(word, before, after)).decode()
        self._entries.append(
            (entry, word.job_id, at, word.source.value, outcome.value, told, word.headers, word.body, 1, at)
        )
        return entry


def _size(word: Word) -> int:
    return len(word.body or b"") + len(word.headers or b"")


def count_quiet(quiet: Mapping[tuple[str, str], tuple[int, int]]) -> Transaction[None]:
    """Count further polls or callbacks, so many until such a time, on the entries (job, id) they share."""
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


def told_of(word: Word, before: Job | None, after: Job | None) -> dict[str, Any]:
    """What a word said, and how it moved its job, without what is unknown."""
    update = word.update
    told: dict[str, Any] = {
        "status": word.status,
        "phase": update.phase.value if update else None,
        "progress": update.progress if update else None,
        "provider_job_id": update.provider_job_id if update else None,
        "files_left": update.left if update else None,
        "proof": word.proof.value if word.source is Source.CALLBACK and update else None,
        "error": word.error.message if word.error else None,
        "provider_code": word.error.provider_code if word.error else None,
        "note": word.note,
        "verdict": word.verdict.value if word.verdict else None,
    }
    if before is not None and after is not None and before.state is not after.state:
        told |= {"from": before.state.value, "to": after.state.value}
    return {name: value for name, value in told.items() if value is not None}
