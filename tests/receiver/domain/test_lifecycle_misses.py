"""Misses: the end of a job that its provider does not know, or that never gets its file."""

from datetime import timedelta

import pytest

from handlers.contract import Failure, FailureCode
from receiver.domain import lifecycle
from receiver.domain.lifecycle import LOST_AFTER, LOST_MISSES, RESULT_GAP, RESULT_MISSES, Change
from receiver.domain.model import By, JobError, Outcome, State
from tests.receiver.domain.test_lifecycle import FILE, NOW, advance, job, says


def test_a_success_without_a_file_is_asked_again_and_fails_in_the_end() -> None:
    found, now = job(), NOW
    for _ in range(RESULT_MISSES - 1):
        change = advance(found, says("succeeded", assets=()), now=now)
        assert (change.job.state, change.events, change.outcome) == (State.QUEUED, (), Outcome.INCOMPLETE)
        found = change.job
        at_once = advance(found, says("succeeded", assets=()), now=now + RESULT_GAP - timedelta(seconds=1))
        assert (at_once.job, at_once.outcome) == (found, Outcome.INCOMPLETE)
        now += RESULT_GAP
    change = advance(found, says("succeeded", assets=()), now=now)
    assert (change.job.state, change.events) == (State.FAILED, ("job.failed",))
    assert change.job.error is not None
    assert change.job.error.code is FailureCode.RESULT_MISSING


def test_a_callback_without_a_file_waits_for_a_poll_and_is_no_miss() -> None:
    before = job()
    for _ in range(RESULT_MISSES + 1):
        change = advance(before, says("succeeded", assets=()), by=By.CALLBACK)
        assert change == Change(before, outcome=Outcome.INCOMPLETE)


@pytest.mark.parametrize(
    ("others", "state"),
    [
        ({"needs_file": False}, State.SUCCEEDED),
        ({"can_poll": False}, State.FAILED),
        ({"can_poll": False, "by": By.CALLBACK}, State.FAILED),
    ],
)
def test_a_success_without_a_file_where_nothing_else_will_come(
    others: dict[str, object], state: State
) -> None:
    assert advance(job(), says("succeeded", assets=()), **others).job.state is state


def test_a_success_that_tells_of_a_failure_is_one() -> None:
    update = says("succeeded", failure=Failure("E1", "the file is gone"))
    change = advance(job(), update)
    assert change.job.error == JobError(FailureCode.RESULT_MISSING, "the file is gone", "E1")


def test_a_success_whose_file_was_held_back_for_its_content_says_so() -> None:
    held = Failure("nsfw", "NSFW content detected", FailureCode.CONTENT_POLICY)
    change = advance(job(), says("succeeded", assets=(), failure=held))
    assert change.job.error == JobError(FailureCode.CONTENT_POLICY, "NSFW content detected", "nsfw")


def test_a_success_after_misses_forgets_nothing_of_the_result() -> None:
    update = says("succeeded", result={"lyrics": "la"}, usage={"credits": 3})
    done = advance(job(misses=RESULT_MISSES - 1), update).job
    assert (done.state, done.result, done.usage, done.assets) == (
        State.SUCCEEDED,
        b'{"lyrics":"la"}',
        {"credits": 3},
        (FILE,),
    )


def test_a_job_that_was_not_known_at_first_may_still_be_asked_for_its_file() -> None:
    found = job()
    for _ in range(RESULT_MISSES - 1):
        found = lifecycle.miss(found, now=NOW, by=By.POLL).job
    assert advance(found, says("succeeded", assets=())).job.state is State.QUEUED


LONG = LOST_AFTER.total_seconds()


@pytest.mark.parametrize(
    ("times", "over", "state"),
    [
        (1, 0.0, State.QUEUED),
        (LOST_MISSES - 1, LONG * 10, State.QUEUED),
        (LOST_MISSES, LONG - 1, State.QUEUED),
        (LOST_MISSES, LONG, State.FAILED),
        (LOST_MISSES * 5, LONG / 2, State.QUEUED),
    ],
)
def test_a_job_is_lost_only_after_misses_over_time(times: int, over: float, state: State) -> None:
    found, events = job(), list[str]()
    for number in range(times):
        at = NOW + timedelta(seconds=over * number / max(times - 1, 1))
        change = lifecycle.miss(found, now=at, by=By.POLL)
        found, events = change.job, [*events, *change.events]
    assert found.state is state
    assert events == (["job.failed"] if state is State.FAILED else [])
    assert (found.error.code if found.error else None) == (FailureCode.LOST if events else None)


@pytest.mark.parametrize("phase", ["queued", "running", "unknown"])
def test_a_word_about_the_job_ends_a_row_of_misses(phase: str) -> None:
    missing = job(misses=LOST_MISSES - 1, missing_since=NOW - LOST_AFTER)
    found = advance(missing, says(phase)).job
    assert (found.misses, found.missing_since) == (0, None)
    assert lifecycle.miss(found, now=NOW + LOST_AFTER, by=By.POLL).job.state is not State.FAILED
