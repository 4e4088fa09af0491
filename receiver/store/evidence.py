"""Evidence: every word about a job, as its timeline keeps it."""

from collections.abc import Mapping
from typing import Any

from receiver.model import Job, Source, Word
from receiver.store.statements import Transaction, change, rows


def count_quiet(quiet: Mapping[tuple[str, str], tuple[int, int]]) -> Transaction[None]:
    """Count further unchanged polls, so many until such a time, on the entries (job, id) that they share."""
    if not quiet:
        return
    found = yield rows(
        "select job, id, count from evidence where job in (:jobs) and id in (:ids)",
        jobs=[job for job, _ in quiet],
        ids=[entry for _, entry in quiet],
    )
    values = []
    for job, entry, count in found:
        more, last_at = quiet[job, entry]
        values.append((count + more, last_at, job, entry))
    yield change("evidence", ("count", "last_at"), values, key=("job", "id"))


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
