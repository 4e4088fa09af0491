"""Answers to submissions: their effect on a job, after any report or decision that came meanwhile."""

import pytest

from handlers.contract import Phase
from receiver.domain import lifecycle
from receiver.domain.lifecycle import RANK
from receiver.domain.model import FINAL, By, Outcome, State
from tests.receiver.domain.test_lifecycle import NOW, advance, job, says


@pytest.mark.parametrize("phase", Phase)
def test_the_answer_to_a_submission_replaces_an_id_that_a_hint_guessed(phase: Phase) -> None:
    guessed = lifecycle.hint(job(State.SUBMITTING), says("succeeded", "guess"), now=NOW, guess=True).job
    assert (guessed.provider_job_id, guessed.guessed_id) == (None, "guess")
    answered = advance(guessed, says(phase, "p1"), by=By.SUBMIT)
    assert (answered.job.provider_job_id, answered.job.guessed_id) == ("p1", None)
    assert RANK[answered.job.state] >= RANK[State.QUEUED]
    silent = advance(guessed, says(phase), by=By.SUBMIT)
    assert (silent.job.provider_job_id, silent.job.guessed_id) == (None, "guess")


@pytest.mark.parametrize("state", sorted(FINAL))
def test_a_job_that_ended_meanwhile_still_learns_its_id(state: State) -> None:
    change = advance(job(state), says("queued", "p1"), by=By.SUBMIT)
    assert (change.job.provider_job_id, change.job.state) == ("p1", state)
    assert (change.outcome, change.events) == (Outcome.LATE, ())


@pytest.mark.parametrize("by", [By.SUBMIT, By.POLL])
def test_an_answer_without_its_file_has_accepted_the_job(by: By) -> None:
    change = advance(job(State.SUBMITTING), says("succeeded", "p1", assets=()), by=by)
    assert (change.job.state, change.outcome) == (State.QUEUED, Outcome.INCOMPLETE)
