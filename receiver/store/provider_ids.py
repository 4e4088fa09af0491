"""The provider's ids: one of them names one job of an account."""

from collections.abc import Sequence
from dataclasses import replace

from handlers.contract import Proof
from receiver.domain.model import Job, Outcome, Source, Verdict, Word
from receiver.store.statements import Transaction, delete, query


def taken_by(words: Sequence[Word], jobs: dict[str, Job]) -> Transaction[dict[tuple[str, str], str]]:
    """Return the jobs that hold the provider ids that these words would bind.

    A job that holds an id only because an unproved callback guessed it gives it up to a word that proves it.
    """
    wanted: dict[tuple[str, str], bool] = {}
    for word in words:
        job = jobs.get(word.job_id)
        theirs = _names(word)
        if job is not None and theirs is not None and _may_bind(word, job):
            place = (job.account, theirs)
            wanted[place] = wanted.get(place, False) or _proves(word)
    taken: dict[tuple[str, str], str] = {}
    for account in sorted({account for account, _ in wanted}):
        found = yield query(
            "select id, provider_job_id, guessed_id, completed_at from job "
            "where account = :account and provider_job_id in (:theirs)",
            account=account,
            theirs=[theirs for owner, theirs in wanted if owner == account],
        )
        for row in found:
            place = (account, row["provider_job_id"])
            guessed = row["guessed_id"] == row["provider_job_id"]
            if guessed and wanted[place] and row["id"] not in jobs:
                yield from _unbind(row["id"], ended=row["completed_at"] is not None)
            else:
                taken[place] = row["id"]
    return taken


def _unbind(job_id: str, *, ended: bool) -> Transaction[None]:
    """Take a guessed id from a job, which is unconfirmed again; one that ended stays as it ended."""
    state = "" if ended else ", state = 'unconfirmed'"
    yield query(
        f"update job set provider_job_id = null, guessed_id = null{state} where id = :id",
        id=job_id,
    )
    yield delete("due", [job_id])


def _proves(word: Word) -> bool:
    """Return whether a word proves the provider's id that it names."""
    if word.source is Source.CALLBACK:
        return word.proof is Proof.PROVED and not word.confirm
    return word.guess is None


def _names(word: Word) -> str | None:
    """Return the provider's id that a word would bind to its job."""
    if word.update is not None:
        return word.guess or word.update.provider_job_id
    return word.note if word.verdict is Verdict.BIND else None


def _may_bind(word: Word, job: Job) -> bool:
    """Return whether a word may name the job's id at the provider."""
    return job.provider_job_id is None or word.verdict is Verdict.BIND


def unless_taken(word: Word, job: Job, taken: dict[tuple[str, str], str]) -> Word:
    """An id that another job holds binds nothing: the answer is kept, the job is as good as unanswered."""
    theirs = _names(word)
    if theirs is None or not _may_bind(word, job):
        return word
    owner = taken.get((job.account, theirs))
    if owner is None or owner == job.id:
        return word
    note = "the provider named an id that belongs to another job"
    verdict = Verdict.LOST if word.source is Source.SUBMISSION else None
    if word.guess is not None:
        verdict = Verdict.MISS
    return replace(word, update=None, verdict=verdict, note=note, kept_as=Outcome.MISMATCH)
