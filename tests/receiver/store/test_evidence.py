"""Evidence in a real store: every report once, quiet polls and too many callbacks counted on one entry."""

import json
from typing import Any

import pytest

from handlers.contract import Phase, Proof
from receiver.domain.model import Job, Outcome, Source, State
from receiver.domain.reports import Report
from receiver.store import evidence
from receiver.store.evidence import UNKEPT, Budget, Evidence, Heard, count_quiet, heard_of
from receiver.store.statements import ms
from tests.receiver.store_fixture import StoreFixture, told, word
from tests.receiver.store_steps import statements

POLL, UNCHANGED, APPLIED = Source.POLL, Outcome.UNCHANGED, Outcome.APPLIED


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep two callbacks of 20 bytes for each job, three where they are proved."""
    monkeypatch.setattr(evidence, "UNPROVED", Budget(2, 20))
    monkeypatch.setattr(evidence, "PROVED", Budget(3, 20))


async def file(fixture: StoreFixture, job: Job, *reports: Report, outcome: Outcome = APPLIED) -> Job:
    """File reports in one transaction. Returns the job with its entries noted."""
    entries = Evidence(fixture.services.core.ids, {})
    for report in reports:
        job = entries.file(report, outcome, job, job)
    await fixture.store.write(entries.write)
    return job


async def orphaned(fixture: StoreFixture, *reports: Report) -> None:
    """File reports about a job that is gone in one transaction."""
    [job_id] = {report.job_id for report in reports}
    kept = await fixture.store.read(heard_of([job_id]))
    entries = Evidence(fixture.services.core.ids, kept)
    for report in reports:
        entries.file_orphan(report)
    await fixture.store.write(entries.write)


async def entries(fixture: StoreFixture) -> list[tuple[Any, ...]]:
    """Return the body, the note and the count of every entry."""
    rows = await fixture.query("select told, body, count from evidence order by id")
    return [(row["body"], json.loads(row["told"]).get("note"), row["count"]) for row in rows]


def callback(fixture: StoreFixture, job: Job, body: bytes, proof: Proof = Proof.UNPROVED) -> Report:
    """Return a callback with a body."""
    return word(job, fixture, told(Phase.RUNNING), body=body, proof=proof)


@pytest.mark.parametrize(
    ("entries", "size", "fits"),
    [(0, 0, True), (3, 10, True), (4, 10, False), (3, 11, False), (4, 11, False)],
)
def test_a_budget_bounds_the_entries_and_their_bytes(entries: int, size: int, fits: bool) -> None:
    assert Budget(3, 10).holds(entries, size) is fits


# Entries of jobs.


async def test_an_entry_holds_the_report_as_it_came(fixture: StoreFixture) -> None:
    job = fixture.job()
    after = job.but(state=State.RUNNING)
    report = word(job, fixture, told(Phase.RUNNING, "p1", progress=40.0), headers=b"a: b", body=b"{}")
    filed = Evidence(fixture.services.core.ids, {})
    assert filed.file(report, APPLIED, job, after) == after.but(heard=1, heard_bytes=6)
    await fixture.store.write(filed.write)
    [row] = await fixture.query("select * from evidence")
    assert (row["job"], row["at"], row["kind"], row["outcome"]) == (
        job.id,
        ms(fixture.clock.at),
        "callback",
        "applied",
    )
    assert (row["headers"], row["body"], row["count"], row["last_at"]) == (b"a: b", b"{}", 1, row["at"])
    assert json.loads(row["told"]) == {
        "phase": "running",
        "progress": 40.0,
        "provider_job_id": "p1",
        "proof": "proved",
        "from": "pending",
        "to": "running",
    }


async def test_unchanged_polls_in_a_row_share_an_entry(fixture: StoreFixture) -> None:
    job = fixture.job()
    job = await file(fixture, job, *[word(job, fixture, told(Phase.QUEUED), POLL)] * 2, outcome=UNCHANGED)
    [first] = await fixture.column("select id from evidence")
    assert job.quiet_poll == first
    fixture.clock.pass_(seconds=7)
    job = await file(fixture, job, word(job, fixture, told(Phase.QUEUED), POLL), outcome=UNCHANGED)
    [row] = await fixture.query("select at, count, last_at from evidence")
    assert (row["count"], row["last_at"] - row["at"]) == (3, 7000)
    job = await file(fixture, job, word(job, fixture, told(Phase.RUNNING), POLL))
    assert job.quiet_poll is None
    job = await file(fixture, job, word(job, fixture, told(Phase.QUEUED), POLL), outcome=UNCHANGED)
    assert await fixture.evidence(job) == [
        ("poll", "unchanged", 3),
        ("poll", "applied", 1),
        ("poll", "unchanged", 1),
    ]


async def test_callbacks_beyond_the_budget_share_one_entry_without_their_bodies(
    fixture: StoreFixture, small: None
) -> None:
    job = fixture.job()
    bodies = [b"1", b"2", b"3", b"4"]
    job = await file(fixture, job, *(callback(fixture, job, body) for body in bodies))
    assert await entries(fixture) == [(b"1", None, 1), (b"2", None, 1), (None, UNKEPT, 2)]
    assert (job.heard, job.heard_bytes) == (2, 2)
    job = await file(fixture, job, callback(fixture, job, b"5"))
    assert (await entries(fixture))[2:] == [(None, UNKEPT, 3)]
    overflow = (await fixture.column("select id from evidence order by id"))[2]
    assert job.overflow == overflow


async def test_a_proved_callback_has_the_larger_budget(fixture: StoreFixture, small: None) -> None:
    job = fixture.job()
    unproved = [callback(fixture, job, body) for body in (b"1", b"2", b"3")]
    proved = [callback(fixture, job, body, Proof.PROVED) for body in (b"4", b"5")]
    job = await file(fixture, job, *unproved, *proved)
    assert await entries(fixture) == [
        (b"1", None, 1),
        (b"2", None, 1),
        (None, UNKEPT, 2),
        (b"4", None, 1),
    ]
    assert (job.heard, job.heard_bytes) == (3, 3)


async def test_a_callback_that_is_too_large_takes_nothing_of_the_budget(
    fixture: StoreFixture, small: None
) -> None:
    job = fixture.job()
    large, fitting = callback(fixture, job, b"x" * 21), callback(fixture, job, b"y" * 20)
    job = await file(fixture, job, large, fitting, large)
    assert await entries(fixture) == [(None, UNKEPT, 2), (b"y" * 20, None, 1)]
    assert (job.heard, job.heard_bytes) == (1, 20)


async def test_the_callback_that_ends_its_job_is_kept_whatever_the_budget(
    fixture: StoreFixture, small: None
) -> None:
    job = await file(fixture, fixture.job(), *[callback(fixture, fixture.job(), b"1")] * 3)
    ended = job.but(state=State.SUCCEEDED)
    filed = Evidence(fixture.services.core.ids, {})
    job = filed.file(callback(fixture, job, b"x" * 30), APPLIED, job, ended)
    job = filed.file(callback(fixture, job, b"late"), Outcome.DUPLICATE, job, job)
    await fixture.store.write(filed.write)
    found = await entries(fixture)
    assert (found[-1], job.heard, job.heard_bytes) == ((b"x" * 30, None, 1), 3, 32)


async def test_other_reports_have_no_budget(fixture: StoreFixture, small: None) -> None:
    job = fixture.job()
    job = await file(fixture, job, *[word(job, fixture, told(Phase.QUEUED), Source.SUBMISSION)] * 4)
    assert await fixture.evidence(job) == [("submission", "applied", 1)] * 4
    assert (job.heard, job.overflow) == (0, None)


# Entries of jobs that are gone.


async def test_reports_about_a_job_that_is_gone_are_kept_as_late(fixture: StoreFixture) -> None:
    job = fixture.job()
    assert await fixture.store.read(heard_of([])) == {}
    await orphaned(fixture, callback(fixture, job, b"12"), callback(fixture, job, b"345"))
    assert await fixture.evidence(job) == [("callback", "late", 1)] * 2
    newest = (await fixture.column("select id from evidence order by id"))[-1]
    assert await fixture.store.read(heard_of([job.id, "job_other"])) == {job.id: Heard(2, 5, newest)}


async def test_too_many_reports_about_a_job_that_is_gone_are_counted_on_the_last_entry(
    fixture: StoreFixture, small: None
) -> None:
    job = fixture.job()
    await orphaned(fixture, *(callback(fixture, job, body) for body in (b"1", b"2", b"3")))
    assert await entries(fixture) == [(b"1", None, 1), (b"2", None, 2)]
    await orphaned(fixture, callback(fixture, job, b"4", Proof.PROVED))
    assert await entries(fixture) == [(b"1", None, 1), (b"2", None, 3)]


async def test_the_first_report_about_a_job_that_is_gone_has_an_entry_even_when_it_is_too_large(
    fixture: StoreFixture, small: None
) -> None:
    job = fixture.job()
    large = callback(fixture, job, b"x" * 21)
    await orphaned(fixture, large, callback(fixture, job, b"1"), large)
    assert await entries(fixture) == [(None, UNKEPT, 1), (b"1", None, 2)]


# Counts.


async def test_entries_of_several_jobs_are_counted_on_where_they_exist(fixture: StoreFixture) -> None:
    jobs = [fixture.job() for _ in range(2)]
    for job in jobs:
        await file(fixture, job, *[word(job, fixture, told(Phase.QUEUED), POLL)] * 2)
    rows = await fixture.query("select job, id from evidence order by id")
    first, _, _, last = [(row["job"], row["id"]) for row in rows]
    counted = {first: (2, 5), last: (1, 6), ("job_gone", "evd_gone"): (1, 7)}
    await fixture.store.write(lambda: count_quiet(counted))
    found = await fixture.query("select count, last_at from evidence order by id")
    now = ms(fixture.clock.at)
    assert [(row["count"], row["last_at"]) for row in found] == [(3, 5), (1, now), (1, now), (2, 6)]


def test_nothing_to_count_costs_no_statement() -> None:
    assert statements(count_quiet({})) == []
