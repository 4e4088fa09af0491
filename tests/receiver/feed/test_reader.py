"""Readers of the feed: every event once, from the store and from the ring, whatever happens in between."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from handlers.contract import Phase
from receiver.domain.errors import TooManyWaiting
from receiver.domain.event_types import JOB_FINAL
from receiver.domain.model import Job
from receiver.feed import frames, ring, tailer
from receiver.feed import reader as module
from receiver.feed.frames import HEARTBEAT, gap, position
from receiver.feed.reader import FeedReader, Place
from receiver.feed.selection import Selection
from receiver.store import events
from receiver.store import events as table
from tests.receiver.front_door import PATIENCE, until
from tests.receiver.store_fixture import StoreFixture, told, word


class Client:
    """A client of a stream, with the chunks that it has received."""

    def __init__(self, reader: FeedReader) -> None:
        self.reader = reader
        self.chunks: list[bytes] = []
        self.hold: asyncio.Event | None = None
        self.over = False

    async def read(self) -> None:
        """Read until the stream ends. While `hold` is set, the client does not read."""
        async for chunk in self.reader.chunks():
            self.chunks.append(chunk)
            if self.hold is not None:
                await self.hold.wait()
        self.over = True

    @property
    def events(self) -> list[tuple[str, str]]:
        """Return the type and id of each event, or `gap` and the position after it."""
        found = []
        for block in b"".join(self.chunks).decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "data" in fields:
                data = json.loads(fields["data"])
                found.append((fields.get("event") or data["type"], fields["id"]))
        return found

    @property
    def heartbeats(self) -> list[bytes]:
        """Return the heartbeats, with the positions that they bring."""
        return [chunk for chunk in self.chunks if chunk.startswith(HEARTBEAT)]

    @property
    def types(self) -> list[str]:
        """Return the type of each event."""
        return [name for name, _ in self.events]


@contextlib.asynccontextmanager
async def reading(
    fixture: StoreFixture, place: Place = None, selection: Selection | None = None, **others: Any
) -> AsyncIterator[Client]:
    """Read a stream as long as the context lasts. Yields its client."""
    services = fixture.services.api
    client = Client(
        FeedReader(services.feed, services.store, selection or Selection(), place, owner="key_1", **others)
    )
    task = asyncio.create_task(client.read())
    try:
        yield client
    finally:
        client.reader.leave()
        if client.hold is not None:
            client.hold.set()
        async with asyncio.timeout(PATIENCE):
            await task


async def running(fixture: StoreFixture) -> Job:
    """Return a job that runs: its first event."""
    job = await fixture.added()
    await fixture.hear(word(job, fixture, told(Phase.RUNNING, "p-" + job.id)))
    return job


async def succeeded(fixture: StoreFixture, job: Job) -> None:
    """Let a job succeed: its second event."""
    await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED, "p-" + job.id)))


async def caught_up(fixture: StoreFixture) -> None:
    """Wait until the task follows the feed at its end."""
    last = (await fixture.store.read(events.end())).seq
    feed = fixture.services.api.feed
    await until(lambda: feed.ring is not None and feed.ring.last == last)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function that makes heartbeats come at once."""
    return lambda: monkeypatch.setattr(module, "QUIET", 0.001)


async def test_a_reader_gets_old_events_from_the_store_and_new_ones_from_the_ring(
    fixture: StoreFixture,
) -> None:
    job = await running(fixture)
    async with reading(fixture) as client:
        await until(lambda: client.types == ["job.running"])
        await caught_up(fixture)
        await succeeded(fixture, job)
        await until(lambda: client.types == ["job.running", "job.succeeded"])
        other = await running(fixture)
        await until(lambda: len(client.events) == 3)
    assert client.over
    page = await fixture.store.read(events.feed(None, (), (), None, 10))
    assert client.events == [(event.type, event.id) for event in page.events]
    assert page.events[2].job_id == other.id


async def test_a_reader_at_a_place_gets_only_what_comes_after(fixture: StoreFixture) -> None:
    job = await running(fixture)
    [first] = (await fixture.store.read(events.feed(None, (), (), None, 10))).events
    end = await fixture.store.read(events.end())
    assert end.id == first.id
    async with reading(fixture, first.id) as by_id, reading(fixture, end.seq, first=end.id) as by_number:
        await succeeded(fixture, job)
        await until(lambda: len(by_id.events) == len(by_number.events) == 1)
    assert by_id.types == by_number.types == ["job.succeeded"]
    assert by_id.chunks[0] == b"retry: 2000\n\n"
    assert by_number.chunks[0] == f"retry: 2000\nid: {first.id}\n\n".encode()


async def test_a_reader_is_woken_only_for_events_that_it_selects(fixture: StoreFixture) -> None:
    job, other = await running(fixture), await running(fixture)
    end = (await fixture.store.read(events.end())).seq
    async with (
        reading(fixture, end, Selection(type="job.failed")) as failed,
        reading(fixture, end, Selection(job_id=job.id)) as of_job,
        reading(fixture, end, Selection(type="job.*")) as every,
    ):
        await until(lambda: all(one.chunks for one in (failed, of_job, every)))
        await caught_up(fixture)
        woken = failed.reader._waiter  # no event of it may reach this reader
        await succeeded(fixture, other)
        await until(lambda: len(every.events) == 1)
        assert woken is not None
        assert woken.start is None
        await succeeded(fixture, job)
        await until(lambda: len(every.events) == 2 and len(of_job.events) == 1)
    assert (failed.events, of_job.types) == ([], ["job.succeeded"])
    assert of_job.events == every.events[1:]


async def test_a_quiet_stream_has_heartbeats_and_loses_nothing(
    fixture: StoreFixture, quick: Callable[[], None]
) -> None:
    job = await running(fixture)
    quick()
    async with reading(fixture, selection=Selection(type="job.succeeded")) as client:
        await until(lambda: len(client.heartbeats) > 3)
        for _ in range(5):
            await running(fixture)
        # The client's position moves on although no event of its type came.
        last = (await fixture.store.read(events.end())).seq
        told = position(fixture.services.core.places.text(last))
        await until(lambda: client.heartbeats[-1] == HEARTBEAT + told)
        await succeeded(fixture, job)
        await until(lambda: client.types == ["job.succeeded"])


async def test_a_reader_that_falls_behind_the_ring_reads_the_store_again(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "COUNT", 2)
    monkeypatch.setattr(module, "PAGE", 3)
    async with reading(fixture) as client:
        await until(lambda: client.chunks)
        await caught_up(fixture)
        client.hold = asyncio.Event()
        jobs = [await running(fixture)]
        await until(lambda: len(client.events) == 1)
        jobs += [await running(fixture) for _ in range(9)]
        await caught_up(fixture)
        assert len(client.events) == 1
        client.hold.set()
        await until(lambda: len(client.events) == 10)
    page = await fixture.store.read(events.feed(None, (), (), None, 20))
    assert client.events == [(event.type, event.id) for event in page.events]


async def test_a_slow_reader_holds_one_chunk_of_the_ring(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 1)
    async with reading(fixture) as client:
        await until(lambda: client.chunks)
        await caught_up(fixture)
        client.hold = asyncio.Event()
        for _ in range(4):
            await running(fixture)
        await caught_up(fixture)
        assert len(client.events) <= 1
        client.hold.set()
        await until(lambda: len(client.events) == 4)
    assert max(len(chunk) for chunk in client.chunks) < 1500


async def test_a_place_that_retention_removed_is_one_gap_and_the_rest_follows(fixture: StoreFixture) -> None:
    first, job = await running(fixture), await running(fixture)
    [old, new] = (await fixture.store.read(events.feed(None, (), (), None, 10))).events
    await fixture.store.write(lambda: events.note_removed([first.id]))
    await fixture.write("delete from event where id = :id", id=old.id)
    async with reading(fixture, old.id) as client:
        await succeeded(fixture, job)
        await until(lambda: len(client.events) == 3)
    assert client.types == ["gap", "job.running", "job.succeeded"]
    assert gap(fixture.services.core.places.text(1), new.id) in b"".join(client.chunks)
    # The place of the gap is one to go on from: there is no second gap.
    async with reading(fixture, 1) as client:
        await until(lambda: len(client.events) == 2)
    assert client.types == ["job.running", "job.succeeded"]


async def test_a_place_before_retention_is_no_gap_in_the_stream_of_a_job(fixture: StoreFixture) -> None:
    first, job = await running(fixture), await running(fixture)
    await fixture.store.write(lambda: events.note_removed([job.id]))
    async with reading(fixture, 1, Selection(job_id=job.id), once=True) as client:
        await until(lambda: client.over)
    assert client.types == ["job.running"]
    # Neither does an unknown place tell about other jobs.
    async with reading(fixture, 10**9, Selection(job_id=first.id), once=True) as client:
        await until(lambda: client.over)
    assert client.events == []


async def test_large_events_are_read_and_sent_a_few_at_a_time(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "ROOM", 3000)
    for _ in range(12):
        await running(fixture)
    page = await fixture.store.read(events.feed(None, (), (), None, 100))
    assert (1 < len(page.events) < 6, page.more) == (True, True)
    async with reading(fixture) as client:
        await until(lambda: len(client.events) == 12)
        await caught_up(fixture)
    every = [event.id for event in page.events]
    while page.more:
        page = await fixture.store.read(events.feed(page.after, (), (), None, 100))
        every += [event.id for event in page.events]
    assert [name for _, name in client.events] == every
    assert len(set(every)) == 12


async def test_a_long_search_in_the_store_has_heartbeats(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "SCAN", 1)
    monkeypatch.setattr(module, "QUIET", 0.0)
    for _ in range(5):
        await running(fixture)
    async with reading(fixture, selection=Selection(type="job.failed"), once=True) as client:
        await until(lambda: client.over)
    places = fixture.services.core.places
    assert client.heartbeats[:4] == [HEARTBEAT + position(places.text(place)) for place in (1, 2, 3, 4)]


async def test_a_client_that_does_not_read_is_cut_when_the_process_stops(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tailer, "LAST_WRITE", 0.0)
    async with reading(fixture) as client:
        await until(lambda: client.chunks)
        await caught_up(fixture)
        client.hold = asyncio.Event()
        client.reader._waiter.cut = client.hold.set  # type: ignore[union-attr]  # it is reading
        await running(fixture)
        await until(lambda: client.events)
        fixture.services.core.waiting_calls.close()
        await until(lambda: client.over)


async def test_a_stream_ends_behind_the_event_that_it_waits_for(fixture: StoreFixture) -> None:
    job = await running(fixture)
    async with reading(fixture, selection=Selection(job_id=job.id), until=JOB_FINAL) as live:
        await until(lambda: live.types == ["job.running"])
        await caught_up(fixture)
        await succeeded(fixture, job)
        await until(lambda: live.over)
    async with reading(fixture, selection=Selection(job_id=job.id), until=JOB_FINAL) as late:
        await until(lambda: late.over)
    assert live.types == late.types == ["job.running", "job.succeeded"]


async def test_a_stream_that_is_read_once_ends_where_the_feed_does(fixture: StoreFixture) -> None:
    for _ in range(3):
        await running(fixture)
    async with reading(fixture, once=True) as client:
        await until(lambda: client.over)
    assert client.types == ["job.running"] * 3


async def test_readers_come_and_go_and_the_task_goes_with_the_last(fixture: StoreFixture) -> None:
    feed = fixture.services.api.feed
    for _ in range(3):
        async with reading(fixture) as one, reading(fixture) as other:
            await until(lambda one=one, other=other: one.chunks and other.chunks)  # type: ignore[misc]  # a loop's own
            await caught_up(fixture)
        await until(lambda: feed.ring is None)
    # The last reader leaves and another comes before the task has ended.
    async with reading(fixture) as client:
        await until(lambda: client.chunks)
    async with reading(fixture) as client:
        await running(fixture)
        await until(lambda: client.types == ["job.running"])


async def test_every_stream_ends_when_the_process_stops(fixture: StoreFixture) -> None:
    async with reading(fixture) as client:
        await until(lambda: client.chunks)
        await caught_up(fixture)
        fixture.services.core.waiting_calls.close()
        await until(lambda: client.over)
    async with reading(fixture) as late:
        await until(lambda: late.over)


async def test_a_fault_of_the_task_is_logged_and_it_starts_again(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tailer, "AGAIN", 0.001)
    faults = [ZeroDivisionError("a fault")]

    def frame(event: Any) -> bytes:
        if faults:
            raise faults.pop()
        return frames.frame(event)

    monkeypatch.setattr("receiver.feed.tailer.frame", frame)
    async with reading(fixture) as client:
        await until(lambda: client.chunks)
        await caught_up(fixture)
        await running(fixture)
        await until(lambda: client.types == ["job.running"])
        await caught_up(fixture)
    assert [record.message for record in caplog.records] == ["the feed could not be followed; starting again"]


async def test_streams_of_a_key_are_counted(fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailer, "AT_MOST", 2)
    feed = fixture.services.api.feed
    async with reading(fixture) as one, reading(fixture) as other:
        await until(lambda: one.chunks and other.chunks)
        with pytest.raises(TooManyWaiting):
            feed.check_room("key_1")
        feed.check_room("key_2")
    feed.check_room("key_1")
