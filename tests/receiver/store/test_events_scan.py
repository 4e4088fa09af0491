"""The scan of the feed: the number of events that one read examines, and the position after it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from handlers.contract import Phase
from receiver.store import events
from receiver.store.events import Page
from tests.receiver.store_fixture import StoreFixture, store_fixture, told, word
from tests.receiver.store_steps import failed


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """Yield a service at rest that keeps a day of history."""
    async with store_fixture(tmp_path, retention_days="1") as made:
        yield made


async def feed(fixture: StoreFixture, after: int | str | None, *wanted: str, job: str | None = None) -> Page:
    """Return a page of the feed."""
    return await fixture.store.read(events.feed(after, wanted, [], job, 50))


@pytest.mark.parametrize("narrowed", ["type", "job"])
async def test_a_reader_of_what_is_seldom_keeps_its_place(fixture: StoreFixture, narrowed: str) -> None:
    first = await failed(fixture)
    how = {"job": first} if narrowed == "job" else {}
    wanted = ["job.succeeded"] if narrowed == "type" else []
    page = await feed(fixture, None, *wanted, **how)
    for _ in range(4):
        await failed(fixture)
        fixture.clock.pass_(hours=13)
        page = await feed(fixture, page.after, *wanted, **how)
        assert (page.lost, list(page.events), page.more) == (False, [], False)
        await fixture.services.retention.sweep()
    assert page.after == (await feed(fixture, None)).after


async def test_a_look_at_the_feed_is_bounded_and_passes_nothing_by(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "SCAN", 3)
    wanted = []
    for number in range(11):
        job = await fixture.submitted()
        phase = Phase.SUCCEEDED if number in {4, 10} else Phase.FAILED
        [recorded] = await fixture.hear(word(job, fixture, told(phase)))
        wanted += [event.id for event in recorded.events if event.type == "job.succeeded"]
    found, places, page = [], [], Page(events=(), after=0, more=True)
    while page.more:
        page = await feed(fixture, page.after or None, "job.succeeded")
        found += [event.id for event in page.events]
        places.append(page.after)
    assert found == wanted
    assert places == [3, 6, 9, 11]


async def test_a_read_for_one_job_finds_all_its_events_at_once(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "SCAN", 1)
    open_job = await fixture.submitted()
    await fixture.hear(word(open_job, fixture, told(Phase.RUNNING)))
    for _ in range(3):
        await failed(fixture)
    await fixture.hear(word(open_job, fixture, told(Phase.SUCCEEDED)))
    page = await feed(fixture, None, job=open_job.id)
    assert [event.type for event in page.events] == ["job.running", "job.succeeded"]
    assert (page.more, page.after) == (False, (await fixture.column("select max(seq) from event"))[0])
