"""Callbacks that prove nothing: guesses, hints, and the evidence kept of them; on a real store."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import Phase
from receiver.domain.model import Job, Outcome, State
from receiver.domain.poll_schedule import ENDED_POLLS, HINTED_POLLS, RETRIES
from receiver.domain.reports import Action, FailureKind
from tests.receiver.job_steps import NOTE, POLL, SUBMIT, dues, hint, out, unconfirmed
from tests.receiver.store_fixture import START, Storehouse, storehouse, told, types, word


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Storehouse]:
    """A service at rest."""
    async with storehouse(tmp_path) as made:
        yield made


# Guesses.


async def test_a_guess_becomes_known_by_the_poll_that_answers_for_it(house: Storehouse) -> None:
    job, _ = await unconfirmed(house, "minimax")
    await house.hear(hint(job, house, "p1"))
    found = await house.now(job)
    assert (found.state, found.provider_job_id, found.guessed_id) == (State.UNCONFIRMED, None, "p1")
    claim = await house.poll_claim(job)
    await house.hear(word(job, house, told(Phase.RUNNING), POLL, claim=claim, guess="p1"))
    found = await house.now(job)
    assert (found.state, found.provider_job_id) == (State.RUNNING, "p1")
    assert [work for work, _ in await dues(house, job)] == ["poll"]


async def test_a_guess_that_the_provider_denies_is_dropped_and_no_miss(house: Storehouse) -> None:
    job, _ = await unconfirmed(house, "minimax")
    await house.hear(hint(job, house, "invented"))
    claim = await house.poll_claim(job)
    await house.hear(word(job, house, source=POLL, verdict=FailureKind.MISS, claim=claim, guess="invented"))
    found = await house.now(job)
    assert (found.state, found.guessed_id, found.misses) == (State.UNCONFIRMED, None, 0)
    assert await dues(house, job) == []


async def test_a_guess_that_brings_no_answer_is_asked_for_a_few_times(house: Storehouse) -> None:
    job, _ = await unconfirmed(house, "minimax")
    await house.hear(hint(job, house, "p1"))
    asked = 0
    while await dues(house, job):
        claim = await house.poll_claim(job)
        await house.hear(
            word(job, house, source=POLL, verdict=FailureKind.TRANSIENT, claim=claim, guess="p1")
        )
        asked += 1
    assert asked == RETRIES
    found = await house.now(job)
    assert (found.state, found.guessed_id) == (State.UNCONFIRMED, None)


async def test_the_policy_decides_once_a_guess_brought_no_answer(tmp_path: Path) -> None:
    async with storehouse(tmp_path, on_unconfirmed="fail", unconfirmed_after="600") as house:
        job, _ = await unconfirmed(house, "minimax")
        await house.hear(hint(job, house, "p1"))
        for _ in range(RETRIES):
            claim = await house.poll_claim(job)
            failed = word(job, house, source=POLL, verdict=FailureKind.TRANSIENT, claim=claim, guess="p1")
            await house.hear(failed)
        decides = (house.hands.at - START).total_seconds() + 600
        assert await dues(house, job) == [("poll", decides)]


async def test_where_callbacks_are_proved_an_unproved_one_names_nothing(house: Storehouse) -> None:
    job, _ = await unconfirmed(house, "apiframe")
    await house.hear(hint(job, house, "invented"))
    found = await house.now(job)
    assert (found.state, found.provider_job_id, found.guessed_id) == (State.UNCONFIRMED, None, None)
    assert await dues(house, job) == []
    ended = await house.hear(word(job, house, told(Phase.SUCCEEDED, "p1")))
    assert types(ended) == ["job.succeeded"]
    assert (await house.now(job)).provider_job_id == "p1"


async def test_a_guess_does_not_take_an_id_from_the_job_whose_answer_names_it(house: Storehouse) -> None:
    robbed, _ = await unconfirmed(house, "minimax")
    await house.hear(hint(robbed, house, "p7"))
    claim = await house.poll_claim(robbed)
    await house.hear(word(robbed, house, told(Phase.RUNNING), POLL, claim=claim, guess="p7"))
    assert (await house.now(robbed)).provider_job_id == "p7"
    job, claim = await out(house, "minimax")
    await house.hear(word(job, house, told(Phase.QUEUED, "p7"), SUBMIT, claim=claim))
    assert ((await house.now(job)).provider_job_id, (await house.now(job)).state) == ("p7", State.QUEUED)
    found = await house.now(robbed)
    assert (found.provider_job_id, found.guessed_id, found.state) == (None, None, State.UNCONFIRMED)
    assert await dues(house, robbed) == []


# Hints.


async def test_a_job_that_ended_by_a_guess_gives_its_id_to_the_job_whose_answer_names_it(
    house: Storehouse,
) -> None:
    ended, _ = await unconfirmed(house, "minimax")
    other, claim = await out(house, "minimax")
    await house.hear(hint(ended, house, "p1"))
    polled = await house.poll_claim(ended)
    await house.hear(word(ended, house, told(Phase.SUCCEEDED), POLL, claim=polled, guess="p1"))
    assert (await house.now(ended)).state is State.SUCCEEDED
    await house.hear(word(other, house, told(Phase.QUEUED, "p1"), SUBMIT, claim=claim))
    found = await house.now(other)
    assert (found.state, found.provider_job_id) == (State.QUEUED, "p1")
    found = await house.now(ended)
    assert (found.state, found.provider_job_id, found.guessed_id) == (State.SUCCEEDED, None, None)


async def test_hints_leave_a_poll_that_is_under_way_alone(house: Storehouse) -> None:
    job = await house.submitted("apiframe", theirs="p1")
    claim = await house.poll_claim(job)
    before = await house.due_of(job)
    for _ in range(5):
        await house.hear(hint(job, house, "p1"))
    assert await house.due_of(job) == before
    await house.hear(word(job, house, told(Phase.QUEUED, "p1"), POLL, claim=claim))
    [(work, at)] = await dues(house, job)
    assert (work, at) == ("poll", 180.0), "what was hinted at meanwhile is asked at once"


async def test_hints_bring_polls_further_and_further_apart_and_no_more_than_a_budget(
    house: Storehouse,
) -> None:
    job = await house.submitted("apiframe", theirs="p1")
    polls = []
    for _ in range(4 * HINTED_POLLS):
        await house.hear(hint(job, house, "p1"))
        [(_, at)] = await dues(house, job)
        if at > (house.hands.at - START).total_seconds() + 61:
            break
        claim = await house.poll_claim(job)
        polls.append((house.hands.at - START).total_seconds())
        await house.hear(word(job, house, told(Phase.QUEUED, "p1"), POLL, claim=claim))
    assert polls[:5] == [0.0, 1.0, 3.0, 7.0, 15.0]
    assert len(polls) == HINTED_POLLS
    claim = await house.poll_claim(job)
    await house.hear(word(job, house, told(Phase.RUNNING, "p1"), POLL, claim=claim))
    assert (await house.now(job)).hinted_polls == 0, "a poll that brought something restores the budget"


async def test_a_hint_and_an_answer_asked_for_before_it_in_one_transaction(house: Storehouse) -> None:
    job = await house.submitted("apiframe", theirs="p1")
    claim = await house.poll_claim(job)
    now = (house.hands.at - START).total_seconds()
    quiet = word(job, house, told(Phase.QUEUED, "p1"), POLL, claim=claim)
    await house.hear(hint(job, house, "p1"), quiet)
    assert await dues(house, job) == [("poll", now)]


async def test_a_callback_does_not_hasten_a_submission_that_waits(house: Storehouse) -> None:
    job, claim = await out(house, "minimax")
    wait = timedelta(seconds=300)
    throttled = word(job, house, source=SUBMIT, verdict=FailureKind.RESTORE, claim=claim, wait=wait)
    await house.hear(throttled)
    assert await dues(house, job) == [("submit", 300.0)]
    await house.hear(hint(job, house, "p1"), word(job, house, kept_as=Outcome.UNPARSED))
    assert await dues(house, job) == [("submit", 300.0)]


async def test_hints_about_an_ended_job_bring_few_polls(house: Storehouse) -> None:
    job = await house.submitted("apiframe", theirs="p1")
    house.hands.at = job.deadline_at
    await house.hear(word(job, house, source=NOTE, verdict=Action.EXPIRE))
    asked = 0
    for _ in range(50):
        await house.hear(hint(job, house, "p1"))
        house.hands.pass_(minutes=2)
        if await dues(house, job):
            asked += 1
            claim = await house.poll_claim(job)
            await house.hear(word(job, house, told(Phase.RUNNING, "p1"), POLL, claim=claim))
    assert asked == ENDED_POLLS


async def told_late(house: Storehouse) -> Job:
    """Return an expired job of which an unproved callback tells success."""
    job = await house.submitted("apiframe", theirs="p1")
    house.hands.at = job.deadline_at
    await house.hear(word(job, house, source=NOTE, verdict=Action.EXPIRE))
    await house.hear(hint(job, house, "p1"))
    return job


NO_FILE_YET = {"update": told(Phase.SUCCEEDED, "p1", assets=())}
SAYS_NOTHING: dict[str, dict[str, Any]] = {
    "fails": {"verdict": FailureKind.TRANSIENT},
    "does not know the job": {"verdict": FailureKind.MISS},
    "has no file yet": NO_FILE_YET,
}


@pytest.mark.parametrize("says", SAYS_NOTHING.values(), ids=SAYS_NOTHING)
async def test_a_late_result_is_asked_for_again(house: Storehouse, says: dict[str, Any]) -> None:
    job = await told_late(house)
    for _ in range(RETRIES - 1):
        claim = await house.poll_claim(job)
        await house.hear(word(job, house, source=POLL, claim=claim, **says))
    claim = await house.poll_claim(job)
    late = await house.hear(word(job, house, told(Phase.SUCCEEDED, "p1"), POLL, claim=claim))
    assert types(late) == ["job.late_result"]
    assert await dues(house, job) == []


@pytest.mark.parametrize("says", SAYS_NOTHING.values(), ids=SAYS_NOTHING)
async def test_a_late_result_is_asked_for_so_often(house: Storehouse, says: dict[str, Any]) -> None:
    job = await told_late(house)
    for _ in range(RETRIES):
        claim = await house.poll_claim(job)
        await house.hear(word(job, house, source=POLL, claim=claim, **says))
    assert await dues(house, job) == []


async def test_an_answer_asked_for_before_the_end_leaves_a_late_result_to_be_confirmed(
    house: Storehouse,
) -> None:
    job = await house.submitted("apiframe", theirs="p1")
    claim = await house.poll_claim(job)
    await house.hear(word(job, house, source=NOTE, verdict=Action.CANCEL))
    await house.hear(hint(job, house, "p1"))
    await house.hear(word(job, house, told(Phase.RUNNING, "p1"), POLL, claim=claim))
    claim = await house.poll_claim(job)
    late = await house.hear(word(job, house, told(Phase.SUCCEEDED, "p1"), POLL, claim=claim))
    assert types(late) == ["job.late_result"]


async def test_a_late_result_is_confirmed_once_the_answer_names_the_job(house: Storehouse) -> None:
    job, claim = await out(house, "apiframe")
    await house.hear(word(job, house, source=NOTE, verdict=Action.CANCEL))
    await house.hear(hint(job, house, "p1"))
    assert await dues(house, job) == []
    await house.hear(word(job, house, told(Phase.QUEUED, "p1"), SUBMIT, claim=claim))
    claim = await house.poll_claim(job)
    late = await house.hear(word(job, house, told(Phase.SUCCEEDED, "p1"), POLL, claim=claim))
    assert types(late) == ["job.late_result"]


async def test_a_provider_that_never_cancels_is_asked_about_a_late_result(house: Storehouse) -> None:
    job = await house.submitted("replicate", theirs="p1")
    await house.hear(word(job, house, source=NOTE, verdict=Action.CANCEL))
    for _ in range(RETRIES):
        claim = await house.poll_claim(job)
        await house.hear(word(job, house, source=POLL, verdict=Action.CANCEL_FAILED, claim=claim))
    assert await dues(house, job) == []
    await house.hear(hint(job, house, "p1"))
    claim = await house.poll_claim(job)
    late = await house.hear(word(job, house, told(Phase.SUCCEEDED, "p1"), POLL, claim=claim))
    assert types(late) == ["job.late_result"]


async def test_a_late_text_is_a_late_result(house: Storehouse) -> None:
    job = await house.submitted("replicate", theirs="p1")
    house.hands.at = job.deadline_at
    await house.hear(word(job, house, source=NOTE, verdict=Action.EXPIRE))
    says = told(Phase.SUCCEEDED, "p1", assets=(), result={"output": "a poem"})
    assert types(await house.hear(word(job, house, says))) == ["job.late_result"]
    assert (await house.now(job)).result == b'{"output":"a poem"}'
    assert types(await house.hear(word(job, house, says))) == []


async def test_the_last_poll_tells_of_no_state_that_the_job_is_not_in(house: Storehouse) -> None:
    job = await house.submitted("aiml", theirs="p1")
    house.hands.at = job.deadline_at
    claim = await house.poll_claim(job)
    last = await house.hear(word(job, house, told(Phase.RUNNING, "p1"), POLL, claim=claim))
    assert types(last) == ["job.expired"]


# Evidence.


async def test_unproved_callbacks_of_one_job_are_kept_within_a_budget(house: Storehouse) -> None:
    job = await house.submitted("minimax", theirs="p1")
    for _ in range(60):
        await house.hear(hint(job, house, "p1", body=b"x" * 20_000, headers=b"[]"))
    kept = await house.query("select count, length(body) as size from evidence where kind = 'callback'")
    assert sum(row["count"] for row in kept) == 60
    assert sum(row["size"] or 0 for row in kept) <= 192 * 1024
    assert len(kept) <= 21


async def test_a_large_body_that_proves_nothing_is_counted_and_not_kept(house: Storehouse) -> None:
    job = await house.submitted("minimax", theirs="p1")
    await house.hear(hint(job, house, "p1", body=b"x" * 1_000_000))
    [row] = await house.query("select count, body from evidence where kind = 'callback'")
    assert (row["count"], row["body"]) == (1, None)


async def test_callbacks_of_a_job_that_is_gone_are_kept_within_a_budget(house: Storehouse) -> None:
    gone = house.job()
    for _ in range(30):
        await house.hear(word(gone, house, told(Phase.SUCCEEDED), body=b"x" * 50_000))
    kept = await house.query("select count, length(body) as size from evidence where kind = 'callback'")
    assert sum(row["count"] for row in kept) == 30
    assert sum(row["size"] or 0 for row in kept) <= 192 * 1024


async def test_the_callback_that_ends_its_job_is_always_kept(house: Storehouse) -> None:
    job = await house.submitted("apiframe", theirs="p1")
    await house.write("update job set heard = 1000, heard_bytes = 8388608 where id = :id", id=job.id)
    running = word(job, house, told(Phase.RUNNING, "p1"), body=b"on its way")
    ended = word(job, house, told(Phase.SUCCEEDED, "p1"), body=b"the end")
    await house.hear(running, ended)
    bodies = await house.column("select body from evidence where kind = 'callback' order by id")
    assert bodies == [None, b"the end"]


async def test_a_deadline_that_two_replicas_see_is_noted_once(house: Storehouse) -> None:
    job = await house.submitted("aiml")
    house.hands.at = job.deadline_at
    for _ in range(2):
        await house.hear(word(job, house, source=NOTE, verdict=Action.EXPIRE, note="deadline"))
    assert await house.evidence(job) == [("submission", "applied", 1), ("note", "applied", 1)]
