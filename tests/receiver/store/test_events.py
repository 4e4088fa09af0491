"""The feed, the timeline and retention in a real store: every entry once, in order, until all of it goes."""

import itertools
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from handlers.contract import Phase
from receiver.domain.model import EndpointState, Event, Job, Outcome, Source, Work
from receiver.domain.reports import Action, Report
from receiver.store import endpoints as table
from receiver.store import erasure, events, jobs
from receiver.store.events import Page
from receiver.store.schema import TABLES
from receiver.store.statements import Transaction, query
from receiver.store.timeline import TimelineEntry, TimelinePlace, timeline
from tests.receiver.store_fixture import StoreFixture, store_fixture, told, word

SUBMIT, POLL, NOTE = Source.SUBMISSION, Source.POLL, Source.NOTE
HOLDS_JOB = {"job": "id", "due": "id", "delivery": "job", "event": "job", "evidence": "job"} | {
    "input_piece": "job",
    "job_label": "job",
    "idempotency": "job",
}


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """A service at rest."""
    async with store_fixture(tmp_path) as made:
        yield made


async def feed(
    fixture: StoreFixture,
    after: int | str | None = None,
    types: Sequence[str] = (),
    prefixes: Sequence[str] = (),
    job: str | None = None,
    limit: int = 100,
) -> Page:
    """A piece of the feed."""
    return await fixture.store.read(events.feed(after, types, prefixes, job, limit))


async def ended(fixture: StoreFixture, **others: str) -> Job:
    """A job that ran and succeeded, telling two events."""
    job = await fixture.submitted(metadata=others)
    await fixture.hear(word(job, fixture, told(Phase.RUNNING)), word(job, fixture, told(Phase.SUCCEEDED)))
    return job


async def blocked(fixture: StoreFixture, number: int) -> Event:
    """An event that is about no job."""
    recording = fixture.services.core.recorder
    made = recording.event("provider.blocked", "aiml", str(number), {"object": "provider"}, fixture.clock.at)

    def blocking() -> Transaction[list[Event]]:
        yield query("select 1")
        return [made]

    await recording.write(blocking)
    return made


async def remove(fixture: StoreFixture, *ids: str) -> None:
    """What retention does with jobs."""

    def removing() -> Transaction[None]:
        yield from erasure.erase(ids, None)

    await fixture.store.write(removing)


# The feed.


async def test_the_feed_is_read_to_its_end_in_the_order_of_commits(fixture: StoreFixture) -> None:
    made = [await ended(fixture) for _ in range(3)]
    whole = await feed(fixture)
    assert [event.job_id for event in whole.events] == [job.id for job in made for _ in range(2)]
    assert [event.type for event in whole.events] == ["job.running", "job.succeeded"] * 3
    read: list[Event] = []
    place: int | str | None = None
    while (page := await feed(fixture, place, limit=4)).events:
        read += page.events
        place = page.after
        assert page.more == (len(read) < 6)
    assert read == list(whole.events)
    assert (await feed(fixture, place)).after == place
    await ended(fixture)
    assert len((await feed(fixture, place)).events) == 2


async def test_the_feed_goes_on_behind_an_events_id(fixture: StoreFixture) -> None:
    await ended(fixture)
    first, second = (await feed(fixture)).events
    assert list((await feed(fixture, first.id)).events) == [second]
    assert list((await feed(fixture, second.id)).events) == []
    assert list((await feed(fixture, 0)).events) == [first, second]


async def test_the_feed_can_be_narrowed(fixture: StoreFixture) -> None:
    first, second = await ended(fixture), await ended(fixture)
    about_none = await blocked(fixture, 1)
    narrowed = [
        ({"types": ["job.running"]}, ["job.running"] * 2),
        ({"prefixes": ["provider."]}, ["provider.blocked"]),
        ({"types": ["job.running"], "prefixes": ["provider."]}, ["job.running"] * 2 + ["provider.blocked"]),
        ({"job": second.id}, ["job.running", "job.succeeded"]),
        ({"job": first.id, "types": ["job.failed"]}, []),
        ({"prefixes": ["x"]}, []),
    ]
    for how, expected in narrowed:
        found = await feed(fixture, **how)  # type: ignore[arg-type]  # one way or another
        assert [event.type for event in found.events] == expected, how
    page = await feed(fixture, types=["job.running"], limit=1)
    assert (page.more, len(page.events)) == (True, 1)
    last = (await feed(fixture)).events[-1]
    assert (last.id, last.job_id, last.body) == (about_none.id, None, about_none.body)


async def test_a_place_that_retention_removed_is_told_as_lost(fixture: StoreFixture) -> None:
    made = [await ended(fixture) for _ in range(3)]
    places = [(await feed(fixture, limit=count)).after for count in range(1, 7)]
    ids = [event.id for event in (await feed(fixture)).events]
    await remove(fixture, made[0].id, made[1].id)
    for lost in (0, places[0], places[2], ids[0], ids[3], "evt_unknown"):
        page = await feed(fixture, lost)
        assert (page.lost, page.oldest, page.events) == (True, ids[4], ())
    for kept in (None, places[3], places[4], ids[4]):
        page = await feed(fixture, kept)
        assert not page.lost
    assert len((await feed(fixture, places[3])).events) == 2
    await remove(fixture, made[2].id)
    page = await feed(fixture, places[3])
    assert (page.lost, page.oldest) == (True, None)
    assert not (await feed(fixture, places[5])).lost
    later = await ended(fixture)
    assert [event.job_id for event in (await feed(fixture, places[5])).events] == [later.id] * 2


async def test_a_place_is_lost_even_while_older_events_are_kept(fixture: StoreFixture) -> None:
    open_job = await fixture.submitted()
    await fixture.hear(word(open_job, fixture, told(Phase.RUNNING)))
    place = (await feed(fixture)).after
    await remove(fixture, (await ended(fixture)).id)
    assert (await feed(fixture, place)).lost


async def test_who_read_to_the_end_lost_nothing_when_the_last_job_is_erased(fixture: StoreFixture) -> None:
    await ended(fixture)
    newest = await ended(fixture)
    end = (await feed(fixture)).after
    await fixture.store.write(lambda: erasure.erase([newest.id], fixture.clock.at))
    page = await feed(fixture, end)
    assert (page.lost, page.after, list(page.events)) == (False, end, [])
    later = await ended(fixture)
    assert [event.job_id for event in (await feed(fixture, end)).events] == [later.id] * 2


async def test_a_place_is_lost_where_events_of_no_job_were_removed(fixture: StoreFixture) -> None:
    for number in range(3):
        await blocked(fixture, number)
    places = [(await feed(fixture, limit=count)).after for count in range(1, 4)]
    [first, second] = await fixture.store.read(events.old(fixture.clock.at + timedelta(seconds=1), 2))
    await fixture.store.write(lambda: events.remove([first[0], second[0]]))
    assert (await feed(fixture, places[0])).lost


async def test_an_event_tells_where_it_went(fixture: StoreFixture) -> None:
    for name, patterns in {"a": ("*",), "b": ("job.failed",), "c": ("job.*",), "d": ("job.*",)}.items():
        await fixture.endpoint(
            name, *patterns, state=EndpointState.PAUSED if name == "c" else EndpointState.ACTIVE
        )
    job = await fixture.submitted(callback_url="https://me.example/", callback_secret=b"sealed")
    [recorded] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
    await fixture.settle_born(recorded.born[0])
    await fixture.store.write(lambda: table.remove("d", fixture.clock.at))
    found = await fixture.store.read(events.get(recorded.events[0].id))
    assert found is not None
    event, places = found
    assert event == recorded.events[0]
    assert [(one.endpoint_id, one.status, one.delivery_id is None) for one in places] == [
        ("a", "delivered", False),
        ("b", "not-subscribed", True),
        ("c", "paused", False),
        ("d", "canceled", False),
        (None, "pending", False),
    ]
    assert await fixture.store.read(events.get("evt_unknown")) is None


# The timeline.


async def read_all(fixture: StoreFixture, job: Job, size: int) -> list[TimelineEntry]:
    """The whole timeline, so many entries at a time, as a reader of the API has it."""
    found: list[TimelineEntry] = []
    after: TimelinePlace | None = None
    while True:
        page = await fixture.store.read(timeline(job.id, after, size))
        found += page[:size]
        if len(page) <= size:
            return found
        after = page[size - 1].place


async def lively(fixture: StoreFixture, seconds: float) -> Job:
    """A job to which much happened, each thing so many seconds after the one before."""
    await fixture.endpoint("ep_1", "job.*")
    job = await fixture.added()
    [chosen] = await fixture.claim(Work.SUBMIT)

    async def hear(heard: Report) -> None:
        for recorded in await fixture.hear(heard):
            for one in recorded.born:
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
        (entry.kind, entry.told.get("outcome") or entry.told.get("type") or entry.told.get("to"))
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
    polled = entries[2].told
    assert (polled["count"], polled["last_at"]) == (3, "2026-11-21T10:00:03.000Z")
    assert entries[3].told["bytes"] == 2
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


# Retention.


async def test_an_erased_job_leaves_nothing_in_any_table(fixture: StoreFixture) -> None:
    await remove(fixture, (await ended(fixture)).id)
    await fixture.endpoint("ep_1", "job.*")
    kept = await ended(fixture, order="1")
    before = {table: await fixture.column(f"select count(*) from {table}") for table in TABLES}  # ours
    job = fixture.job(metadata={"order": "2"}, callback_url="https://me.example/", callback_secret=b"s")
    await fixture.promise(job, owner="a", key="k", digest=b"d")
    [chosen] = await fixture.claim(Work.SUBMIT)
    recorded = await fixture.hear(
        word(job, fixture, told(Phase.RUNNING, "p9"), SUBMIT, claim=chosen.claim),
        word(job, fixture, told(Phase.SUCCEEDED), body=b"canary"),
    )
    for one in recorded[0].born:
        await fixture.settle_born(one)
    await fixture.store.write(lambda: erasure.erase([job.id], None))
    after = {table: await fixture.column(f"select count(*) from {table}") for table in TABLES}  # ours
    assert after == before
    for name, column in HOLDS_JOB.items():
        found = await fixture.column(f"select count(*) from {name} where {column} = :id", id=job.id)  # ours
        assert found == [0], name
    assert (await fixture.now(kept)).id == kept.id
    again = await fixture.promise(owner="a", key="k", digest=b"d")
    assert again.created


async def test_every_table_that_names_a_job_is_erased_from() -> None:
    named = {table for table, columns in TABLES.items() if "job" in columns}
    assert named <= set(HOLDS_JOB)


async def test_retention_finds_what_ended_before(fixture: StoreFixture) -> None:
    first, open_job = await ended(fixture), await fixture.submitted()
    fixture.clock.pass_(days=1)
    second = await ended(fixture)
    later = fixture.clock.at + timedelta(seconds=1)
    assert await fixture.store.read(jobs.done_before(fixture.clock.at, 10)) == [first.id]
    assert await fixture.store.read(jobs.done_before(later, 10)) == [first.id, second.id]
    assert await fixture.store.read(jobs.done_before(later, 1)) == [first.id]
    fixture.clock.pass_(milliseconds=1)
    await fixture.hear(word(open_job, fixture, source=NOTE, verdict=Action.CANCEL))
    assert await fixture.store.read(jobs.done_before(later, 10)) == [first.id, second.id, open_job.id]


async def test_events_of_no_job_go_with_what_was_owed_for_them(tmp_path: Path) -> None:
    async with store_fixture(tmp_path, retention_days="1") as fixture:
        await fixture.endpoint("ep_1", "provider.*", "job.succeeded")
        await blocked(fixture, 1)
        fixture.clock.pass_(hours=1)
        await ended(fixture)
        fixture.clock.pass_(hours=23, milliseconds=1)
        await blocked(fixture, 2)
        await fixture.services.retention.sweep()
        await only_the_first_is_gone(fixture)


async def only_the_first_is_gone(fixture: StoreFixture) -> None:
    """The events left once the one that is older than a day was removed."""
    assert [event.type for event in (await feed(fixture)).events] == [
        "job.running",
        "job.succeeded",
        "provider.blocked",
    ]
    assert await fixture.column("select count(*) from delivery") == [2]
    assert await fixture.column("select count(*) from due where work = 'deliver'") == [2]


async def test_words_about_jobs_that_are_gone_go_in_time(fixture: StoreFixture) -> None:
    gone, kept = fixture.job(), await fixture.submitted()
    await fixture.hear(word(gone, fixture, body=b"late"))
    fixture.clock.pass_(days=1)
    await fixture.hear(word(gone, fixture, body=b"later"))
    walked, after = 0, ""
    while not walked or after:
        after = await fixture.store.write(partial(erasure.prune_orphans, fixture.clock.at, after, 1))
        walked += 1
    assert walked == 3, "one for each job, and one that found the end"
    assert await fixture.column("select body from evidence where job = :id", id=gone.id) == [b"later"]
    assert len(await fixture.evidence(kept)) == 1
