"""Reports: everything said about a job by its provider, an operator or the clock, as one sum type.

A report is folded into its job by `events.interpreter` and kept as an entry of the job's timeline.
"""

import enum
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from typing import TypeAlias

from handlers.contract import FailureCode, Proof, Update
from handlers.values import immutable
from receiver.domain.model import By, Claim, Job, JobError, Outcome, Source, WaitReason


class FailureKind(enum.StrEnum):
    """The meaning of a call to the provider that brought no update.

    `LOST`: a submission that may have been accepted. `RESTORE`: nothing was accepted, so it is sent again.
    `REJECT`: a final refusal. `MISS`: the provider does not know the job or its file. `TRANSIENT`: the call
    says nothing about the job.
    """

    LOST = "lost"
    RESTORE = "restore"
    REJECT = "reject"
    MISS = "miss"
    TRANSIENT = "transient"


class Action(enum.StrEnum):
    """A decision about a job. `CANCEL_ASKED` and `CANCEL_FAILED` are outcomes of a call to the provider."""

    EXPIRE = "expire"
    CANCEL = "cancel"
    CANCEL_ASKED = "cancel-asked"
    CANCEL_FAILED = "cancel-failed"
    BIND = "bind"
    RESUBMIT = "resubmit"
    GIVE_UP = "give-up"


@immutable(kw_only=True)
class _Base:
    """The fields of every report. `claim` is the due work that it settles, `note` a text for people."""

    job_id: str
    source: Source
    at: datetime
    claim: Claim | None = None
    note: str | None = None


@immutable(kw_only=True)
class ProviderUpdate(_Base):
    """An update from the provider: the response to a submission or a poll, or a callback.

    `confirm` asks for a poll before the update of a callback counts. `guess` is the guessed id that was
    polled, and `hinted` says that a callback caused the poll. `headers` and `body` are the raw callback.
    """

    update: Update
    proof: Proof = Proof.PROVED
    confirm: bool = False
    guess: str | None = None
    hinted: bool = False
    status: int | None = None
    headers: bytes | None = field(default=None, repr=False)
    body: bytes | None = field(default=None, repr=False)


@immutable(kw_only=True)
class ProviderFailure(_Base):
    """A call to the provider that brought no update.

    `wait` is the time for which to leave the provider alone, `trouble` the reason shown for it. `intent` is
    the number of the submission that failed, `guess` the guessed id that was polled. `kept_as` is the outcome
    in the timeline, where it is not that of the fold.
    """

    kind: FailureKind
    error: JobError | None = None
    status: int | None = None
    wait: timedelta | None = None
    trouble: WaitReason | None = None
    intent: int | None = None
    guess: str | None = None
    kept_as: Outcome | None = None


@immutable(kw_only=True)
class Command(_Base):
    """A decision of an operator, of a policy or of the clock, or the outcome of asking for a cancellation.

    `by` is the completer of the job where the action ends it. `provider_job_id` is the id for `BIND`.
    """

    action: Action
    by: By | None = None
    error: JobError | None = None
    provider_job_id: str | None = None
    wait: timedelta | None = None


@immutable(kw_only=True)
class Note(_Base):
    """A message that changes nothing and is only kept: a refused or unreadable callback."""

    kept_as: Outcome = Outcome.UNPARSED
    proof: Proof = Proof.PROVED
    status: int | None = None
    headers: bytes | None = field(default=None, repr=False)
    body: bytes | None = field(default=None, repr=False)


Report: TypeAlias = ProviderUpdate | ProviderFailure | Command | Note

LOST_ANSWER = JobError(FailureCode.LOST, "the submission's answer was lost")
"""The error of a job with a lost answer, where a report carries none."""


def meaning_of(report: Report) -> FailureKind | Action | None:
    """Return the kind of a failure or the action of a command."""
    match report:
        case ProviderFailure():
            return report.kind
        case Command():
            return report.action
        case _:
            return None


def proof_of(report: Report) -> Proof:
    """Return the proof of a callback; other reports need none and count as proved."""
    return report.proof if isinstance(report, (ProviderUpdate, Note)) else Proof.PROVED


def wait_of(report: Report) -> timedelta | None:
    """Return the time for which to leave the provider alone after a report, if it carries one."""
    return report.wait if isinstance(report, (ProviderFailure, Command)) else None


def error_of(report: Report) -> JobError | None:
    """Return the error that a report carries, if any."""
    return report.error if isinstance(report, (ProviderFailure, Command)) else None


def guess_of(report: Report) -> str | None:
    """Return the guessed id that was polled, if the report answers such a poll."""
    return report.guess if isinstance(report, (ProviderUpdate, ProviderFailure)) else None


def raw_of(report: Report) -> tuple[bytes | None, bytes | None]:
    """Return the raw headers and body of a callback."""
    return (report.headers, report.body) if isinstance(report, (ProviderUpdate, Note)) else (None, None)


def details_of(report: Report) -> Mapping[str, object]:
    """Return a report as the timeline shows it, None for unknown values."""
    update = report.update if isinstance(report, ProviderUpdate) else None
    error, meaning = error_of(report), meaning_of(report)
    proved = update is not None and report.source is Source.CALLBACK
    return {
        "status": None if isinstance(report, Command) else report.status,
        "phase": update.phase.value if update else None,
        "progress": update.progress if update else None,
        "provider_job_id": update.provider_job_id if update else None,
        "files_left": update.left if update else None,
        "proof": report.proof.value if proved and isinstance(report, ProviderUpdate) else None,
        "error": error.message if error else None,
        "provider_code": error.provider_code if error else None,
        "note": report.note,
        "verdict": meaning.value if meaning else None,
    }


def callback_missed(report: Report, before: Job, after: Job) -> bool:
    """Return whether a job that a report has ended should have ended by a callback, and none was heard.

    A poll that an unproved callback caused only confirms it, and so do those after a callback whose result
    was not there yet.
    """
    confirmed = (isinstance(report, ProviderUpdate) and report.hinted) or before.hinted_polls > 0
    return after.expects_callback and after.completed_by is By.POLL and not confirmed
