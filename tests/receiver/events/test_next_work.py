"""Due work after a report that came late, under a lost lease or from an operator, on a real store."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import FailureCode, Phase
from receiver.domain.model import By, JobError, Outcome, State, WaitReason, Work
from receiver.domain.reports import Action, FailureKind
from receiver.store.due import void_leases
from receiver.store.jobs import undecided
from receiver.store.statements import ms
from tests.receiver.job_steps import NOTE, POLL, SUBMIT, dues, hint, out, unconfirmed
from tests.receiver.store_fixture import START, StoreFixture, outcomes, store_fixture, told, word

# Late answers.


async def test_an_answer_under_a_lost_lease_leaves_the_job_with_its_poll(fixture: StoreFixture) -> None:
    job, first = await out(fixture)
    fixture.clock.pass_(seconds=95)
    [again] = await fixture.claim(Work.SUBMIT)
    assert again.crashed
    await fixture.hear(word(job, fixture, source=SUBMIT, verdict=FailureKind.LOST, claim=again.claim))
    assert (await fixture.now(job)).state is State.UNCONFIRMED
    assert await dues(fixture, job) == []
    await fixture.hear(word(job, fixture, told(Phase.QUEUED, "p1"), SUBMIT, claim=first))
    assert (await fixture.now(job)).state is State.QUEUED
    [(work, at)] = await dues(fixture, job)
    assert work == "poll"
    assert 95.0 < at < 120.0


async def test_an_answer_that_a_nameless_callback_outran_leaves_the_job_with_its_poll(
    fixture: StoreFixture,
) -> None:
    job, claim = await out(fixture, "apiframe")
    await fixture.hear(word(job, fixture, told(Phase.RUNNING)))
    assert (await fixture.now(job)).state is State.RUNNING
    await fixture.hear(word(job, fixture, told(Phase.QUEUED, "p1"), SUBMIT, claim=claim))
    assert (await fixture.now(job)).provider_job_id == "p1"
    assert await dues(fixture, job) == [("poll", 180.0)]


async def test_a_doubtful_callback_that_names_the_job_replaces_its_submission(fixture: StoreFixture) -> None:
    job, _ = await out(fixture, "apiframe")
    await fixture.hear(word(job, fixture, told(Phase.UNKNOWN, "p1")))
    assert (await fixture.now(job)).state is State.QUEUED
    assert await dues(fixture, job) == [("poll", 0.0)]
    other, _ = await out(fixture, "apiframe")
    await fixture.hear(word(other, fixture, told(Phase.SUCCEEDED, "p2", assets=())))
    await fixture.hear(word(other, fixture, told(Phase.RUNNING, "p2")))
    assert await dues(fixture, other) == [("poll", 0.0)]


async def test_a_job_that_the_provider_accepted_is_never_submitted_again(fixture: StoreFixture) -> None:
    job, _ = await out(fixture, "apiframe-v2")
    await fixture.hear(word(job, fixture, told(Phase.RUNNING)))
    fixture.clock.pass_(seconds=95)
    assert await fixture.claim(Work.SUBMIT) == []
    assert await dues(fixture, job) == []
    known, claim = await out(fixture, "apiframe-v2")
    await fixture.write("update job set state = 'queued', provider_job_id = 'p2' where id = :id", id=known.id)
    fixture.clock.pass_(seconds=95)
    assert await fixture.claim(Work.SUBMIT) == []
    assert await dues(fixture, known) == [("poll", 190.0)]
    await fixture.hear(word(known, fixture, source=SUBMIT, verdict=FailureKind.LOST, claim=claim))
    assert await dues(fixture, known) == [("poll", 190.0)]


@pytest.mark.parametrize(
    ("verdict", "becomes", "due"),
    [(FailureKind.RESTORE, State.PENDING, ["submit"]), (FailureKind.REJECT, State.FAILED, [])],
)
async def test_a_late_proof_that_nothing_was_accepted_is_believed(
    fixture: StoreFixture, verdict: FailureKind, becomes: State, due: Sequence[str]
) -> None:
    job, first = await out(fixture)
    fixture.clock.pass_(seconds=95)
    [again] = await fixture.claim(Work.SUBMIT)
    await fixture.hear(word(job, fixture, source=SUBMIT, verdict=FailureKind.LOST, claim=again.claim))
    late = word(job, fixture, source=SUBMIT, verdict=verdict, claim=first, intent=job.intents)
    await fixture.hear(late)
    assert (await fixture.now(job)).state is becomes
    assert [work for work, _ in await dues(fixture, job)] == due


@pytest.mark.parametrize("claimed", [False, True])
@pytest.mark.parametrize(
    ("verdict", "becomes", "due"),
    [(FailureKind.RESTORE, State.PENDING, ["submit"]), (FailureKind.REJECT, State.FAILED, [])],
)
async def test_a_proof_is_believed_before_its_submission_is_taken_for_lost(
    fixture: StoreFixture, verdict: FailureKind, becomes: State, due: Sequence[str], *, claimed: bool
) -> None:
    job, first = await out(fixture)
    await fixture.write("delete from replica")
    assert await fixture.store.write(lambda: void_leases(fixture.clock.at)) == 1
    again = (await fixture.claim(Work.SUBMIT))[0].claim if claimed else None
    await fixture.hear(word(job, fixture, source=SUBMIT, verdict=verdict, claim=first, intent=job.intents))
    if again is not None:
        lost = word(job, fixture, source=SUBMIT, verdict=FailureKind.LOST, claim=again, intent=job.intents)
        assert outcomes(await fixture.hear(lost)) == ["late"]
    assert (await fixture.now(job)).state is becomes
    assert [work for work, _ in await dues(fixture, job)] == due


async def test_an_answer_under_a_lost_lease_leaves_an_ended_job_with_its_poll(fixture: StoreFixture) -> None:
    job = await fixture.submitted("apiframe", theirs="p1")
    slow = await fixture.poll_claim(job)
    await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.CANCEL))
    await fixture.hear(hint(job, fixture, "p1"))
    quick = await fixture.poll_claim(job)
    await fixture.hear(word(job, fixture, source=POLL, verdict=FailureKind.TRANSIENT, claim=quick))
    [(work, _)] = again = await dues(fixture, job)
    assert work == "poll"
    await fixture.hear(word(job, fixture, told(Phase.RUNNING, "p1"), POLL, claim=slow))
    assert await dues(fixture, job) == again


async def test_a_late_proof_replaces_the_decision_of_the_policy(tmp_path: Path) -> None:
    async with store_fixture(tmp_path, on_unconfirmed="fail", unconfirmed_after="600") as fixture:
        job, first = await out(fixture)
        fixture.clock.pass_(seconds=95)
        [again] = await fixture.claim(Work.SUBMIT)
        await fixture.hear(word(job, fixture, source=SUBMIT, verdict=FailureKind.LOST, claim=again.claim))
        assert await dues(fixture, job) == [("poll", 695.0)]
        wait = timedelta(seconds=900)
        late = word(
            job,
            fixture,
            source=SUBMIT,
            verdict=FailureKind.RESTORE,
            claim=first,
            intent=job.intents,
            wait=wait,
        )
        await fixture.hear(late)
        assert (await fixture.now(job)).state is State.PENDING
        assert await dues(fixture, job) == [("submit", 995.0)]


async def test_a_late_proof_about_an_earlier_submission_says_nothing_about_a_later_one(
    fixture: StoreFixture,
) -> None:
    job, first = await unconfirmed(fixture)
    await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.RESUBMIT))
    [second] = await fixture.claim(Work.SUBMIT)
    assert (job.intents, second.job.intents) == (1, 2)
    await fixture.hear(word(job, fixture, source=SUBMIT, verdict=FailureKind.LOST, claim=second.claim))
    late = word(job, fixture, source=SUBMIT, verdict=FailureKind.RESTORE, claim=first, intent=job.intents)
    assert outcomes(await fixture.hear(late)) == ["late"]
    assert (await fixture.now(job)).state is State.UNCONFIRMED
    assert await dues(fixture, job) == []


async def test_a_refusal_of_a_job_that_a_callback_confirmed_fails_nothing(fixture: StoreFixture) -> None:
    job, claim = await out(fixture, "apiframe")
    await fixture.hear(word(job, fixture, told(Phase.RUNNING, "p1")))
    refusal = word(job, fixture, source=SUBMIT, verdict=FailureKind.REJECT, claim=claim, intent=job.intents)
    await fixture.hear(refusal)
    assert (await fixture.now(job)).state is State.RUNNING


# What an operator says.


async def test_a_job_is_resubmitted_once_however_often_that_is_asked_for(fixture: StoreFixture) -> None:
    job, _ = await unconfirmed(fixture)
    first = await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.RESUBMIT))
    [chosen] = await fixture.claim(Work.SUBMIT)
    second = await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.RESUBMIT))
    assert outcomes([*first, *second]) == ["applied", "late"]
    assert (await fixture.now(job)).state is State.SUBMITTING
    assert await fixture.claim(Work.SUBMIT) == []
    assert (await fixture.now(job)).intents == 2
    await fixture.hear(word(job, fixture, told(Phase.QUEUED, "p1"), SUBMIT, claim=chosen.claim))
    assert (await fixture.now(job)).state is State.QUEUED


async def test_a_job_that_a_callback_confirmed_is_not_given_up(fixture: StoreFixture) -> None:
    job, _ = await unconfirmed(fixture, "apiframe")
    await fixture.hear(word(job, fixture, told(Phase.RUNNING, "p1")))
    given_up = word(job, fixture, source=NOTE, verdict=Action.GIVE_UP, by=By.OPERATOR)
    assert outcomes(await fixture.hear(given_up)) == ["late"]
    assert (await fixture.now(job)).state is State.RUNNING


async def test_an_id_of_another_job_is_refused_whatever_a_hint_said_before(fixture: StoreFixture) -> None:
    other = await fixture.submitted("minimax", theirs="p1")
    job, _ = await unconfirmed(fixture, "minimax")
    await fixture.hear(hint(job, fixture, "p2"))
    bound = await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.BIND, note="p1"))
    assert outcomes(bound) == ["mismatch"]
    assert (await fixture.now(job)).state is State.UNCONFIRMED
    assert (await fixture.now(other)).provider_job_id == "p1"


async def test_a_policy_that_is_set_later_decides_about_what_was_held(fixture: StoreFixture) -> None:
    job, _ = await unconfirmed(fixture)
    at = fixture.clock.at + timedelta(seconds=600)
    assert await fixture.store.write(lambda: undecided(at, 3, 200)) == 1
    assert await fixture.store.write(lambda: undecided(at, 3, 200)) == 0
    assert await dues(fixture, job) == [("poll", 600.0)]


async def test_a_policy_that_resubmits_pays_three_times_at_most(tmp_path: Path) -> None:
    async with store_fixture(tmp_path, on_unconfirmed="resubmit") as fixture:
        job, claim = await out(fixture)
        for paid in range(1, 4):
            assert (await fixture.now(job)).intents == paid
            await fixture.hear(word(job, fixture, source=SUBMIT, verdict=FailureKind.LOST, claim=claim))
            if paid < 3:
                asked = await fixture.poll_claim(job)
                resubmit = word(job, fixture, source=NOTE, verdict=Action.RESUBMIT, claim=asked, by=By.SUBMIT)
                await fixture.hear(resubmit)
                [(_, at)] = await dues(fixture, job)
                fixture.clock.at = START + timedelta(seconds=at)
                [again] = await fixture.claim(Work.SUBMIT)
                claim = again.claim
        assert (await fixture.now(job)).state is State.UNCONFIRMED
        assert await dues(fixture, job) == []


# Idempotent submissions.


async def test_a_lost_answer_is_asked_for_again_eight_times_under_the_providers_key(
    fixture: StoreFixture,
) -> None:
    job, claim = await out(fixture, "apiframe-v2")
    tries = 0
    while (await fixture.now(job)).state is State.SUBMITTING:
        kept_as = Outcome.ERROR if tries else None
        lost = word(job, fixture, source=SUBMIT, verdict=FailureKind.LOST, claim=claim, kept_as=kept_as)
        await fixture.hear(lost)
        if (await fixture.now(job)).state is not State.SUBMITTING:
            break
        [(_, at)] = await dues(fixture, job)
        fixture.clock.at = START + timedelta(seconds=at)
        [again] = await fixture.claim(Work.SUBMIT)
        claim, tries = again.claim, tries + 1
    assert tries == 8
    assert (await fixture.now(job)).state is State.UNCONFIRMED


# Cancels.


async def test_a_canceled_job_is_canceled_at_the_provider_once_its_id_is_known(fixture: StoreFixture) -> None:
    job, claim = await out(fixture, "replicate")
    await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.CANCEL))
    assert await dues(fixture, job) == []
    await fixture.hear(word(job, fixture, told(Phase.QUEUED, "p1"), SUBMIT, claim=claim))
    assert await dues(fixture, job) == [("poll", 0.0)]
    [asked] = await fixture.claim(Work.POLL)
    failed = word(job, fixture, source=NOTE, verdict=Action.CANCEL_FAILED, claim=asked.claim)
    await fixture.hear(failed)
    assert [work for work, _ in await dues(fixture, job)] == ["poll"]
    claim = await fixture.poll_claim(job)
    await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.CANCEL_ASKED, claim=claim))
    assert await dues(fixture, job) == []
    assert not (await fixture.now(job)).cancel_wanted


async def test_a_result_that_is_told_of_while_the_provider_is_asked_to_cancel_is_asked_for(
    fixture: StoreFixture,
) -> None:
    job = await fixture.submitted("replicate", "p1")
    await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.CANCEL))
    claim = await fixture.poll_claim(job)
    await fixture.hear(hint(job, fixture, "p1"))
    await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.CANCEL_ASKED, claim=claim))
    assert await dues(fixture, job) == [("poll", 0.0)]


@pytest.mark.parametrize(("account", "wanted"), [("replicate", True), ("aiml", False)])
async def test_only_a_provider_that_can_cancel_is_asked(
    fixture: StoreFixture, account: str, wanted: bool
) -> None:
    job = await fixture.submitted(account)
    await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.CANCEL))
    assert bool(await dues(fixture, job)) is wanted
    pending = await fixture.added(account)
    await fixture.hear(word(pending, fixture, source=NOTE, verdict=Action.CANCEL))
    assert await dues(fixture, pending) == []


# Why a job waits.


async def test_a_job_that_waits_says_why_and_until_when(fixture: StoreFixture) -> None:
    job, claim = await out(fixture)
    sorry = JobError(FailureCode.LOST, "connect: connection refused")
    trouble: dict[str, Any] = {"error": sorry, "trouble": WaitReason.UNREACHABLE}
    await fixture.hear(word(job, fixture, source=SUBMIT, verdict=FailureKind.RESTORE, claim=claim, **trouble))
    waiting = (await fixture.now(job)).waiting
    assert waiting is not None
    assert (waiting.reason, waiting.detail) == (WaitReason.UNREACHABLE, "connect: connection refused")
    assert waiting.since == START
    [(_, at)] = await dues(fixture, job)
    assert waiting.until is not None
    assert (ms(waiting.until) - ms(START)) / 1000 == at
    fixture.clock.at = waiting.until
    [again] = await fixture.claim(Work.SUBMIT)
    await fixture.hear(word(job, fixture, told(Phase.QUEUED, "p1"), SUBMIT, claim=again.claim))
    assert (await fixture.now(job)).waiting is None
