"""Values of the service: final states, changed jobs and reserved slots."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta

from receiver.domain.model import Job, Reserved, State

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
JOB = Job(
    id="job_1",
    account="aiml",
    operation="video",
    state=State.PENDING,
    created_at=NOW,
    updated_at=NOW,
    deadline_at=NOW + timedelta(hours=2),
)


def test_four_states_are_final() -> None:
    assert {state.value for state in State if state.final} == {"succeeded", "failed", "canceled", "expired"}


def test_a_changed_job_leaves_the_first_as_it_was() -> None:
    changed = JOB.but(state=State.QUEUED, provider_job_id="p1")
    assert (changed.state, changed.provider_job_id, changed.id) == (State.QUEUED, "p1", "job_1")
    assert (JOB.state, JOB.provider_job_id) == (State.PENDING, None)
    assert changed.but(state=State.PENDING, provider_job_id=None) == JOB


def test_a_job_that_is_made_of_its_values_equals_the_first() -> None:
    assert Job.of({one.name: getattr(JOB, one.name) for one in fields(JOB)}) == JOB


def test_a_reservation_is_true_where_a_slot_was_taken() -> None:
    assert Reserved()
    assert not Reserved("ep_1~")
    assert Reserved("ep_1~").waits_in == "ep_1~"
