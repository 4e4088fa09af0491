"""Timelines in a real store: every entry once, in order, on pages of any size."""

import itertools
from dataclasses import replace

import pytest

from handlers.contract import Phase
from receiver.delivery.sender import SETTLE
from receiver.domain.model import Job, Outcome, Source, Work
from receiver.domain.reports import Report
from receiver.store.timeline import TimelineEntry, TimelinePlace, timeline
from tests.receiver.store_fixture import StoreFixture, told, word

SUBMIT, POLL = Source.SUBMISSION, Source.POLL


async def read_all(fixture: StoreFixture, job: Job, size: int) -> list[TimelineEntry]:
    """Return the whole timeline, read in pages of `size` entries as the API does."""
    found: list[TimelineEntry] = []
    after: TimelinePlace | None = None
    while True:
        page = await fixture.store.read(timeline(job.id, after, size))
        found += page[:size]
        if len(page) <= size:
            return found
        after = page[size - 1].place


async def lively(fixture: StoreFixture, seconds: float) -> Job:
    """Return a job with many reports, `seconds` apart."""
    await fixture.endpoint("ep_1", "job.*")
    job = await fixture.added()
    [chosen] = await fixture.claim(Work.SUBMIT)

    async def hear(heard: Report) -> None:
        for recorded in await fixture.hear(heard):
            for one in recorded.deliveries:
                await fixture.settle_born(one)
        fixture.clock.pass_(seconds=seconds)

    await hear(word(job, fixture, told(Phase.QUEUED, "p1"), SUBMIT, claim=chosen.claim))
    for _ in range(3):
        await hear(word(job, fixture, told(Phase.QUEUED), POLL))
    await hear(word(job, fixture, told(Phase.RUNNING), body=b"{}"))
    for _ in range(3):
        await hear(word(job, fixture, body=b"no", kept_as=Outcome.REFUSED))
    await hear(word(job, fixture, told(Phase.SUCCEEDED), body=b"{}"))
    await hear(word(job, fixture, told(Phase.FAILED), POLL))
    return job


async def test_a_timeline_tells_everything_once_in_order(fixture: StoreFixture) -> None:
    job = await lively(fixture, 1.0)
    entries = await read_all(fixture, job, 200)
    told_ = [
        (entry.kind, entry.details.get("outcome") or entry.details.get("type") or entry.details.get("to"))
        for entry in entries
    ]
    assert told_ == [
        ("submission", "applied"),
        ("update", "queued"),
        ("poll", "unchanged"),
        ("callback", "applied"),
        ("update", "running"),
        ("event", "job.running"),
        ("delivery", None),
        ("attempt", None),
        *[("callback", "refused")] * 3,
        ("callback", "applied"),
        ("update", "succeeded"),
        ("event", "job.succeeded"),
        ("delivery", None),
        ("attempt", None),
        ("poll", "contradiction"),
    ]
    polled = entries[2].details
    assert (polled["count"], polled["last_at"]) == (3, "2026-11-21T10:00:03.000Z")
    assert entries[3].details["bytes"] == 2
    assert all(one.place < other.place for one, other in itertools.pairwise(entries))


@pytest.mark.parametrize("size", range(1, 20))
async def test_pages_of_any_size_give_each_entry_once(fixture: StoreFixture, size: int) -> None:
    job = await lively(fixture, 1.0)
    whole = await read_all(fixture, job, 200)
    assert await read_all(fixture, job, size) == whole
    assert len(whole) == 17


@pytest.mark.parametrize("size", [1, 2, 3, 5])
async def test_pages_of_what_happened_at_one_time_give_each_entry_once(
    fixture: StoreFixture, size: int
) -> None:
    job = await lively(fixture, 0.0)
    assert await read_all(fixture, job, size) == await read_all(fixture, job, 200)


# Entries.


async def test_deliveries_and_attempts_are_shown_with_their_targets_and_their_errors(
    fixture: StoreFixture,
) -> None:
    await fixture.endpoint("ep_1", "job.succeeded")
    job = await fixture.submitted(callback_url="https://me.example/", callback_secret=b"sealed")
    [recorded] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
    [event] = recorded.events
    claims = [one.claim for one in recorded.deliveries if one.claim is not None]
    settled = replace(fixture.attempted(claims[0], "exhausted"), reason="gone")
    attempt = replace(settled.attempt, status=None, error="connect: refused")
    await fixture.store.do(SETTLE, replace(settled, attempt=attempt))
    found: dict[str, list[object]] = {"event": [], "delivery": [], "attempt": []}
    for entry in await read_all(fixture, job, 50):
        found.setdefault(entry.kind, []).append(entry.details)
    assert found["event"] == [{"event": event.id, "type": "job.succeeded"}]
    assert found["delivery"] == [
        {"delivery": claims[0].id, "event": event.id, "endpoint": "ep_1", "state": "exhausted"},
        {"delivery": claims[1].id, "event": event.id, "endpoint": None, "state": "pending"},
    ]
    assert found["attempt"] == [
        {
            "attempt": attempt.id,
            "delivery": claims[0].id,
            "status": None,
            "latency_ms": 1.5,
            "error": "connect: refused",
        }
    ]


async def test_a_report_without_a_body_shows_no_size(fixture: StoreFixture) -> None:
    job = await fixture.added()
    await fixture.hear(word(job, fixture, body=b"12345"), word(job, fixture, source=POLL))
    entries = await read_all(fixture, job, 50)
    assert [(entry.kind, entry.details.get("bytes")) for entry in entries] == [
        ("callback", 5),
        ("poll", None),
    ]
    assert [entry.at for entry in entries] == [fixture.clock.at] * 2
    assert entries[1].details == {"outcome": "unparsed"}, "it is not counted"


async def test_a_page_has_one_entry_more_where_others_follow(fixture: StoreFixture) -> None:
    job = await lively(fixture, 1.0)
    sizes = [len(await fixture.store.read(timeline(job.id, None, limit))) for limit in (1, 16, 17, 18)]
    assert sizes == [2, 17, 17, 17]
    assert await fixture.store.read(timeline("job_unknown", None, 10)) == []


def test_entries_of_one_time_are_ordered_by_rank_and_then_by_id() -> None:
    ordered = [
        TimelinePlace(1, 4, "z"),
        TimelinePlace(2, 0, "b"),
        TimelinePlace(2, 0, "b~"),
        TimelinePlace(2, 0, "c"),
        TimelinePlace(2, 3, "a"),
    ]
    assert sorted([ordered[place] for place in (3, 1, 4, 0, 2)]) == ordered
