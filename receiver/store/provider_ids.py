"""The provider's job ids: one of them names one job of an account."""

from collections.abc import Sequence
from typing import Any

from handlers.contract import Proof
from receiver.domain.model import Job, Outcome, Source
from receiver.domain.reports import (
    Action,
    Command,
    FailureKind,
    Note,
    ProviderFailure,
    ProviderUpdate,
    Report,
    guess_of,
    meaning_of,
    proof_of,
    raw_of,
)
from receiver.store.statements import Transaction, delete, query


def taken_by(reports: Sequence[Report], jobs: dict[str, Job]) -> Transaction[dict[tuple[str, str], str]]:
    """Return the jobs that hold the provider ids that these reports would bind, by account and id.

    A job with an id that only an unproved callback guessed gives it up to a report that proves it.
    """
    wanted: dict[tuple[str, str], bool] = {}
    for report in reports:
        job = jobs.get(report.job_id)
        theirs = _names(report)
        if job is not None and theirs is not None and _may_bind(report, job):
            place = (job.account, theirs)
            wanted[place] = wanted.get(place, False) or _proves(report)
    owners: dict[tuple[str, str], str] = {}
    for account in sorted({account for account, _ in wanted}):
        found = yield query(
            "select id, provider_job_id, guessed_id, completed_at from job "
            "where account = :account and provider_job_id in (:theirs)",
            account=account,
            theirs=[theirs for owner, theirs in wanted if owner == account],
        )
        for row in found:
            place = (account, row["provider_job_id"])
            # Equal where a poll confirmed a guess; an id that was proved first is bound without a guess.
            guessed = row["guessed_id"] == row["provider_job_id"]
            # A job of this batch has been read already, so its row must not change under its fold.
            if guessed and wanted[place] and row["id"] not in jobs:
                yield from _unbind(row["id"], ended=row["completed_at"] is not None)
            else:
                owners[place] = row["id"]
    return owners


def _unbind(job_id: str, *, ended: bool) -> Transaction[None]:
    """Take a guessed id from a job, which is unconfirmed again; a job that ended stays as it is."""
    state = "" if ended else ", state = 'unconfirmed'"
    yield query(
        f"update job set provider_job_id = null, guessed_id = null{state} where id = :id",
        id=job_id,
    )
    yield delete("due", [job_id])


def _proves(report: Report) -> bool:
    """Return whether a report proves the provider's id that it names."""
    if isinstance(report, ProviderUpdate) and report.source is Source.CALLBACK:
        return report.proof is Proof.PROVED and not report.confirm
    return guess_of(report) is None


def _names(report: Report) -> str | None:
    """Return the provider's id that a report would bind to its job."""
    match report:
        case ProviderUpdate():
            return report.guess or report.update.provider_job_id
        case Command(action=Action.BIND):
            return report.provider_job_id
        case _:
            return None


def _may_bind(report: Report, job: Job) -> bool:
    """Return whether a report may name the job's id at the provider."""
    return job.provider_job_id is None or meaning_of(report) is Action.BIND


def unless_taken(report: Report, job: Job, owners: dict[tuple[str, str], str]) -> Report:
    """Return the report to fold: one that names the id of another job is replaced by one that binds nothing.

    It is kept, and its job counts as unanswered.
    """
    theirs = _names(report)
    if theirs is None or not _may_bind(report, job):
        return report
    owner = owners.get((job.account, theirs))
    if owner is None or owner == job.id:
        return report
    return _mismatch(report)


def _mismatch(report: Report) -> Report:
    common: dict[str, Any] = {
        "job_id": report.job_id,
        "source": report.source,
        "at": report.at,
        "claim": report.claim,
        "note": "the provider named an id that belongs to another job",
        "kept_as": Outcome.MISMATCH,
    }
    guess, status = guess_of(report), report.status if isinstance(report, ProviderUpdate) else None
    if guess is not None:
        return ProviderFailure(kind=FailureKind.MISS, guess=guess, status=status, **common)
    if report.source is Source.SUBMISSION:
        return ProviderFailure(kind=FailureKind.LOST, status=status, **common)
    headers, body = raw_of(report)
    return Note(proof=proof_of(report), status=status, headers=headers, body=body, **common)
