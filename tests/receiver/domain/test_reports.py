"""Reports: the values that each kind carries, and their form in the timeline."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from handlers.contract import Failure, FailureCode, Phase, Proof, Update
from receiver.domain.model import By, JobError, Outcome, Source, WaitReason
from receiver.domain.reports import (
    LOST_ANSWER,
    Action,
    Command,
    FailureKind,
    Note,
    ProviderFailure,
    ProviderUpdate,
    Report,
    details_of,
    error_of,
    guess_of,
    meaning_of,
    proof_of,
    raw_of,
    wait_of,
)

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
BASE: dict[str, Any] = {"job_id": "job_1", "at": NOW}
REFUSED = JobError(FailureCode.REJECTED, "no such model", "E1")
PAUSE = timedelta(seconds=7)

UPDATE = ProviderUpdate(
    **BASE,
    source=Source.CALLBACK,
    update=Update(provider_job_id="p1", phase=Phase.RUNNING, progress=0.25, left=2),
    proof=Proof.UNPROVED,
    guess="p1",
    status=200,
    headers=b"x: y",
    body=b"{}",
)
FAILURE = ProviderFailure(
    **BASE,
    source=Source.SUBMISSION,
    kind=FailureKind.RESTORE,
    error=REFUSED,
    status=429,
    wait=PAUSE,
    trouble=WaitReason.THROTTLED,
    guess="p2",
    note="slow down",
)
COMMAND = Command(
    **BASE, source=Source.NOTE, action=Action.GIVE_UP, by=By.OPERATOR, error=LOST_ANSWER, wait=PAUSE
)
NOTE = Note(
    **BASE,
    source=Source.CALLBACK,
    kept_as=Outcome.REFUSED,
    proof=Proof.UNPROVED,
    status=401,
    headers=b"a: b",
    body=b"?",
    note="a wrong signature",
)
EACH: list[Report] = [UPDATE, FAILURE, COMMAND, NOTE]
EMPTY = dict.fromkeys(
    (
        "status",
        "phase",
        "progress",
        "provider_job_id",
        "files_left",
        "proof",
        "error",
        "provider_code",
        "note",
        "verdict",
    )
)


def values(read: Any) -> list[Any]:
    """Return the value that `read` finds in an update, a failure, a command and a note."""
    return [read(report) for report in EACH]


def test_only_failures_and_commands_have_a_meaning() -> None:
    assert values(meaning_of) == [None, FailureKind.RESTORE, Action.GIVE_UP, None]


def test_only_updates_and_notes_need_a_proof() -> None:
    assert values(proof_of) == [Proof.UNPROVED, Proof.PROVED, Proof.PROVED, Proof.UNPROVED]


def test_only_failures_and_commands_carry_a_wait_and_an_error() -> None:
    assert values(wait_of) == [None, PAUSE, PAUSE, None]
    assert values(error_of) == [None, REFUSED, LOST_ANSWER, None]


def test_only_answers_to_a_poll_carry_the_guess_that_was_polled() -> None:
    assert values(guess_of) == ["p1", "p2", None, None]


def test_only_updates_and_notes_carry_a_raw_callback() -> None:
    assert values(raw_of) == [(b"x: y", b"{}"), (None, None), (None, None), (b"a: b", b"?")]


@pytest.mark.parametrize(
    ("report", "shown"),
    [
        (
            UPDATE,
            {
                "status": 200,
                "phase": "running",
                "progress": 0.25,
                "provider_job_id": "p1",
                "files_left": 2,
                "proof": "unproved",
            },
        ),
        (
            FAILURE,
            {
                "status": 429,
                "error": "no such model",
                "provider_code": "E1",
                "note": "slow down",
                "verdict": "restore",
            },
        ),
        (COMMAND, {"error": "the submission's answer was lost", "verdict": "give-up"}),
        (NOTE, {"status": 401, "note": "a wrong signature"}),
        (Note(**BASE, source=Source.NOTE), {}),
    ],
)
def test_the_timeline_shows_the_known_values_and_null_for_the_others(
    report: Report, shown: dict[str, Any]
) -> None:
    assert details_of(report) == EMPTY | shown


@pytest.mark.parametrize(
    ("source", "proof"), [(Source.CALLBACK, "proved"), (Source.POLL, None), (Source.SUBMISSION, None)]
)
def test_the_timeline_shows_a_proof_of_callbacks_only(source: Source, proof: str | None) -> None:
    failed = Update(provider_job_id=None, phase=Phase.FAILED, failure=Failure("E7", "no"))
    details = details_of(ProviderUpdate(**BASE, source=source, update=failed))
    assert details == EMPTY | {"phase": "failed", "proof": proof}


def test_raw_callbacks_are_left_out_of_the_text_of_a_report() -> None:
    assert "x: y" not in repr(UPDATE)
    assert "body" not in repr(NOTE)
    assert "a wrong signature" in repr(NOTE)
