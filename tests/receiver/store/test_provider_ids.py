"""Provider ids in a real store: each names one job of an account."""

from typing import Any

import pytest

from handlers.contract import Phase, Proof
from receiver.domain.model import Claim, Job, Outcome, Source, State, Work
from receiver.domain.reports import (
    Action,
    Command,
    FailureKind,
    Note,
    ProviderFailure,
    ProviderUpdate,
    Report,
)
from receiver.store.jobs import get
from receiver.store.provider_ids import taken_by, unless_taken
from receiver.store.statements import ms
from tests.receiver.store_fixture import START, StoreFixture, outcomes, told, types, word

SUBMIT, POLL, CALLBACK, NOTE = Source.SUBMISSION, Source.POLL, Source.CALLBACK, Source.NOTE


async def test_an_id_that_another_job_has_leaves_this_one_unconfirmed(fixture: StoreFixture) -> None:
    await fixture.endpoint()
    first = await fixture.submitted(theirs="p1")
    second = await fixture.added()
    [chosen] = await fixture.claim(Work.SUBMIT)
    answer = word(second, fixture, told(Phase.QUEUED, "p1"), SUBMIT, claim=chosen.claim)
    [recorded] = await fixture.hear(answer)
    assert (recorded.outcome, types([recorded])) == (Outcome.MISMATCH, ["job.unconfirmed"])
    assert (await fixture.now(second)).provider_job_id is None
    assert (await fixture.now(first)).provider_job_id == "p1"
    [callback] = await fixture.hear(word(second, fixture, told(Phase.SUCCEEDED, "p1")))
    assert (callback.outcome, callback.events) == (Outcome.MISMATCH, ())
    note = word(second, fixture, source=NOTE, verdict=Action.BIND, note="p1")
    assert outcomes(await fixture.hear(note)) == ["mismatch"]
    assert (await fixture.now(second)).state is State.UNCONFIRMED


async def test_one_id_for_two_jobs_in_one_transaction(fixture: StoreFixture) -> None:
    made = [await fixture.added() for _ in range(2)]
    # Both are due at the same moment, so a claim may return them in either order.
    chosen = sorted(await fixture.claim(Work.SUBMIT), key=lambda one: one.job.id)
    answers = [word(one.job, fixture, told(Phase.QUEUED, "p1"), SUBMIT, claim=one.claim) for one in chosen]
    assert outcomes(await fixture.hear(*answers)) == ["applied", "mismatch"]
    assert [(await fixture.now(job)).provider_job_id for job in made] == ["p1", None]


async def test_two_accounts_may_use_one_id(fixture: StoreFixture) -> None:
    first, second = await fixture.submitted(theirs="p1"), await fixture.submitted("aiml", theirs="p1")
    assert [(await fixture.now(job)).provider_job_id for job in (first, second)] == ["p1", "p1"]


# Ids that a callback guessed.


async def guessing(fixture: StoreFixture, **others: object) -> Job:
    """Return a queued job that holds the id `p1` only because an unproved callback guessed it."""
    job = await fixture.submitted("aiml", "p1")
    values = {"guessed_id": "p1", "state": "queued", "completed_at": None} | others
    changes = ", ".join(f"{name} = :{name}" for name in values)
    await fixture.write(f"update job set {changes} where id = :id", id=job.id, **values)
    return await fixture.now(job)


async def taken(fixture: StoreFixture, *reports: Report) -> dict[tuple[str, str], str]:
    """Return the jobs that hold the ids that these reports would bind."""
    jobs = {report.job_id: await fixture.store.read(get(report.job_id)) for report in reports}
    known = {job_id: job for job_id, job in jobs.items() if job is not None}
    return await fixture.store.write(lambda: taken_by(reports, known))


@pytest.mark.parametrize(
    ("source", "others", "proves"),
    [
        (SUBMIT, {}, True),
        (POLL, {}, True),
        (CALLBACK, {"proof": Proof.PROVED}, True),
        (CALLBACK, {"proof": Proof.PROVED, "confirm": True}, False),
        (CALLBACK, {"proof": Proof.UNPROVED}, False),
        (POLL, {"guess": "p1"}, False),
    ],
)
async def test_a_guessed_id_is_given_up_only_to_a_proof(
    fixture: StoreFixture, source: Source, others: dict[str, Any], proves: bool
) -> None:
    holder, other = await guessing(fixture), await fixture.added("aiml")
    report = word(other, fixture, told(Phase.RUNNING, "p1"), source, **others)
    assert await taken(fixture, report) == ({} if proves else {("aiml", "p1"): holder.id})
    now = await fixture.now(holder)
    expected = (State.UNCONFIRMED, None, None) if proves else (State.QUEUED, "p1", "p1")
    assert (now.state, now.provider_job_id, now.guessed_id) == expected
    assert [work for work, *_ in await fixture.due_of(holder)] == ([] if proves else ["poll"])


async def test_one_proof_among_several_reports_is_enough(fixture: StoreFixture) -> None:
    holder, other = await guessing(fixture), await fixture.added("aiml")
    proof = word(other, fixture, told(Phase.RUNNING, "p1"))
    hint = word(other, fixture, told(Phase.RUNNING, "p1"), proof=Proof.UNPROVED)
    assert await taken(fixture, proof, hint) == {}
    assert (await fixture.now(holder)).state is State.UNCONFIRMED


async def test_a_job_that_ended_gives_its_guessed_id_up_and_stays_as_it_ended(fixture: StoreFixture) -> None:
    holder = await guessing(fixture, state="succeeded", completed_at=ms(fixture.clock.at))
    other = await fixture.added("aiml")
    assert await taken(fixture, word(other, fixture, told(Phase.QUEUED, "p1"), SUBMIT)) == {}
    now = await fixture.now(holder)
    assert (now.state, now.provider_job_id, now.guessed_id) == (State.SUCCEEDED, None, None)


async def test_a_job_with_a_report_in_the_same_transaction_keeps_its_guessed_id(
    fixture: StoreFixture,
) -> None:
    holder, other = await guessing(fixture), await fixture.added("aiml")
    proof = word(other, fixture, told(Phase.QUEUED, "p1"), SUBMIT)
    own = word(holder, fixture, told(Phase.RUNNING), POLL)
    assert await taken(fixture, proof, own) == {("aiml", "p1"): holder.id}
    assert (await fixture.now(holder)).provider_job_id == "p1"


async def test_reports_that_bind_no_id_look_for_none(fixture: StoreFixture) -> None:
    holder, named, unnamed = (
        await fixture.submitted("aiml", "p1"),
        await fixture.submitted("aiml", "p2"),
        await fixture.added("aiml"),
    )
    reports = [
        word(named, fixture, told(Phase.RUNNING, "p1")),
        word(unnamed, fixture, told(Phase.RUNNING)),
        word(unnamed, fixture, source=NOTE, verdict=Action.CANCEL, note="p1"),
        word(unnamed, fixture, source=SUBMIT, verdict=FailureKind.LOST),
        word(unnamed, fixture),
        word(fixture.job("aiml"), fixture, told(Phase.RUNNING, "p1")),
    ]
    assert await taken(fixture, *reports) == {}
    bound = word(named, fixture, source=NOTE, verdict=Action.BIND, note="p1")
    assert await taken(fixture, bound) == {("aiml", "p1"): holder.id}


# Reports that name the id of another job.

JOB = Job(
    id="job_1",
    account="aiml",
    operation="video",
    state=State.SUBMITTING,
    created_at=START,
    updated_at=START,
    deadline_at=START,
)
CLAIM = Claim(id="job_1", work=Work.SUBMIT, lane="aiml", fence=1, tries=0, until=0.0)
BASE: dict[str, Any] = {"job_id": "job_1", "at": START, "claim": CLAIM}
MISMATCH = BASE | {
    "note": "the provider named an id that belongs to another job",
    "kept_as": Outcome.MISMATCH,
}
TAKEN = {("aiml", "p1"): "job_2"}
UPDATE = told(Phase.RUNNING, "p1")


@pytest.mark.parametrize(
    ("report", "counts_as"),
    [
        (
            ProviderUpdate(source=SUBMIT, update=UPDATE, status=201, **BASE),
            ProviderFailure(kind=FailureKind.LOST, source=SUBMIT, status=201, **MISMATCH),
        ),
        (
            ProviderUpdate(source=POLL, update=told(Phase.RUNNING), guess="p1", status=200, **BASE),
            ProviderFailure(kind=FailureKind.MISS, source=POLL, guess="p1", status=200, **MISMATCH),
        ),
        (
            ProviderUpdate(
                source=CALLBACK, update=UPDATE, proof=Proof.UNPROVED, headers=b"h", body=b"{}", **BASE
            ),
            Note(source=CALLBACK, proof=Proof.UNPROVED, headers=b"h", body=b"{}", **MISMATCH),
        ),
        (
            Command(source=NOTE, action=Action.BIND, provider_job_id="p1", **BASE),
            Note(source=NOTE, **MISMATCH),
        ),
    ],
    ids=["submission", "poll of a guess", "callback", "command"],
)
def test_a_report_that_names_the_id_of_another_job_binds_nothing(report: Report, counts_as: Report) -> None:
    assert unless_taken(report, JOB, TAKEN) == counts_as


@pytest.mark.parametrize("taken", [{}, {("aiml", "p1"): "job_1"}, {("minimax", "p1"): "job_2"}])
def test_an_id_that_is_free_or_the_jobs_own_is_bound(taken: dict[tuple[str, str], str]) -> None:
    report = ProviderUpdate(source=SUBMIT, update=UPDATE, **BASE)
    assert unless_taken(report, JOB, taken) is report


@pytest.mark.parametrize(
    ("report", "job"),
    [
        (ProviderUpdate(source=POLL, update=told(Phase.RUNNING), **BASE), JOB),
        (ProviderUpdate(source=POLL, update=UPDATE, **BASE), JOB.but(provider_job_id="p2")),
        (ProviderFailure(source=SUBMIT, kind=FailureKind.LOST, **BASE), JOB),
    ],
    ids=["no id", "a job with an id", "a failure"],
)
def test_a_report_that_binds_no_id_counts_as_it_is(report: Report, job: Job) -> None:
    assert unless_taken(report, job, TAKEN) is report
