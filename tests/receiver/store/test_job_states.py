"""States of jobs in a real store: read at once for all calls that wait."""

import pytest

from receiver.domain.model import State, Work
from receiver.store import job_states
from receiver.store.job_states import state_of, watched
from tests.receiver.store_fixture import StoreFixture
from tests.receiver.store_steps import ended, failed


async def test_without_an_event_the_newest_position_is_0(fixture: StoreFixture) -> None:
    assert await fixture.store.read(watched([])) == (0, {})
    job = await fixture.added()
    assert await fixture.store.read(watched([job.id])) == (0, {job.id: State.PENDING})


async def test_the_states_of_the_jobs_that_exist_are_read_with_the_newest_position(
    fixture: StoreFixture,
) -> None:
    pending, sent = await fixture.added("aiml"), await fixture.added()
    await fixture.claim(Work.SUBMIT, {"apiframe": 1})
    gone, done = await failed(fixture), await ended(fixture)
    [newest] = await fixture.column("select max(seq) from event")
    asked = [pending.id, "job_unknown", sent.id, gone, done.id]
    assert await fixture.store.read(watched(asked)) == (
        newest,
        {
            pending.id: State.PENDING,
            sent.id: State.SUBMITTING,
            gone: State.FAILED,
            done.id: State.SUCCEEDED,
        },
    )


async def test_many_jobs_are_read_in_several_statements(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_states, "AT_ONCE", 2)
    made = [(await fixture.added()).id for _ in range(5)]
    assert await fixture.store.read(watched(made)) == (0, dict.fromkeys(made, State.PENDING))


async def test_the_state_of_one_job_is_read_alone(fixture: StoreFixture) -> None:
    job = await fixture.added()
    assert await fixture.store.read(state_of(job.id)) is State.PENDING
    assert await fixture.store.read(state_of(fixture.job().id)) is None
