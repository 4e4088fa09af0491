"""Unproved callbacks: guesses, hints, and the evidence that is kept of them, on a real store."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import Phase
from receiver.domain.model import Job, Outcome, State
from receiver.domain.poll_schedule import ENDED_POLLS, HINTED_POLLS, RETRIES
from receiver.domain.reports import Action, FailureKind
from tests.receiver.job_steps import NOTE, POLL, SUBMIT, dues, hint, out, unconfirmed
from tests.receiver.store_fixture import START, StoreFixture, store_fixture, told, types, word

# Guesses.


async def test_a_guess_becomes_known_by_the_poll_that_answers_for_it(fixture: StoreFixture) -> None:
    job, _ = await unconfirmed(fixture, "minimax")
    await fixture.hear(hint(job, fixture, "p1"))
    found = await fixture.now(job)
    assert (found.state, found.provider_job_id, found.guessed_id) == (State.UNCONFIRMED, None, "p1")
    claim = await fixture.poll_claim(job)
    await fixture.hear(word(job, fixture, told(Phase.RUNNING), POLL, claim=claim, guess="p1"))
    found = await fixture.now(job)
    assert (found.state, found.provider_job_id) == (State.RUNNING, "p1")
    assert [work for work, _ in await dues(fixture, job)] == ["poll"]


async def test_a_guess_that_the_provider_denies_is_dropped_and_no_miss(fixture: StoreFixture) -> None:
    job, _ = await unconfirmed(fixture, "minimax")
    await fixture.hear(hint(job, fixture, "invented"))
    claim = await fixture.poll_claim(job)
    await fixture.hear(
        word(job, fixture, source=POLL, verdict=FailureKind.MISS, claim=claim, guess="invented")
    )
    found = await fixture.now(job)
    assert (found.state, found.guessed_id, found.misses) == (State.UNCONFIRMED, None, 0)
    assert await dues(fixture, job) == []


async def test_a_guess_that_brings_no_answer_is_asked_for_a_few_times(fixture: StoreFixture) -> None:
    job, _ = await unconfirmed(fixture, "minimax")
    await fixture.hear(hint(job, fixture, "p1"))
    asked = 0
    while await dues(fixture, job):
        claim = await fixture.poll_claim(job)
        await fixture.hear(
            word(job, fixture, source=POLL, verdict=FailureKind.TRANSIENT, claim=claim, guess="p1")
        )
        asked += 1
    assert asked == RETRIES
    found = await fixture.now(job)
    assert (found.state, found.guessed_id) == (State.UNCONFIRMED, None)


async def test_the_policy_decides_once_a_guess_brought_no_answer(tmp_path: Path) -> None:
    async with store_fixture(tmp_path, on_unconfirmed="fail", unconfirmed_after="600") as fixture:
        job, _ = await unconfirmed(fixture, "minimax")
        await fixture.hear(hint(job, fixture, "p1"))
        for _ in range(RETRIES):
            claim = await fixture.poll_claim(job)
            failed = word(job, fixture, source=POLL, verdict=FailureKind.TRANSIENT, claim=claim, guess="p1")
            await fixture.hear(failed)
        decides = (fixture.clock.at - START).total_seconds() + 600
        assert await dues(fixture, job) == [("poll", decides)]


async def test_where_callbacks_are_proved_an_unproved_one_names_nothing(fixture: StoreFixture) -> None:
    job, _ = await unconfirmed(fixture, "apiframe")
    await fixture.hear(hint(job, fixture, "invented"))
    found = await fixture.now(job)
    assert (found.state, found.provider_job_id, found.guessed_id) == (State.UNCONFIRMED, None, None)
    assert await dues(fixture, job) == []
    ended = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED, "p1")))
    assert types(ended) == ["job.succeeded"]
    assert (await fixture.now(job)).provider_job_id == "p1"


async def test_a_guess_does_not_take_an_id_from_the_job_whose_answer_names_it(fixture: StoreFixture) -> None:
    robbed, _ = await unconfirmed(fixture, "minimax")
    await fixture.hear(hint(robbed, fixture, "p7"))
    claim = await fixture.poll_claim(robbed)
    await fixture.hear(word(robbed, fixture, told(Phase.RUNNING), POLL, claim=claim, guess="p7"))
    assert (await fixture.now(robbed)).provider_job_id == "p7"
    job, claim = await out(fixture, "minimax")
    await fixture.hear(word(job, fixture, told(Phase.QUEUED, "p7"), SUBMIT, claim=claim))
    assert ((await fixture.now(job)).provider_job_id, (await fixture.now(job)).state) == ("p7", State.QUEUED)
    found = await fixture.now(robbed)
    assert (found.provider_job_id, found.guessed_id, found.state) == (None, None, State.UNCONFIRMED)
    assert await dues(fixture, robbed) == []


# Hints.


async def test_a_job_that_ended_by_a_guess_gives_its_id_to_the_job_whose_answer_names_it(
    fixture: StoreFixture,
) -> None:
    ended, _ = await unconfirmed(fixture, "minimax")
    other, claim = await out(fixture, "minimax")
    await fixture.hear(hint(ended, fixture, "p1"))
    polled = await fixture.poll_claim(ended)
    await fixture.hear(word(ended, fixture, told(Phase.SUCCEEDED), POLL, claim=polled, guess="p1"))
    assert (await fixture.now(ended)).state is State.SUCCEEDED
    await fixture.hear(word(other, fixture, told(Phase.QUEUED, "p1"), SUBMIT, claim=claim))
    found = await fixture.now(other)
    assert (found.state, found.provider_job_id) == (State.QUEUED, "p1")
    found = await fixture.now(ended)
    assert (found.state, found.provider_job_id, found.guessed_id) == (State.SUCCEEDED, None, None)


async def test_hints_leave_a_poll_that_is_under_way_alone(fixture: StoreFixture) -> None:
    job = await fixture.submitted("apiframe", theirs="p1")
    claim = await fixture.poll_claim(job)
    before = await fixture.due_of(job)
    for _ in range(5):
        await fixture.hear(hint(job, fixture, "p1"))
    assert await fixture.due_of(job) == before
    await fixture.hear(word(job, fixture, told(Phase.QUEUED, "p1"), POLL, claim=claim))
    [(work, at)] = await dues(fixture, job)
    assert (work, at) == ("poll", 180.0), "what was hinted at meanwhile is asked at once"


async def test_hints_bring_polls_further_and_further_apart_and_no_more_than_a_budget(
    fixture: StoreFixture,
) -> None:
    job = await fixture.submitted("apiframe", theirs="p1")
    polls = []
    for _ in range(4 * HINTED_POLLS):
        await fixture.hear(hint(job, fixture, "p1"))
        [(_, at)] = await dues(fixture, job)
        if at > (fixture.clock.at - START).total_seconds() + 61:
            break
        claim = await fixture.poll_claim(job)
        polls.append((fixture.clock.at - START).total_seconds())
        await fixture.hear(word(job, fixture, told(Phase.QUEUED, "p1"), POLL, claim=claim))
    assert polls[:5] == [0.0, 1.0, 3.0, 7.0, 15.0]
    assert len(polls) == HINTED_POLLS
    claim = await fixture.poll_claim(job)
    await fixture.hear(word(job, fixture, told(Phase.RUNNING, "p1"), POLL, claim=claim))
    assert (await fixture.now(job)).hinted_polls == 0, "a poll that brought something restores the budget"


async def test_a_hint_and_an_answer_asked_for_before_it_in_one_transaction(fixture: StoreFixture) -> None:
    job = await fixture.submitted("apiframe", theirs="p1")
    claim = await fixture.poll_claim(job)
    now = (fixture.clock.at - START).total_seconds()
    quiet = word(job, fixture, told(Phase.QUEUED, "p1"), POLL, claim=claim)
    await fixture.hear(hint(job, fixture, "p1"), quiet)
    assert await dues(fixture, job) == [("poll", now)]


async def test_a_callback_does_not_hasten_a_submission_that_waits(fixture: StoreFixture) -> None:
    job, claim = await out(fixture, "minimax")
    wait = timedelta(seconds=300)
    throttled = word(job, fixture, source=SUBMIT, verdict=FailureKind.RESTORE, claim=claim, wait=wait)
    await fixture.hear(throttled)
    assert await dues(fixture, job) == [("submit", 300.0)]
    await fixture.hear(hint(job, fixture, "p1"), word(job, fixture, kept_as=Outcome.UNPARSED))
    assert await dues(fixture, job) == [("submit", 300.0)]


async def test_hints_about_an_ended_job_bring_few_polls(fixture: StoreFixture) -> None:
    job = await fixture.submitted("apiframe", theirs="p1")
    fixture.clock.at = job.deadline_at
    await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.EXPIRE))
    asked = 0
    for _ in range(50):
        await fixture.hear(hint(job, fixture, "p1"))
        fixture.clock.pass_(minutes=2)
        if await dues(fixture, job):
            asked += 1
            claim = await fixture.poll_claim(job)
            await fixture.hear(word(job, fixture, told(Phase.RUNNING, "p1"), POLL, claim=claim))
    assert asked == ENDED_POLLS


async def told_late(fixture: StoreFixture) -> Job:
    """Return an expired job of which an unproved callback reported a late success."""
    job = await fixture.submitted("apiframe", theirs="p1")
    fixture.clock.at = job.deadline_at
    await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.EXPIRE))
    await fixture.hear(hint(job, fixture, "p1"))
    return job


NO_FILE_YET = {"update": told(Phase.SUCCEEDED, "p1", assets=())}
SAYS_NOTHING: dict[str, dict[str, Any]] = {
    "fails": {"verdict": FailureKind.TRANSIENT},
    "does not know the job": {"verdict": FailureKind.MISS},
    "has no file yet": NO_FILE_YET,
}


@pytest.mark.parametrize("says", SAYS_NOTHING.values(), ids=SAYS_NOTHING)
async def test_a_late_result_is_asked_for_again(fixture: StoreFixture, says: dict[str, Any]) -> None:
    job = await told_late(fixture)
    for _ in range(RETRIES - 1):
        claim = await fixture.poll_claim(job)
        await fixture.hear(word(job, fixture, source=POLL, claim=claim, **says))
    claim = await fixture.poll_claim(job)
    late = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED, "p1"), POLL, claim=claim))
    assert types(late) == ["job.late_result"]
    assert await dues(fixture, job) == []


@pytest.mark.parametrize("says", SAYS_NOTHING.values(), ids=SAYS_NOTHING)
async def test_a_late_result_is_asked_for_so_often(fixture: StoreFixture, says: dict[str, Any]) -> None:
    job = await told_late(fixture)
    for _ in range(RETRIES):
        claim = await fixture.poll_claim(job)
        await fixture.hear(word(job, fixture, source=POLL, claim=claim, **says))
    assert await dues(fixture, job) == []


async def test_an_answer_asked_for_before_the_end_leaves_a_late_result_to_be_confirmed(
    fixture: StoreFixture,
) -> None:
    job = await fixture.submitted("apiframe", theirs="p1")
    claim = await fixture.poll_claim(job)
    await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.CANCEL))
    await fixture.hear(hint(job, fixture, "p1"))
    await fixture.hear(word(job, fixture, told(Phase.RUNNING, "p1"), POLL, claim=claim))
    claim = await fixture.poll_claim(job)
    late = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED, "p1"), POLL, claim=claim))
    assert types(late) == ["job.late_result"]


async def test_a_late_result_is_confirmed_once_the_answer_names_the_job(fixture: StoreFixture) -> None:
    job, claim = await out(fixture, "apiframe")
    await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.CANCEL))
    await fixture.hear(hint(job, fixture, "p1"))
    assert await dues(fixture, job) == []
    await fixture.hear(word(job, fixture, told(Phase.QUEUED, "p1"), SUBMIT, claim=claim))
    claim = await fixture.poll_claim(job)
    late = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED, "p1"), POLL, claim=claim))
    assert types(late) == ["job.late_result"]


async def test_a_provider_that_never_cancels_is_asked_about_a_late_result(fixture: StoreFixture) -> None:
    job = await fixture.submitted("replicate", theirs="p1")
    await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.CANCEL))
    for _ in range(RETRIES):
        claim = await fixture.poll_claim(job)
        await fixture.hear(word(job, fixture, source=POLL, verdict=Action.CANCEL_FAILED, claim=claim))
    assert await dues(fixture, job) == []
    await fixture.hear(hint(job, fixture, "p1"))
    claim = await fixture.poll_claim(job)
    late = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED, "p1"), POLL, claim=claim))
    assert types(late) == ["job.late_result"]


async def test_a_late_text_is_a_late_result(fixture: StoreFixture) -> None:
    job = await fixture.submitted("replicate", theirs="p1")
    fixture.clock.at = job.deadline_at
    await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.EXPIRE))
    says = told(Phase.SUCCEEDED, "p1", assets=(), result={"output": "a poem"})
    assert types(await fixture.hear(word(job, fixture, says))) == ["job.late_result"]
    assert (await fixture.now(job)).result == b'{"output":"a poem"}'
    assert types(await fixture.hear(word(job, fixture, says))) == []


async def test_the_last_poll_tells_of_no_state_that_the_job_is_not_in(fixture: StoreFixture) -> None:
    job = await fixture.submitted("aiml", theirs="p1")
    fixture.clock.at = job.deadline_at
    claim = await fixture.poll_claim(job)
    last = await fixture.hear(word(job, fixture, told(Phase.RUNNING, "p1"), POLL, claim=claim))
    assert types(last) == ["job.expired"]


# Evidence.


async def test_unproved_callbacks_of_one_job_are_kept_within_a_budget(fixture: StoreFixture) -> None:
    job = await fixture.submitted("minimax", theirs="p1")
    for _ in range(60):
        await fixture.hear(hint(job, fixture, "p1", body=b"x" * 20_000, headers=b"[]"))
    kept = await fixture.query("select count, length(body) as size from evidence where kind = 'callback'")
    assert sum(row["count"] for row in kept) == 60
    assert sum(row["size"] or 0 for row in kept) <= 192 * 1024
    assert len(kept) <= 21


async def test_a_large_body_that_proves_nothing_is_counted_and_not_kept(fixture: StoreFixture) -> None:
    job = await fixture.submitted("minimax", theirs="p1")
    await fixture.hear(hint(job, fixture, "p1", body=b"x" * 1_000_000))
    [row] = await fixture.query("select count, body from evidence where kind = 'callback'")
    assert (row["count"], row["body"]) == (1, None)


async def test_callbacks_of_a_job_that_is_gone_are_kept_within_a_budget(fixture: StoreFixture) -> None:
    gone = fixture.job()
    for _ in range(30):
        await fixture.hear(word(gone, fixture, told(Phase.SUCCEEDED), body=b"x" * 50_000))
    kept = await fixture.query("select count, length(body) as size from evidence where kind = 'callback'")
    assert sum(row["count"] for row in kept) == 30
    assert sum(row["size"] or 0 for row in kept) <= 192 * 1024


async def test_the_callback_that_ends_its_job_is_always_kept(fixture: StoreFixture) -> None:
    job = await fixture.submitted("apiframe", theirs="p1")
    await fixture.write("update job set heard = 1000, heard_bytes = 8388608 where id = :id", id=job.id)
    running = word(job, fixture, told(Phase.RUNNING, "p1"), body=b"on its way")
    ended = word(job, fixture, told(Phase.SUCCEEDED, "p1"), body=b"the end")
    await fixture.hear(running, ended)
    bodies = await fixture.column("select body from evidence where kind = 'callback' order by id")
    assert bodies == [None, b"the end"]


async def test_a_deadline_that_two_replicas_see_is_noted_once(fixture: StoreFixture) -> None:
    job = await fixture.submitted("aiml")
    fixture.clock.at = job.deadline_at
    for _ in range(2):
        await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.EXPIRE, note="deadline"))
    assert await fixture.evidence(job) == [("submission", "applied", 1), ("note", "applied", 1)]
