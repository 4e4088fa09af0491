"""Polls of unconfirmed jobs: ids that are only guessed, and the policy for jobs without an id."""

from pathlib import Path

from handlers.contract import FailureCode
from receiver.domain.model import By, Job, Source, State, Work
from receiver.domain.reports import FailureKind
from receiver.store.statements import ms
from tests.receiver.job_steps import dues, hint, unconfirmed
from tests.receiver.providers.test_polling import poll
from tests.receiver.scripted_provider import ScriptedProvider, events, notes, service_at
from tests.receiver.store_fixture import StoreFixture, word

# Guesses: ids that only an unproved callback named.


async def guessed(fixture: StoreFixture) -> Job:
    """Return an unconfirmed job with an id that only a callback without a proof named."""
    await fixture.added("minimax", operation="video")
    [chosen] = await fixture.claim(Work.SUBMIT, {"minimax": 1})
    lost = word(chosen.job, fixture, source=Source.SUBMISSION, verdict=FailureKind.LOST, claim=chosen.claim)
    await fixture.hear(lost, hint(chosen.job, fixture, "p1"))
    job = await fixture.now(chosen.job)
    assert (job.state, job.provider_job_id, job.guessed_id) == (State.UNCONFIRMED, None, "p1")
    return job


async def test_a_guess_that_the_provider_confirms_becomes_the_id_of_the_job(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    provider.answer({"status": "Processing", "base_resp": {"status_code": 0}})
    job = await poll(fixture, await guessed(fixture))
    assert (job.state, job.provider_job_id, job.guessed_id) == (State.RUNNING, "p1", "p1")
    assert provider.calls == ["GET /v1/query/video_generation?task_id=p1"]


async def test_a_guess_that_the_provider_denies_is_dropped(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    provider.answer({"base_resp": {"status_code": 2013, "status_msg": "no such task"}})
    job = await poll(fixture, await guessed(fixture))
    assert (job.state, job.provider_job_id, job.guessed_id) == (State.UNCONFIRMED, None, None)
    assert job.misses == 0
    assert await dues(fixture, job) == []


async def test_a_guess_that_brings_no_answer_is_kept_and_polled_again(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    provider.break_connection()
    job = await poll(fixture, await guessed(fixture))
    assert (job.state, job.guessed_id) == (State.UNCONFIRMED, "p1")
    assert await dues(fixture, job) == [("poll", 4.0)]


# The policy for jobs with a lost answer and without a callback.


async def undecided(fixture: StoreFixture) -> Job:
    """Return an unconfirmed job for which the policy is due now."""
    job, _ = await unconfirmed(fixture)
    await fixture.write(
        "insert into due (id, work, lane, at, leased, fence, tries, owner) "
        "values (:id, 'poll', 'aiml', :at, 0, 1, 0, '') on conflict (id) do update set at = excluded.at",
        id=job.id,
        at=ms(fixture.clock.at),
    )
    return job


async def test_the_policy_hold_leaves_the_job_to_its_operator(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await poll(fixture, await undecided(fixture), "hold")
    assert (job.state, job.error) == (State.UNCONFIRMED, None)
    assert await dues(fixture, job) == []
    assert [name for name, _ in await events(fixture)] == ["job.unconfirmed"]
    assert provider.calls == []


async def test_the_policy_fail_ends_the_job(tmp_path: Path, provider: ScriptedProvider) -> None:
    async with service_at(provider, tmp_path, on_unconfirmed="fail", unconfirmed_after="600") as fixture:
        job, _ = await unconfirmed(fixture)
        assert await dues(fixture, job) == [("poll", 600.0)]
        job = await poll(fixture, job, "fail")
        assert job.error is not None
        assert (job.state, job.completed_by, job.error.code) == (State.FAILED, By.SUBMIT, FailureCode.LOST)
        assert job.error.message == "the submission's answer was lost, and no callback came"
        assert (await notes(fixture, job))[-1] == "on_unconfirmed"
        assert await dues(fixture, job) == []
        assert provider.calls == []


async def test_the_policy_resubmit_makes_the_submission_due_again(
    tmp_path: Path, provider: ScriptedProvider
) -> None:
    async with service_at(provider, tmp_path, on_unconfirmed="resubmit", unconfirmed_after="600") as fixture:
        job = await poll(fixture, (await unconfirmed(fixture))[0], "resubmit")
        assert (job.state, job.intents) == (State.PENDING, 1)
        [(work, at)] = await dues(fixture, job)
        assert (work, at - 600) == ("submit", 2.0)
        assert provider.calls == []
