"""Polls: the meaning of each answer, polls that a hint asks for, and cancellations."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import FailureCode, Phase
from handlers.errors import AccountRefused
from receiver.domain.model import By, Claim, Job, State, WaitReason, Work
from receiver.domain.reports import Action, FailureKind, ProviderFailure
from receiver.providers.polling import Poller
from receiver.store.jobs import ClaimedPoll
from tests.ports import free_port
from tests.receiver.job_steps import NOTE, dues, hint
from tests.receiver.scripted_provider import (
    ScriptedProvider,
    change_account,
    change_handler,
    counts,
    events,
    notes,
    service_at,
)
from tests.receiver.store_fixture import START, StoreFixture, told, word

RUNNING = {"data": {"uuid": "p1", "status": "running"}}


def poller(fixture: StoreFixture, on_unconfirmed: str = "hold") -> Poller:
    """Return a performer of polls over the parts of the service."""
    core = fixture.services.core
    return Poller(
        core.accounts, core.recorder, core.breaker, core.limits, core.clock, on_unconfirmed, core.spans
    )


async def due_poll(fixture: StoreFixture, job: Job) -> ClaimedPoll:
    """Move the clock to the next poll of a job. Returns its claim."""
    [(work, at)] = await dues(fixture, job)
    assert work == "poll"
    fixture.clock.at = max(fixture.clock.at, START + timedelta(seconds=at))
    claimed: Sequence[ClaimedPoll] = await fixture.claim(Work.POLL)
    return next(one for one in claimed if one.job.id == job.id)


async def poll(fixture: StoreFixture, job: Job, on_unconfirmed: str = "hold") -> Job:
    """Perform the next poll of a job. Returns the job after it."""
    await poller(fixture, on_unconfirmed).perform(await due_poll(fixture, job))
    return await fixture.now(job)


def seconds(fixture: StoreFixture) -> float:
    """Return the seconds that the clock was moved."""
    return (fixture.clock.at - START).total_seconds()


# Answers.


async def test_an_answer_moves_the_job_and_the_next_poll_is_due(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    provider.answer(RUNNING)
    job = await poll(fixture, await fixture.submitted("aiml", "p1"))
    assert (job.state, job.provider_job_id) == (State.RUNNING, "p1")
    assert provider.calls == ["GET /v1/generation/tasks/video/p1"]
    assert await dues(fixture, job) == [("poll", 22.0)]
    assert await fixture.evidence(job) == [("submission", "applied", 1), ("poll", "applied", 1)]
    assert await counts(fixture, "aiml") == {"polls": 1}


async def test_a_poll_that_finds_the_end_of_a_job_with_a_callback_counts_as_a_missed_callback(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    provider.answer({"task_id": "p1", "status": "finished", "video_url": "https://cdn.example/1.mp4"})
    job = await poll(fixture, await fixture.submitted("apiframe", "p1"))
    assert (job.state, job.completed_by) == (State.SUCCEEDED, By.POLL)
    assert seconds(fixture) == 180.0
    assert await counts(fixture, "apiframe") == {"polls": 1, "missed": 1}
    assert await dues(fixture, job) == []


async def test_a_callback_whose_result_was_not_there_yet_is_not_missed(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await fixture.submitted("apiframe", "p1")
    await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED, "p1", assets=())))
    provider.answer({"task_id": "p1", "status": "finished"})
    await poll(fixture, job)
    provider.answer({"task_id": "p1", "status": "finished", "video_url": "https://cdn.example/1.mp4"})
    job = await poll(fixture, job)
    assert (job.state, job.completed_by) == (State.SUCCEEDED, By.POLL)
    assert "missed" not in await counts(fixture, "apiframe")


async def test_a_poll_that_finds_a_job_running_misses_no_callback(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    provider.answer({"task_id": "p1", "status": "processing"})
    job = await poll(fixture, await fixture.submitted("apiframe", "p1"))
    assert (job.state, job.completed_by) == (State.RUNNING, None)
    assert await counts(fixture, "apiframe") == {"polls": 1}


async def test_a_poll_that_finds_the_end_of_a_polled_job_misses_no_callback(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    provider.answer({"data": {"uuid": "p1", "status": "failed", "error": "out of memory"}})
    job = await poll(fixture, await fixture.submitted("aiml", "p1"))
    assert job.error is not None
    assert (job.state, job.error.message) == (State.FAILED, "out of memory")
    assert await counts(fixture, "aiml") == {"polls": 1}


TRANSIENT = [
    pytest.param(503, {}, {}, 12.0, id="503"),
    pytest.param(503, {}, {"retry_after": "60"}, 60.0, id="503-with-a-wish"),
    pytest.param(503, {}, {"retry_after": "86400"}, 3600.0, id="a-wish-of-a-day"),
    pytest.param(200, b"no JSON", {}, 12.0, id="garbled"),
    pytest.param(308, {}, {}, 12.0, id="redirect"),
    pytest.param(403, {"error": "this model is not in your plan"}, {}, 12.0, id="forbidden-model"),
    pytest.param(403, {"error": "no"}, {}, 12.0, id="forbidden"),
    pytest.param(429, {}, {}, 12.0, id="throttled"),
]


@pytest.mark.parametrize(("status", "body", "headers", "wait"), TRANSIENT)
async def test_an_error_that_is_not_about_the_job_changes_nothing_but_the_time_of_the_next_poll(
    fixture: StoreFixture,
    provider: ScriptedProvider,
    status: int,
    body: Any,
    headers: dict[str, str],
    wait: float,
) -> None:
    provider.answer(body, status, **headers)
    job = await poll(fixture, await fixture.submitted("aiml", "p1"))
    assert (job.state, job.error, job.misses) == (State.QUEUED, None, 0)
    assert job.waiting is not None
    assert job.waiting.reason is WaitReason.POLL_FAILING
    assert await dues(fixture, job) == [("poll", 10.0 + wait)]
    assert await fixture.evidence(job) == [("submission", "applied", 1), ("poll", "error", 1)]
    assert await counts(fixture, "aiml") == {"polls": 1, "errors": 1}
    assert fixture.lanes.opens_in(Work.POLL, "aiml") == (1.0 if status == 429 else 0.0)


async def test_a_provider_that_cannot_be_reached_changes_nothing_but_the_time_of_the_next_poll(
    fixture: StoreFixture,
) -> None:
    change_account(fixture, "aiml", base_url=f"http://127.0.0.1:{free_port()}")
    job = await poll(fixture, await fixture.submitted("aiml", "p1"))
    assert job.waiting is not None
    assert (job.state, job.waiting.detail) == (State.QUEUED, "connect: connection refused")
    assert await dues(fixture, job) == [("poll", 22.0)]


async def test_a_job_that_the_provider_does_not_know_is_missed(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    provider.answer({"error": "not found"}, 404)
    job = await poll(fixture, await fixture.submitted("aiml", "p1"))
    assert (job.state, job.misses, job.missing_since) == (State.QUEUED, 1, fixture.clock.at)
    assert await dues(fixture, job) == [("poll", 22.0)]


async def test_a_job_whose_operation_is_gone_is_not_missed(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    change_handler(fixture, "aiml", operations={})
    provider.answer({"error": "not found"}, 404)
    job = await poll(fixture, await fixture.submitted("aiml", "p1"))
    assert (job.state, job.misses) == (State.QUEUED, 0)
    assert await dues(fixture, job) == [("poll", 22.0)]


async def test_a_refused_content_fails_the_job(fixture: StoreFixture, provider: ScriptedProvider) -> None:
    provider.answer({"error": "flagged as nsfw"}, 403)
    job = await poll(fixture, await fixture.submitted("aiml", "p1"))
    assert job.error is not None
    assert (job.state, job.completed_by) == (State.FAILED, By.POLL)
    assert (job.error.code, job.error.message) == (FailureCode.CONTENT_POLICY, "flagged as nsfw")
    assert await dues(fixture, job) == []


@pytest.mark.parametrize(("headers", "hold"), [({}, 1.0), ({"retry_after": "7"}, 7.0)])
async def test_a_throttled_poll_holds_the_polls_of_its_account(
    fixture: StoreFixture, provider: ScriptedProvider, headers: dict[str, str], hold: float
) -> None:
    provider.answer({}, 429, **headers)
    await poll(fixture, await fixture.submitted("aiml", "p1"))
    assert fixture.lanes.opens_in(Work.POLL, "aiml") == hold
    assert fixture.lanes.opens_in(Work.SUBMIT, "aiml") == 0.0
    assert fixture.lanes.opens_in(Work.POLL, "minimax") == 0.0


async def test_a_poll_that_the_key_is_refused_for_blocks_the_account(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    provider.answer({"error": "wrong key"}, 401)
    job = await poll(fixture, await fixture.submitted("aiml", "p1"))
    assert fixture.services.core.breaker.blocked == {"aiml": (fixture.clock.at, "wrong key")}
    assert await dues(fixture, job) == [("poll", 22.0)]


async def test_a_poll_that_is_answered_unblocks_an_account_that_polls_were_refused_for(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    provider.answer({"error": "wrong key"}, 401)
    provider.answer(RUNNING)
    job = await poll(fixture, await fixture.submitted("aiml", "p1"))
    assert "aiml" in fixture.services.core.breaker.blocked
    await poll(fixture, job)
    assert fixture.services.core.breaker.blocked == {}


async def test_a_poll_that_is_answered_does_not_unblock_an_account_that_submissions_were_refused_for(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job, breaker = await fixture.submitted("aiml", "p1"), fixture.services.core.breaker
    await breaker.record_refusal(job, AccountRefused(), "no credit", submit=True)
    provider.answer(RUNNING)
    await poll(fixture, job)
    assert breaker.blocked == {"aiml": (START, "no credit")}


# Hinted polls: the URL of one callback is enough to cause them.


async def hinted(fixture: StoreFixture) -> Job:
    """Return a submitted job of minimax for which a callback without a proof asks for a poll."""
    job = await fixture.submitted("minimax")
    await fixture.hear(hint(job, fixture))
    return job


async def test_a_hinted_poll_that_is_throttled_holds_no_account(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    provider.answer({}, 429, retry_after="7")
    job = await poll(fixture, await hinted(fixture))
    assert fixture.lanes.opens_in(Work.POLL, "minimax") == 0.0
    assert await dues(fixture, job) == [("poll", 7.0)]


@pytest.mark.parametrize(
    ("status", "body", "blocked"),
    [(403, {"error": "no"}, False), (403, {"error": "wrong api key"}, True), (401, {}, True)],
)
async def test_a_hinted_poll_that_is_refused_blocks_only_where_the_key_is_surely_refused(
    fixture: StoreFixture, provider: ScriptedProvider, status: int, body: Any, blocked: bool
) -> None:
    for _ in range(3):
        provider.answer(body, status)
        await poll(fixture, await hinted(fixture))
    assert ("minimax" in fixture.services.core.breaker.blocked) is blocked


async def test_other_polls_that_are_refused_in_a_row_block_the_account(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    for _ in range(3):
        await fixture.submitted("aiml")
        provider.answer({"error": "no"}, 403)
    fixture.clock.pass_(seconds=10)
    for number, claimed in enumerate(await fixture.claim(Work.POLL)):
        await poller(fixture).perform(claimed)
        assert ("aiml" in fixture.services.core.breaker.blocked) is (number == 2)


async def test_a_canceled_job_is_asked_about_where_a_callback_tells_of_a_late_result(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await fixture.submitted("minimax", "p1", operation="video")
    await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.CANCEL), hint(job, fixture, "p1"))
    provider.answer({"task_id": "p1", "status": "Success", "file_id": "7"})
    job = await poll(fixture, job)
    assert (job.state, [asset.source for asset in job.assets]) == (State.CANCELED, ["7"])
    assert [name for name, _ in await events(fixture)] == ["job.canceled", "job.late_result"]
    assert await dues(fixture, job) == []


async def test_a_job_without_an_id_is_not_asked_about(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await fixture.added("aiml")
    claim = Claim(id=job.id, work=Work.POLL, lane="aiml", fence=1, tries=0, until=0.0)
    report = await poller(fixture).poll(job, claim)
    assert isinstance(report, ProviderFailure)
    assert (report.kind, report.error, report.guess) == (FailureKind.TRANSIENT, None, None)
    change_handler(fixture, "aiml", poll=None)
    assert await poller(fixture).poll(job.but(provider_job_id="p1"), claim) == report
    assert provider.calls == []


# Cancellations at the provider.


async def canceled(fixture: StoreFixture) -> Job:
    """Return a canceled job of replicate, which is still to be canceled at the provider."""
    job = await fixture.submitted("replicate", "p1")
    [recorded] = await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.CANCEL))
    assert recorded.job is not None
    assert (recorded.job.state, recorded.job.cancel_wanted) == (State.CANCELED, True)
    return recorded.job


CANCELS = [
    pytest.param(200, {"id": "p1", "status": "canceled"}, "the provider was asked to cancel", id="canceled"),
    pytest.param(404, {"detail": "no such job"}, "the provider did not cancel: no such job", id="unknown"),
    pytest.param(403, {"detail": "it is nsfw"}, "the provider did not cancel: it is nsfw", id="policy"),
]


@pytest.mark.parametrize(("status", "body", "note"), CANCELS)
async def test_a_provider_is_asked_once_to_cancel(
    fixture: StoreFixture, provider: ScriptedProvider, status: int, body: Any, note: str
) -> None:
    provider.answer(body, status)
    job = await poll(fixture, await canceled(fixture))
    assert (job.state, job.cancel_wanted) == (State.CANCELED, False)
    assert provider.calls == ["POST /v1/predictions/p1/cancel"]
    assert (await notes(fixture, job))[-1] == note
    assert await dues(fixture, job) == []
    assert await counts(fixture, "replicate") == {}


@pytest.mark.parametrize(("headers", "wait"), [({}, 4.0), ({"retry_after": "60"}, 60.0)])
async def test_a_cancellation_that_cannot_be_asked_for_is_tried_again(
    fixture: StoreFixture, provider: ScriptedProvider, headers: dict[str, str], wait: float
) -> None:
    provider.answer({"detail": "busy"}, 503, **headers)
    job = await poll(fixture, await canceled(fixture))
    assert (job.state, job.cancel_wanted) == (State.CANCELED, True)
    assert (await notes(fixture, job))[-1] == "the provider could not be asked to cancel: busy"
    assert await dues(fixture, job) == [("poll", wait)]


async def test_a_provider_that_no_longer_cancels_is_not_asked(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await canceled(fixture)
    change_handler(fixture, "replicate", cancel=None)
    job = await poll(fixture, job)
    assert job.cancel_wanted is False
    assert provider.calls == []
    assert await dues(fixture, job) == []


async def test_polls_are_given_back_untried_and_served_for_accounts_that_are_on(
    tmp_path: Path, provider: ScriptedProvider
) -> None:
    async with service_at(provider, tmp_path, {"minimax": {"api_key": None}}) as fixture:
        work, job = poller(fixture), await fixture.submitted("aiml", "p1")
        assert [work.serves(name) for name in ("aiml", "minimax", "nowhere")] == [True, False, False]
        assert work.job_limits() == {}
        claimed = await due_poll(fixture, job)
        fixture.clock.pass_(seconds=1)
        await fixture.store.write(lambda: work.give_back([claimed], fixture.clock.at))
        assert await dues(fixture, job) == [("poll", 11.0)]
        [again] = await fixture.store.write(lambda: work.prepare([claimed.claim]))
        assert (again.job.id, again.hinted) == (job.id, False)
