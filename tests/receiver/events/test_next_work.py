"""The work that is due after a word that came late, under a lost lease, or from an operator; on a real
store."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import FailureCode, Phase
from receiver.domain.model import By, JobError, Outcome, State, WaitReason, Work
from receiver.domain.reports import Action, FailureKind
from receiver.store.due import release, void_leases
from receiver.store.jobs import undecided
from receiver.store.statements import ms
from tests.receiver.job_steps import NOTE, POLL, SUBMIT, dues, hint, out, unconfirmed
from tests.receiver.store_fixture import START, Storehouse, outcomes, storehouse, told, word


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Storehouse]:
    """A service at rest."""
    async with storehouse(tmp_path) as made:
        yield made


# Late answers.


async def test_an_answer_under_a_lost_lease_leaves_the_job_with_its_poll(house: Storehouse) -> None:
    job, first = await out(house)
    house.hands.pass_(seconds=95)
    [again] = await house.claim(Work.SUBMIT)
    assert again.crashed
    await house.hear(word(job, house, source=SUBMIT, verdict=FailureKind.LOST, claim=again.claim))
    assert (await house.now(job)).state is State.UNCONFIRMED
    assert await dues(house, job) == []
    await house.hear(word(job, house, told(Phase.QUEUED, "p1"), SUBMIT, claim=first))
    assert (await house.now(job)).state is State.QUEUED
    [(work, at)] = await dues(house, job)
    assert work == "poll"
    assert 95.0 < at < 120.0


async def test_an_answer_that_a_nameless_callback_outran_leaves_the_job_with_its_poll(
    house: Storehouse,
) -> None:
    job, claim = await out(house, "apiframe")
    await house.hear(word(job, house, told(Phase.RUNNING)))
    assert (await house.now(job)).state is State.RUNNING
    await house.hear(word(job, house, told(Phase.QUEUED, "p1"), SUBMIT, claim=claim))
    assert (await house.now(job)).provider_job_id == "p1"
    assert await dues(house, job) == [("poll", 180.0)]


async def test_a_doubtful_callback_that_names_the_job_replaces_its_submission(house: Storehouse) -> None:
    job, _ = await out(house, "apiframe")
    await house.hear(word(job, house, told(Phase.UNKNOWN, "p1")))
    assert (await house.now(job)).state is State.QUEUED
    assert await dues(house, job) == [("poll", 0.0)]
    other, _ = await out(house, "apiframe")
    await house.hear(word(other, house, told(Phase.SUCCEEDED, "p2", assets=())))
    await house.hear(word(other, house, told(Phase.RUNNING, "p2")))
    assert await dues(house, other) == [("poll", 0.0)]


async def test_a_job_that_the_provider_accepted_is_never_submitted_again(house: Storehouse) -> None:
    job, _ = await out(house, "apiframe-v2")
    await house.hear(word(job, house, told(Phase.RUNNING)))
    house.hands.pass_(seconds=95)
    assert await house.claim(Work.SUBMIT) == []
    assert await dues(house, job) == []
    known, claim = await out(house, "apiframe-v2")
    await house.write("update job set state = 'queued', provider_job_id = 'p2' where id = :id", id=known.id)
    house.hands.pass_(seconds=95)
    assert await house.claim(Work.SUBMIT) == []
    assert await dues(house, known) == [("poll", 190.0)]
    await house.hear(word(known, house, source=SUBMIT, verdict=FailureKind.LOST, claim=claim))
    assert await dues(house, known) == [("poll", 190.0)]


@pytest.mark.parametrize(
    ("verdict", "becomes", "due"),
    [(FailureKind.RESTORE, State.PENDING, ["submit"]), (FailureKind.REJECT, State.FAILED, [])],
)
async def test_a_late_proof_that_nothing_was_accepted_is_believed(
    house: Storehouse, verdict: FailureKind, becomes: State, due: Sequence[str]
) -> None:
    job, first = await out(house)
    house.hands.pass_(seconds=95)
    [again] = await house.claim(Work.SUBMIT)
    await house.hear(word(job, house, source=SUBMIT, verdict=FailureKind.LOST, claim=again.claim))
    late = word(job, house, source=SUBMIT, verdict=verdict, claim=first, intent=job.intents)
    await house.hear(late)
    assert (await house.now(job)).state is becomes
    assert [work for work, _ in await dues(house, job)] == due


@pytest.mark.parametrize("claimed", [False, True])
@pytest.mark.parametrize(
    ("verdict", "becomes", "due"),
    [(FailureKind.RESTORE, State.PENDING, ["submit"]), (FailureKind.REJECT, State.FAILED, [])],
)
async def test_a_proof_is_believed_before_its_submission_is_taken_for_lost(
    house: Storehouse, verdict: FailureKind, becomes: State, due: Sequence[str], *, claimed: bool
) -> None:
    job, first = await out(house)
    await house.write("delete from replica")
    assert await house.store.write(lambda: void_leases(house.hands.at)) == 1
    again = (await house.claim(Work.SUBMIT))[0].claim if claimed else None
    await house.hear(word(job, house, source=SUBMIT, verdict=verdict, claim=first, intent=job.intents))
    if again is not None:
        lost = word(job, house, source=SUBMIT, verdict=FailureKind.LOST, claim=again, intent=job.intents)
        assert outcomes(await house.hear(lost)) == ["late"]
    assert (await house.now(job)).state is becomes
    assert [work for work, _ in await dues(house, job)] == due


async def test_an_answer_under_a_lost_lease_leaves_an_ended_job_with_its_poll(house: Storehouse) -> None:
    job = await house.submitted("apiframe", theirs="p1")
    slow = await house.poll_claim(job)
    await house.hear(word(job, house, source=NOTE, verdict=Action.CANCEL))
    await house.hear(hint(job, house, "p1"))
    quick = await house.poll_claim(job)
    await house.hear(word(job, house, source=POLL, verdict=FailureKind.TRANSIENT, claim=quick))
    [(work, _)] = again = await dues(house, job)
    assert work == "poll"
    await house.hear(word(job, house, told(Phase.RUNNING, "p1"), POLL, claim=slow))
    assert await dues(house, job) == again


async def test_a_late_proof_replaces_the_decision_of_the_policy(tmp_path: Path) -> None:
    async with storehouse(tmp_path, on_unconfirmed="fail", unconfirmed_after="600") as house:
        job, first = await out(house)
        house.hands.pass_(seconds=95)
        [again] = await house.claim(Work.SUBMIT)
        await house.hear(word(job, house, source=SUBMIT, verdict=FailureKind.LOST, claim=again.claim))
        assert await dues(house, job) == [("poll", 695.0)]
        wait = timedelta(seconds=900)
        late = word(
            job, house, source=SUBMIT, verdict=FailureKind.RESTORE, claim=first, intent=job.intents, wait=wait
        )
        await house.hear(late)
        assert (await house.now(job)).state is State.PENDING
        assert await dues(house, job) == [("submit", 995.0)]


async def test_a_claim_is_given_back_by_its_owner_only(house: Storehouse) -> None:
    """A claim that was rolled back has the fence of the one that another replica took next."""
    job, claim = await out(house)
    now = house.hands.at
    rolled_back = replace(claim, owner="rpc_other")
    assert await house.store.write(lambda: release([rolled_back], now)) == set()
    assert [(leased, fence) for _, _, leased, fence in await house.due_of(job)] == [(1, claim.fence)]
    assert await house.store.write(lambda: release([claim], now)) == {job.id}
    assert [(leased, fence) for _, _, leased, fence in await house.due_of(job)] == [(0, claim.fence + 1)]


async def test_a_late_proof_about_an_earlier_submission_says_nothing_about_a_later_one(
    house: Storehouse,
) -> None:
    job, first = await unconfirmed(house)
    await house.hear(word(job, house, source=NOTE, verdict=Action.RESUBMIT))
    [second] = await house.claim(Work.SUBMIT)
    assert (job.intents, second.job.intents) == (1, 2)
    await house.hear(word(job, house, source=SUBMIT, verdict=FailureKind.LOST, claim=second.claim))
    late = word(job, house, source=SUBMIT, verdict=FailureKind.RESTORE, claim=first, intent=job.intents)
    assert outcomes(await house.hear(late)) == ["late"]
    assert (await house.now(job)).state is State.UNCONFIRMED
    assert await dues(house, job) == []


async def test_a_refusal_of_a_job_that_a_callback_confirmed_fails_nothing(house: Storehouse) -> None:
    job, claim = await out(house, "apiframe")
    await house.hear(word(job, house, told(Phase.RUNNING, "p1")))
    refusal = word(job, house, source=SUBMIT, verdict=FailureKind.REJECT, claim=claim, intent=job.intents)
    await house.hear(refusal)
    assert (await house.now(job)).state is State.RUNNING


# Leases.


async def test_work_under_way_is_not_claimed_again_by_its_own_worker(house: Storehouse) -> None:
    job, claim = await out(house)
    house.hands.pass_(hours=1)
    house.busy = frozenset({job.id})
    assert await house.claim(Work.SUBMIT) == []
    [(_, at, leased, fence)] = await house.due_of(job)
    assert (at, leased, fence) == (3600.0 + 30.0, 1, claim.fence)
    await house.hear(word(job, house, told(Phase.QUEUED, "p1"), SUBMIT, claim=claim))
    assert await dues(house, job) == [("poll", 3600.0 + 10.0)]


async def test_a_lease_of_another_replica_is_not_ended_by_the_clock(house: Storehouse) -> None:
    job, claim = await out(house)
    await house.write("update due set owner = 'rpc_other' where id = :id", id=job.id)
    house.hands.pass_(hours=1)
    assert await house.claim(Work.SUBMIT) == []
    assert await house.due_of(job) == [("submit", 30.0, 1, claim.fence)]


async def test_a_submission_whose_lease_ended_does_not_wait_for_itself(house: Storehouse) -> None:
    await house.added("aiml")
    assert len(await house.claim(Work.SUBMIT, {"aiml": 1}, {"aiml": 1})) == 1
    assert await house.claim(Work.SUBMIT, {"aiml": 1}, {"aiml": 1}) == []
    house.hands.pass_(seconds=95)
    [again] = await house.claim(Work.SUBMIT, {"aiml": 1}, {"aiml": 1})
    assert again.crashed


# What an operator says.


async def test_a_job_is_resubmitted_once_however_often_that_is_asked_for(house: Storehouse) -> None:
    job, _ = await unconfirmed(house)
    first = await house.hear(word(job, house, source=NOTE, verdict=Action.RESUBMIT))
    [chosen] = await house.claim(Work.SUBMIT)
    second = await house.hear(word(job, house, source=NOTE, verdict=Action.RESUBMIT))
    assert outcomes([*first, *second]) == ["applied", "late"]
    assert (await house.now(job)).state is State.SUBMITTING
    assert await house.claim(Work.SUBMIT) == []
    assert (await house.now(job)).intents == 2
    await house.hear(word(job, house, told(Phase.QUEUED, "p1"), SUBMIT, claim=chosen.claim))
    assert (await house.now(job)).state is State.QUEUED


async def test_a_job_that_a_callback_confirmed_is_not_given_up(house: Storehouse) -> None:
    job, _ = await unconfirmed(house, "apiframe")
    await house.hear(word(job, house, told(Phase.RUNNING, "p1")))
    given_up = word(job, house, source=NOTE, verdict=Action.GIVE_UP, by=By.OPERATOR)
    assert outcomes(await house.hear(given_up)) == ["late"]
    assert (await house.now(job)).state is State.RUNNING


async def test_an_id_of_another_job_is_refused_whatever_a_hint_said_before(house: Storehouse) -> None:
    other = await house.submitted("minimax", theirs="p1")
    job, _ = await unconfirmed(house, "minimax")
    await house.hear(hint(job, house, "p2"))
    bound = await house.hear(word(job, house, source=NOTE, verdict=Action.BIND, note="p1"))
    assert outcomes(bound) == ["mismatch"]
    assert (await house.now(job)).state is State.UNCONFIRMED
    assert (await house.now(other)).provider_job_id == "p1"


async def test_a_policy_that_is_set_later_decides_about_what_was_held(house: Storehouse) -> None:
    job, _ = await unconfirmed(house)
    at = house.hands.at + timedelta(seconds=600)
    assert await house.store.write(lambda: undecided(at, 3, 200)) == 1
    assert await house.store.write(lambda: undecided(at, 3, 200)) == 0
    assert await dues(house, job) == [("poll", 600.0)]


async def test_a_policy_that_resubmits_pays_three_times_at_most(tmp_path: Path) -> None:
    async with storehouse(tmp_path, on_unconfirmed="resubmit") as house:
        job, claim = await out(house)
        for paid in range(1, 4):
            assert (await house.now(job)).intents == paid
            await house.hear(word(job, house, source=SUBMIT, verdict=FailureKind.LOST, claim=claim))
            if paid < 3:
                asked = await house.poll_claim(job)
                resubmit = word(job, house, source=NOTE, verdict=Action.RESUBMIT, claim=asked, by=By.SUBMIT)
                await house.hear(resubmit)
                [(_, at)] = await dues(house, job)
                house.hands.at = START + timedelta(seconds=at)
                [again] = await house.claim(Work.SUBMIT)
                claim = again.claim
        assert (await house.now(job)).state is State.UNCONFIRMED
        assert await dues(house, job) == []


# Idempotent submissions.


async def test_a_lost_answer_is_asked_for_again_eight_times_under_the_providers_key(
    house: Storehouse,
) -> None:
    job, claim = await out(house, "apiframe-v2")
    tries = 0
    while (await house.now(job)).state is State.SUBMITTING:
        kept_as = Outcome.ERROR if tries else None
        lost = word(job, house, source=SUBMIT, verdict=FailureKind.LOST, claim=claim, kept_as=kept_as)
        await house.hear(lost)
        if (await house.now(job)).state is not State.SUBMITTING:
            break
        [(_, at)] = await dues(house, job)
        house.hands.at = START + timedelta(seconds=at)
        [again] = await house.claim(Work.SUBMIT)
        claim, tries = again.claim, tries + 1
    assert tries == 8
    assert (await house.now(job)).state is State.UNCONFIRMED


# Cancels.


async def test_a_canceled_job_is_canceled_at_the_provider_once_its_id_is_known(house: Storehouse) -> None:
    job, claim = await out(house, "replicate")
    await house.hear(word(job, house, source=NOTE, verdict=Action.CANCEL))
    assert await dues(house, job) == []
    await house.hear(word(job, house, told(Phase.QUEUED, "p1"), SUBMIT, claim=claim))
    assert await dues(house, job) == [("poll", 0.0)]
    [asked] = await house.claim(Work.POLL)
    failed = word(job, house, source=NOTE, verdict=Action.CANCEL_FAILED, claim=asked.claim)
    await house.hear(failed)
    assert [work for work, _ in await dues(house, job)] == ["poll"]
    claim = await house.poll_claim(job)
    await house.hear(word(job, house, source=NOTE, verdict=Action.CANCEL_ASKED, claim=claim))
    assert await dues(house, job) == []
    assert not (await house.now(job)).cancel_wanted


async def test_a_result_that_is_told_of_while_the_provider_is_asked_to_cancel_is_asked_for(
    house: Storehouse,
) -> None:
    job = await house.submitted("replicate", "p1")
    await house.hear(word(job, house, source=NOTE, verdict=Action.CANCEL))
    claim = await house.poll_claim(job)
    await house.hear(hint(job, house, "p1"))
    await house.hear(word(job, house, source=NOTE, verdict=Action.CANCEL_ASKED, claim=claim))
    assert await dues(house, job) == [("poll", 0.0)]


@pytest.mark.parametrize(("account", "wanted"), [("replicate", True), ("aiml", False)])
async def test_only_a_provider_that_can_cancel_is_asked(
    house: Storehouse, account: str, wanted: bool
) -> None:
    job = await house.submitted(account)
    await house.hear(word(job, house, source=NOTE, verdict=Action.CANCEL))
    assert bool(await dues(house, job)) is wanted
    pending = await house.added(account)
    await house.hear(word(pending, house, source=NOTE, verdict=Action.CANCEL))
    assert await dues(house, pending) == []


# Why a job waits.


async def test_a_job_that_waits_says_why_and_until_when(house: Storehouse) -> None:
    job, claim = await out(house)
    sorry = JobError(FailureCode.LOST, "connect: connection refused")
    trouble: dict[str, Any] = {"error": sorry, "trouble": WaitReason.UNREACHABLE}
    await house.hear(word(job, house, source=SUBMIT, verdict=FailureKind.RESTORE, claim=claim, **trouble))
    waiting = (await house.now(job)).waiting
    assert waiting is not None
    assert (waiting.reason, waiting.detail) == (WaitReason.UNREACHABLE, "connect: connection refused")
    assert waiting.since == START
    [(_, at)] = await dues(house, job)
    assert waiting.until is not None
    assert (ms(waiting.until) - ms(START)) / 1000 == at
    house.hands.at = waiting.until
    [again] = await house.claim(Work.SUBMIT)
    await house.hear(word(job, house, told(Phase.QUEUED, "p1"), SUBMIT, claim=again.claim))
    assert (await house.now(job)).waiting is None
