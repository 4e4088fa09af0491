"""Group commit: many callers in one transaction, each answered after its COMMIT and failed only by itself."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest

from handlers.contract import Phase
from receiver.domain.errors import StoreUnavailable, TooLarge
from receiver.domain.model import Event, Work
from receiver.store import Store, group_commit
from receiver.store.group_commit import DRAIN, ROOM, BatchedWrite
from receiver.store.sqlite.driver import SqliteDriver
from receiver.store.statements import Transaction, insert, query
from tests.engines import ENGINES
from tests.receiver.store_fixture import StoreFixture, asking, store_fixture, told, word, write_locked

PATIENCE = 100.0


@dataclass
class Notes:
    """A batched write that stores notes, and lists its batches and the results that were rolled back."""

    batches: list[list[str]] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    reached: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def verb(self, cost: int = 1) -> BatchedWrite[str, str]:
        """Return the batched write, with this cost for each item."""
        return BatchedWrite(
            name="note", run=self._run, cost=lambda _item: cost, rollback=self.abandoned.append
        )

    def _run(self, items: Sequence[str]) -> Transaction[list[str]]:
        self.batches.append(list(items))
        yield insert("meta", [(item, "") for item in items])
        if "wait" in items:
            self.reached.set()
            self.go_on.wait(PATIENCE)
        if "bad" in items:
            raise ValueError("bad")
        return [f"{item}!" for item in items]


def failing(_items: Sequence[int]) -> Transaction[list[int]]:
    """Fail inside a transaction that other items share."""
    yield query("select 1")
    raise ValueError("bad neighbour")


BAD_NEIGHBOUR: BatchedWrite[int, int] = BatchedWrite(name="bad neighbour", run=failing)


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """Yield a service at rest with one endpoint."""
    async with store_fixture(tmp_path) as made:
        await made.endpoint("ep_1", "job.*", "provider.*")
        yield made


def durable(path: Path) -> set[str]:
    """Return the notes that another program finds in the file."""
    with contextlib.closing(sqlite3.connect(path)) as other:
        return {
            key for (key,) in other.execute("select key from meta where key not in ('generation', 'feed')")
        }


async def spoiled(store: Store) -> None:
    """Let the next transaction fail."""
    with pytest.raises(ValueError, match="bad neighbour"):
        await store.do(BAD_NEIGHBOUR, 1)


async def tell(store: Store, verb: BatchedWrite[str, str], *items: str) -> list[str | BaseException]:
    """Write these items at once. Returns the result or the exception of each."""
    return await asyncio.gather(*(store.do(verb, item) for item in items), return_exceptions=True)


async def test_what_gathers_is_one_transaction(store: Store, path: Path) -> None:
    notes = Notes()
    items = [f"n{number}" for number in range(50)]
    assert await tell(store, notes.verb(), *items) == [f"{item}!" for item in items]
    assert notes.batches == [items]
    assert durable(path) == set(items)


async def test_nobody_is_answered_before_the_commit(store: Store, path: Path) -> None:
    notes = Notes()
    verb = notes.verb()
    waiting = asyncio.ensure_future(tell(store, verb, "wait", "neighbour"))
    assert await asyncio.to_thread(notes.reached.wait, PATIENCE)
    later = asyncio.ensure_future(store.do(verb, "later"))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert durable(path) == set()
    notes.go_on.set()
    assert await waiting == ["wait!", "neighbour!"]
    assert durable(path) >= {"wait", "neighbour"}
    assert await later == "later!"
    assert notes.batches == [["wait", "neighbour"], ["later"]]


async def test_a_bad_item_does_not_fail_its_neighbours(store: Store, path: Path) -> None:
    notes = Notes()
    one, bad, other, twin = await tell(store, notes.verb(), "one", "bad", "other", "one")
    assert (one, other) == ("one!", "other!")
    assert isinstance(bad, ValueError)
    assert isinstance(twin, sqlite3.IntegrityError)
    assert durable(path) == {"one", "other"}
    assert notes.batches == [["one", "bad", "other", "one"], ["one"], ["bad"], ["other"], ["one"]]


async def test_verbs_of_many_kinds_share_a_transaction(store: Store, path: Path) -> None:
    notes, others = Notes(), Notes()
    first, second = notes.verb(), others.verb()
    answers = await asyncio.gather(
        store.do(first, "a"),
        store.do(second, "b"),
        store.write(lambda: asking("select count(*) as found from meta where value = ''")),
        store.do(first, "c"),
    )
    assert [*answers[:2], answers[3]] == ["a!", "b!", "c!"]
    assert answers[2][0]["found"] == 3
    assert (notes.batches, others.batches) == ([["a", "c"]], [["b"]])


async def test_a_transaction_is_bounded_by_its_cost(store: Store, path: Path) -> None:
    notes = Notes()
    items = [f"n{number}" for number in range(7)]
    await tell(store, notes.verb(cost=DRAIN // 3), *items)
    assert notes.batches == [items[:3], items[3:6], items[6:]]
    await tell(store, notes.verb(cost=DRAIN * 5), "huge", "too")
    assert notes.batches[3:] == [["huge"], ["too"]]


async def test_when_the_queue_is_full_a_write_is_refused_at_once(store: Store, path: Path) -> None:
    notes = Notes()
    verb = notes.verb(cost=ROOM // 4)
    waiting = asyncio.ensure_future(store.do(verb, "wait"))
    assert await asyncio.to_thread(notes.reached.wait, PATIENCE)
    queued = [asyncio.ensure_future(store.do(verb, f"q{number}")) for number in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="too much is waiting") as refused:
        await store.do(verb, "one too many")
    assert refused.value.headers == (("retry-after", "2"),)
    notes.go_on.set()
    assert await asyncio.gather(waiting, *queued) == ["wait!", "q0!", "q1!", "q2!", "q3!"]
    assert await store.do(verb, "again") == "again!"
    assert "one too many" not in durable(path)


async def test_when_the_database_is_away_all_are_told_at_once(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notes()
    await store.write(lambda: asking("pragma busy_timeout = 10"))
    with write_locked(path):
        told_ = await tell(store, notes.verb(), *(f"n{number}" for number in range(50)))
    assert {type(one) for one in told_} == {StoreUnavailable}
    assert notes.batches == []
    assert await tell(store, notes.verb(), "back") == ["back!"]


async def test_a_promise_is_taken_back_when_the_commit_fails(store: Store, path: Path) -> None:
    notes = Notes()
    answer, _ = await asyncio.gather(store.do(notes.verb(), "good"), spoiled(store))
    assert answer == "good!"
    assert notes.abandoned == ["good!"]
    assert durable(path) == {"good"}


async def test_a_caller_that_gives_up_does_not_hold_up_the_others(store: Store, path: Path) -> None:
    notes = Notes()
    verb = notes.verb()
    waiting = asyncio.ensure_future(store.do(verb, "wait"))
    assert await asyncio.to_thread(notes.reached.wait, PATIENCE)
    gone, stays = (asyncio.ensure_future(store.do(verb, item)) for item in ("gone", "stays"))
    await asyncio.sleep(0)
    gone.cancel()
    notes.go_on.set()
    assert await waiting == "wait!"
    assert await stays == "stays!"
    assert durable(path) == {"wait", "gone", "stays"}


async def test_closing_stores_what_is_queued(path: Path) -> None:
    store, notes = Store(SqliteDriver(path, on_fatal=print)), Notes()
    await store.open(migrate=True)
    items = [f"n{number}" for number in range(7)]
    verb = notes.verb(cost=DRAIN)
    queued = [asyncio.ensure_future(store.do(verb, item)) for item in items]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*queued) == [f"{item}!" for item in items]
    assert durable(path) == set(items)
    with pytest.raises(StoreUnavailable):
        await store.do(notes.verb(), "late")


# Items that wait for others.


async def test_patient_items_of_an_idle_writer_share_a_transaction_soon(store: Store, path: Path) -> None:
    notes = Notes()
    verb = notes.verb()
    answers = await asyncio.gather(*(store.do(verb, item, patient=True) for item in ("a", "b", "c")))
    assert answers == ["a!", "b!", "c!"]
    assert notes.batches == [["a", "b", "c"]]
    assert await store.do(verb, "d", patient=True) == "d!"
    assert notes.batches == [["a", "b", "c"], ["d"]]


async def test_a_patient_item_delays_no_other_and_is_stored_at_the_end(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "PATIENCE", PATIENCE)
    notes = Notes()
    verb = notes.verb()
    patient = [asyncio.ensure_future(store.do(verb, item, patient=True)) for item in ("a", "b")]
    await asyncio.sleep(0)
    assert await store.do(verb, "now") == "now!"
    assert notes.batches == [["now"]]
    await store.close()
    assert await asyncio.gather(*patient) == ["a!", "b!"]
    assert notes.batches == [["now"], ["a", "b"]]
    assert durable(path) == {"now", "a", "b"}


async def test_a_patient_item_waits_for_nothing_more_where_the_writer_is_busy(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "PATIENCE", PATIENCE)
    notes = Notes()
    verb = notes.verb()
    busy = asyncio.ensure_future(store.do(verb, "wait"))
    assert await asyncio.to_thread(notes.reached.wait, PATIENCE)
    patient = asyncio.ensure_future(store.do(verb, "a", patient=True))
    await asyncio.sleep(0)
    notes.go_on.set()
    async with asyncio.timeout(PATIENCE / 2):
        assert [await busy, await patient] == ["wait!", "a!"]
    assert notes.batches == [["wait"], ["a"]]


async def test_patient_items_count_for_the_bound_of_the_queue(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "PATIENCE", PATIENCE)
    notes = Notes()
    verb = notes.verb(cost=ROOM // 4)
    queued = [asyncio.ensure_future(store.do(verb, f"q{number}", patient=True)) for number in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="too much is waiting"):
        await store.do(verb, "one too many", patient=True)
    await store.close()
    assert await asyncio.gather(*queued) == ["q0!", "q1!", "q2!", "q3!"]


# Slots that a delivery is born with.


def in_flight(fixture: StoreFixture) -> int:
    """Return the number of slots of the endpoint that are in use."""
    return fixture.lanes.lane(Work.DELIVER, "ep_1").slots.in_flight


async def test_the_slots_of_a_failed_transaction_are_given_back(fixture: StoreFixture) -> None:
    job = await fixture.submitted()
    hearing = asyncio.ensure_future(
        fixture.services.core.recorder.record(word(job, fixture, told(Phase.SUCCEEDED)))
    )
    recorded, _ = await asyncio.gather(hearing, spoiled(fixture.store))
    assert recorded.deliveries[0].claim is not None
    assert in_flight(fixture) == 1


TABLES = (
    "create table parent (id bigint primary key)",
    "create table child (id bigint references parent deferrable initially deferred)",
)
FUNCTION = "create or replace function no() returns trigger language plpgsql as 'begin {}; return new; end'"
TRIGGER = "create trigger no before insert on {} for each row execute function no()"
NO_DELIVERY = "create trigger no before insert on due when new.work = 'deliver' begin {}; end"
NO_EVENT = "create trigger no before insert on event begin insert into child values (7); end"
RAISE = "if new.work = ''deliver'' then raise unique_violation; end if"
REFUSING = {
    ("in a statement", True): (NO_DELIVERY.format("select raise(abort, 'no')"),),
    ("in a statement", False): (FUNCTION.format(RAISE), TRIGGER.format("due")),
    ("in the commit", True): (*(f"{one} strict".replace("bigint", "integer") for one in TABLES), NO_EVENT),
    ("in the commit", False): (
        *TABLES,
        FUNCTION.format("insert into child values (7)"),
        TRIGGER.format("event"),
    ),
}
"""Statements that let a later statement or commit be refused, by place and by whether it is SQLite."""
REFUSALS = (sqlite3.IntegrityError, asyncpg.IntegrityConstraintViolationError)


@pytest.mark.parametrize("where", ["in a statement", "in the commit"])
async def test_the_slots_of_words_that_cannot_be_stored_are_given_back(
    fixture: StoreFixture, where: str
) -> None:
    statements = REFUSING[where, ENGINES.sqlite]
    jobs = [await fixture.submitted() for _ in range(3)]
    for statement in statements:
        await fixture.write(statement)
    words = [word(job, fixture, told(Phase.SUCCEEDED)) for job in jobs]
    outcomes = await asyncio.gather(*(fixture.hear(one) for one in words), return_exceptions=True)
    assert all(isinstance(one, REFUSALS) for one in outcomes), outcomes
    assert in_flight(fixture) == 0
    assert await fixture.column("select id from event") == []
    table = "due" if where == "in a statement" else "event"
    await fixture.write("drop trigger no" if ENGINES.sqlite else f"drop trigger no on {table}")
    assert [len(one.events) for one in await fixture.hear(*words)] == [1, 1, 1]
    assert in_flight(fixture) == 3


async def test_the_slots_of_an_event_of_the_service_are_given_back(fixture: StoreFixture) -> None:
    recording, now = fixture.services.core.recorder, fixture.clock.at
    event = recording.event("provider.blocked", "apiframe", "blocked|1", {"object": "provider"}, now)

    def blocking() -> Transaction[list[Event]]:
        yield query("select 1")
        return [event]

    written, _ = await asyncio.gather(recording.write(blocking), spoiled(fixture.store))
    assert written == [event]
    assert in_flight(fixture) == 1


@pytest.mark.parametrize("steps", range(8))
async def test_whoever_comes_as_a_transaction_ends_is_served(fixture: StoreFixture, steps: int) -> None:
    # Between an answer and the next look at the queue there is no step of the loop in which one is lost.
    notes = Notes()

    async def later(name: str) -> str:
        for _ in range(steps):
            await asyncio.sleep(0)
        return await fixture.store.do(notes.verb(), name)

    async with asyncio.timeout(PATIENCE):
        for turn in range(20):
            await asyncio.gather(*(fixture.store.do(notes.verb(), f"{turn}.{one}") for one in range(3)))
            await later(f"{turn}.late")
    assert sum(map(len, notes.batches)) == 80


async def test_what_would_never_fit_is_too_large_and_not_unavailable(store: Store, path: Path) -> None:
    with pytest.raises(TooLarge):
        await store.do(Notes().verb(cost=ROOM + 1), "never")
    assert await store.do(Notes().verb(cost=ROOM), "just so") == "just so!"
    assert durable(path) == {"just so"}
