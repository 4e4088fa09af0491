"""Submissions: the requests that are sent, and the consequences of each answer for the job."""

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import FailureCode
from receiver.domain.backoff import LOST, THROTTLED
from receiver.domain.model import Job, State, WaitReason, Work
from receiver.events.interpreter import RESUBMISSIONS
from receiver.providers.submission import CRASHED, MARGIN, Submitter
from receiver.store.jobs import ClaimedSubmission
from tests.ports import free_port
from tests.receiver.job_steps import dues
from tests.receiver.scripted_provider import (
    KEY,
    ScriptedProvider,
    change_account,
    counts,
    events,
    notes,
    service_at,
)
from tests.receiver.store_fixture import START, StoreFixture

TASK = {"data": {"uuid": "p1", "status": "queued"}}
LEASE_ENDS = 30.0
"""Seconds after which the claims of the fixture may be claimed again."""


def submitter(fixture: StoreFixture) -> Submitter:
    """Return a performer of submissions over the parts of the service."""
    core = fixture.services.core
    return Submitter(core.accounts, core.recorder, core.store, core.breaker, core.clock, core.spans)


async def claimed(fixture: StoreFixture, account: str = "aiml", **others: Any) -> ClaimedSubmission:
    """Return a new job that is claimed for its submission."""
    await fixture.added(account, **others)
    [chosen] = await fixture.claim(Work.SUBMIT, {account: 1})
    assert isinstance(chosen, ClaimedSubmission)
    return chosen


async def crashed(fixture: StoreFixture, account: str, **others: Any) -> ClaimedSubmission:
    """Return a job that is claimed a second time because the first claim brought no answer."""
    await claimed(fixture, account, **others)
    fixture.clock.pass_(seconds=LEASE_ENDS)
    [again] = await fixture.claim(Work.SUBMIT, {account: 1})
    assert isinstance(again, ClaimedSubmission)
    assert again.crashed
    return again


async def submit(fixture: StoreFixture, account: str = "aiml", **others: Any) -> Job:
    """Return a job after its submission."""
    chosen = await claimed(fixture, account, **others)
    await submitter(fixture).perform(chosen)
    return await fixture.now(chosen.job)


async def test_an_accepted_job_is_queued_under_the_providers_id_and_polled_next(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    provider.answer(TASK)
    job = await submit(fixture)
    assert (job.state, job.provider_job_id, job.intents) == (State.QUEUED, "p1", 1)
    assert await dues(fixture, job) == [("poll", 10.0)]
    assert await fixture.evidence(job) == [("submission", "applied", 1)]
    assert await counts(fixture, "aiml") == {"submissions": 1}
    assert provider.calls == ["POST /v1/generation/tasks/video"]
    assert provider.body() == {"prompt": "a tide"}
    assert provider.header("authorization") == f"Bearer {KEY}"


async def test_a_provider_that_calls_back_is_given_the_url_and_the_secret_of_the_job(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    provider.answer({"task_id": "p1"})
    job = await submit(fixture, "apiframe")
    assert (job.state, job.provider_job_id) == (State.QUEUED, "p1")
    assert await dues(fixture, job) == [("poll", 180.0)]
    url, secret = provider.body()["webhook_url"], provider.body()["webhook_secret"]
    assert url.startswith("https://hooks.example/callbacks/apiframe/")
    claims = fixture.services.core.master_keys.read_callback("apiframe", url.rpartition("/")[2])
    assert (claims.job_id, claims.secret) == (job.id, secret)


REFUSALS = [
    pytest.param(400, {"error": {"code": "E1", "message": "no model"}}, "rejected", "no model", id="400"),
    pytest.param(404, {}, "rejected", "The provider refused the request for good (4xx).", id="404"),
    pytest.param(409, {"error": "in progress"}, "rejected", "in progress", id="409"),
    pytest.param(403, {"error": "flagged as nsfw"}, "content_policy", "flagged as nsfw", id="policy"),
    pytest.param(
        308, {}, "rejected", "the provider redirects to another place: correct base_url", id="redirect"
    ),
]


@pytest.mark.parametrize(("status", "body", "code", "message"), REFUSALS)
async def test_a_refusal_for_good_fails_the_job(
    fixture: StoreFixture, provider: ScriptedProvider, status: int, body: Any, code: str, message: str
) -> None:
    provider.answer(body, status)
    job = await submit(fixture)
    assert job.error is not None
    assert (job.state, job.error.code, job.error.message) == (State.FAILED, FailureCode(code), message)
    assert await dues(fixture, job) == []
    assert await fixture.evidence(job) == [("submission", "applied", 1)]
    assert await counts(fixture, "aiml") == {"submissions": 1, "errors": 1}


WAITS = [
    pytest.param(429, {}, 1.0, WaitReason.THROTTLED, id="throttled"),
    pytest.param(429, {"retry_after": "7"}, 7.0, WaitReason.THROTTLED, id="throttled-with-a-wish"),
    pytest.param(429, {"retry_after": "86400"}, 3600.0, WaitReason.THROTTLED, id="a-wish-of-a-day"),
    pytest.param(401, {}, 5.0, WaitReason.ACCOUNT_BLOCKED, id="wrong-key"),
    pytest.param(403, {}, 5.0, WaitReason.ACCOUNT_BLOCKED, id="forbidden"),
]


@pytest.mark.parametrize(("status", "headers", "wait", "reason"), WAITS)
async def test_an_answer_that_accepts_nothing_leaves_the_job_pending(
    fixture: StoreFixture,
    provider: ScriptedProvider,
    status: int,
    headers: dict[str, str],
    wait: float,
    reason: WaitReason,
) -> None:
    provider.answer({"error": "not now"}, status, **headers)
    job = await submit(fixture)
    assert job.waiting is not None
    assert (job.state, job.error, job.intents) == (State.PENDING, None, 1)
    assert (job.waiting.reason, job.waiting.detail) == (reason, "not now")
    assert job.waiting.until == START + timedelta(seconds=wait)
    assert await dues(fixture, job) == [("submit", wait)]
    assert await fixture.column("select tries from due where id = :id", id=job.id) == [0]


@pytest.mark.parametrize("answer", [b"not JSON", b'{"data": {}}', b"", None], ids=str)
async def test_a_lost_answer_leaves_the_job_unconfirmed(
    fixture: StoreFixture, provider: ScriptedProvider, answer: bytes | None
) -> None:
    if answer is None:
        provider.break_connection()
    else:
        provider.answer(answer, 200 if answer else 503)
    job = await submit(fixture)
    assert (job.state, job.provider_job_id, job.error) == (State.UNCONFIRMED, None, None)
    assert await dues(fixture, job) == []
    assert [name for name, _ in await events(fixture)] == ["job.unconfirmed"]


async def test_a_wish_that_comes_with_a_lost_answer_pauses_the_account(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    provider.answer({}, 503, retry_after="30")
    assert (await submit(fixture)).state is State.UNCONFIRMED
    slowed = fixture.services.core.breaker.slowed("aiml")
    assert slowed == (LOST, START, START + timedelta(seconds=30))
    assert fixture.lanes.room(Work.SUBMIT, "aiml") == 0


async def test_a_throttled_account_works_again_with_the_next_success(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    provider.answer({}, 429)
    provider.answer(TASK)
    job = await submit(fixture)
    assert fixture.services.core.breaker.slowed("aiml") == (THROTTLED, START, START + timedelta(seconds=1))
    fixture.clock.pass_(seconds=1)
    [chosen] = await fixture.claim(Work.SUBMIT, {"aiml": 1})
    await submitter(fixture).perform(chosen)
    assert (await fixture.now(job)).waiting is None
    assert fixture.services.core.breaker.slowed("aiml") is None
    assert fixture.lanes.room(Work.SUBMIT, "aiml") == 16


REFUSED = "connect: connection refused"


async def test_a_provider_that_cannot_be_reached_is_tried_again_and_logged_once_a_minute(
    fixture: StoreFixture, caplog: pytest.LogCaptureFixture
) -> None:
    change_account(fixture, "aiml", base_url=f"http://127.0.0.1:{free_port()}")
    caplog.set_level(logging.WARNING, "ringback.submission")
    chosen, work, found = await claimed(fixture), submitter(fixture), []
    for seconds in (2, 58, 0):
        await work.perform(chosen)
        found += await dues(fixture, chosen.job)
        fixture.clock.pass_(seconds=seconds)
        [chosen] = await fixture.claim(Work.SUBMIT, {"aiml": 1}) or [chosen]
    assert found == [("submit", 2.0), ("submit", 6.0), ("submit", 64.0)]
    job = await fixture.now(chosen.job)
    assert job.waiting is not None
    assert (job.state, job.waiting.reason) == (State.PENDING, WaitReason.UNREACHABLE)
    assert (job.waiting.detail, job.waiting.since) == (REFUSED, START)
    said = f"a submission cannot go out and is tried again: {REFUSED}"
    assert [(one.getMessage(), vars(one)["count"]) for one in caplog.records] == [(said, 1), (said, 2)]


async def test_a_secret_that_a_refusal_echoes_is_hidden(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    chosen = await claimed(fixture, "apiframe")
    core = fixture.services.core
    secrets = [core.accounts.secret(chosen.job), core.master_keys.callback_token("apiframe", chosen.job.id)]
    provider.answer({"error": {"message": f"no {' '.join(secrets)} {KEY}"}}, 400)
    await submitter(fixture).perform(chosen)
    job = await fixture.now(chosen.job)
    assert job.error is not None
    assert job.error.message == "no [redacted] [redacted] [redacted]"


async def test_a_submission_that_crashed_is_not_repeated_without_a_key_of_the_provider(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    again = await crashed(fixture, "aiml")
    await submitter(fixture).perform(again)
    job = await fixture.now(again.job)
    assert (job.state, job.intents) == (State.UNCONFIRMED, 1)
    assert await fixture.evidence(job) == [("submission", "error", 1)]
    assert await notes(fixture, job) == [CRASHED]
    assert provider.calls == []


async def test_a_submission_that_crashed_is_repeated_under_the_key_of_the_provider(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    again = await crashed(fixture, "apiframe-v2", operation="images-generate")
    provider.answer({"jobId": "p1", "status": "QUEUED"})
    await submitter(fixture).perform(again)
    job = await fixture.now(again.job)
    assert (job.state, job.provider_job_id, job.intents) == (State.QUEUED, "p1", 1)
    assert provider.header("idempotency-key") == job.id


async def test_a_conflict_under_the_key_of_the_provider_is_asked_again(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    provider.answer({"error": "in progress"}, 409)
    job = await submit(fixture, "apiframe-v2", operation="images-generate")
    assert job.waiting is not None
    assert (job.state, job.waiting.reason) == (State.PENDING, WaitReason.UNREACHABLE)
    assert await dues(fixture, job) == [("submit", 2.0)]


async def test_a_lost_answer_under_the_key_of_the_provider_is_asked_for_again(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    provider.answer({}, 503)
    job = await submit(fixture, "apiframe-v2", operation="images-generate")
    assert (job.state, job.provider_job_id) == (State.SUBMITTING, None)
    assert await dues(fixture, job) == [("submit", 2.0)]


async def test_a_refusal_under_the_key_of_the_provider_fails_the_job(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    provider.answer({}, 400)
    assert (await submit(fixture, "apiframe-v2", operation="images-generate")).state is State.FAILED


async def test_an_account_that_refuses_submissions_is_not_unblocked_by_a_poll(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    provider.answer({"error": "no credit"}, 402)
    job, breaker = await submit(fixture), fixture.services.core.breaker
    assert breaker.blocked == {"aiml": (START, "no credit")}
    await breaker.record_success(job, submit=False, asked=fixture.services.core.clock.monotonic())
    assert breaker.blocked == {"aiml": (START, "no credit")}


GONE = "aiml has no operation gone: the account's handler was changed"


async def test_a_job_whose_operation_is_gone_fails_before_a_byte_is_sent(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    job = await submit(fixture, operation="gone")
    assert job.error is not None
    assert (job.state, job.error.code, job.error.message) == (State.FAILED, FailureCode.REJECTED, GONE)
    assert await notes(fixture, job) == [GONE]
    assert provider.calls == []
    assert await counts(fixture, "aiml") == {}


@pytest.mark.parametrize(
    ("tries", "state", "due"),
    [(0, State.SUBMITTING, [("submit", LEASE_ENDS + 2)]), (RESUBMISSIONS, State.UNCONFIRMED, [])],
)
async def test_a_job_whose_operation_is_gone_does_not_fail_where_it_may_have_been_sent(
    fixture: StoreFixture,
    provider: ScriptedProvider,
    tries: int,
    state: State,
    due: list[tuple[str, float]],
) -> None:
    await claimed(fixture, "apiframe-v2", operation="gone")
    await fixture.write("update due set tries = :tries", tries=tries)
    fixture.clock.pass_(seconds=LEASE_ENDS)
    [again] = await fixture.claim(Work.SUBMIT, {"apiframe-v2": 1})
    await submitter(fixture).perform(again)
    job = await fixture.now(again.job)
    assert (job.state, job.error) == (state, None)
    assert await dues(fixture, job) == due
    assert await fixture.evidence(job) == [("submission", "error", 1)]
    assert provider.calls == []


async def test_an_intent_that_is_taken_back_leaves_the_job_as_it_was(fixture: StoreFixture) -> None:
    chosen = await claimed(fixture)
    work = submitter(fixture)
    await fixture.store.write(lambda: work.give_back([chosen], fixture.clock.at))
    job = await fixture.now(chosen.job)
    assert (job.state, job.intents) == (State.PENDING, 0)
    assert await dues(fixture, job) == [("submit", 0.0)]


async def test_an_intent_is_committed_before_a_byte_is_sent(fixture: StoreFixture) -> None:
    job = await fixture.added("aiml")
    work, [found] = submitter(fixture), await fixture.claim(Work.SUBMIT, {"aiml": 1})
    await fixture.store.write(lambda: work.give_back([found], fixture.clock.at))
    [chosen] = await fixture.store.write(lambda: work.prepare([found.claim]))
    assert (chosen.job.id, chosen.job.intents, chosen.crashed) == (job.id, 1, False)
    assert (await fixture.now(job)).state is State.SUBMITTING


async def test_only_accounts_that_are_on_are_served_and_their_limits_are_known(
    tmp_path: Path, provider: ScriptedProvider
) -> None:
    changes = {"aiml": {"max_jobs": 3, "submit_timeout": 600}, "minimax": {"api_key": None}}
    async with service_at(provider, tmp_path, changes) as fixture:
        work = submitter(fixture)
        assert [work.serves(name) for name in ("aiml", "minimax", "nowhere")] == [True, False, False]
        assert work.job_limits() == {"aiml": 3}
        assert work.lease == timedelta(seconds=600) + MARGIN


async def test_submissions_never_share_a_connection(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    for number in range(2):
        provider.answer({"data": {"uuid": f"p{number}"}})
    jobs = [await submit(fixture) for _ in range(2)]
    assert [job.provider_job_id for job in jobs] == ["p0", "p1"]
    assert provider.connections == 2
