"""The PostgreSQL driver on a real server: starts, lost connections and COMMITs, conflicts, query plans."""

import asyncio
import contextlib
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from handlers.contract import Phase
from receiver.domain.errors import Misconfigured, StoreUnavailable
from receiver.domain.model import Job, Source, Work
from receiver.store import deliveries, erasure, events, jobs, rollups, timeline
from receiver.store.group_commit import TRIES, BatchedWrite
from receiver.store.postgres import driver as postgres
from receiver.store.postgres import sql as pgtext
from receiver.store.postgres import transaction as pgdrive
from receiver.store.postgres.driver import SETTINGS, PostgresDriver
from receiver.store.postgres.url import target
from receiver.store.standing import standing
from receiver.store.statements import QueryStatement, Transaction, Write, query
from tests.cluster import Cluster
from tests.engines import ENGINES
from tests.proof.wire import wired
from tests.receiver.store.postgres.test_errors import let_in, refusal
from tests.receiver.store_fixture import StoreFixture, asking, told, word

pytestmark = pytest.mark.usefixtures("on_postgres")
PLANNED = "; ".join(f"set {name} = {value}" for name, value in SETTINGS.items() if name.startswith("enable"))
SMALL = {"endpoint", "meta", "account", "api_key", "replica", "migration", "rollup_change", "hold"}
"""Tables that may be read whole: their few rows are made by hand, or go again within seconds."""


@pytest.fixture
def server(on_postgres: None) -> Cluster:
    """Return the server of this process."""
    return ENGINES.cluster


async def test_a_database_of_a_newer_program_or_only_to_read_is_refused() -> None:
    server, url = ENGINES.cluster, ENGINES.cluster.database()
    name = url.rsplit("/", 1)[1]
    server.sql(name, "insert into migration values (999, 'later')")
    assert "upgrade it" in await refusal(url)
    server.sql("ringback", f"alter database {name} set default_transaction_read_only = on")
    assert "only reads" in await refusal(url)


async def test_replicas_that_start_together_on_a_new_database_make_it_once() -> None:
    there = target(ENGINES.cluster.database("template0"))
    drivers = [PostgresDriver(there) for _ in range(3)]
    for driver in drivers:
        await driver.open()
        assert await driver.pending()
    ran = await asyncio.gather(*(driver.migrate() for driver in drivers))
    assert sorted(map(bool, ran)) == [False, False, True]
    for driver in drivers:
        await driver.close()


async def test_a_role_without_rights_is_told_so() -> None:
    server = ENGINES.cluster
    name = server.database("template0").rsplit("/", 1)[1]
    server.sql(name, "do $$ begin create role weak login; exception when duplicate_object then null; end $$")
    server.sql(name, "revoke create on schema public from public")
    driver = PostgresDriver(target(server.url(name).replace("postgres@", "weak@")))
    await driver.open()
    with pytest.raises(Misconfigured, match="may not make tables"):
        await driver.migrate()
    await driver.close()


async def once_back(ask: Callable[[], Awaitable[Job]]) -> Job:
    """Return the answer of `ask`, repeated until it gets a connection that has not ended meanwhile."""
    for _ in range(50):
        with contextlib.suppress(StoreUnavailable):
            return await ask()
    raise AssertionError("it does not come back")


async def test_a_server_that_goes_is_told_as_unavailable_and_comes_back(fixture: StoreFixture) -> None:
    job = await fixture.added()
    ENGINES.cluster.sql(
        "ringback", "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
    )
    assert await once_back(lambda: fixture.now(job)) == job
    assert (await once_back(fixture.added)).id


class Sure(random.Random):
    """A random generator with which every cut COMMIT reaches the server."""

    def random(self) -> float:
        """Return a number below every probability."""
        return 0.0


async def test_a_commit_without_an_answer_is_known_whatever_else_is_written_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = ENGINES.cluster.database()
    name = url.rsplit("/", 1)[1]
    asked = vars(PostgresDriver)["_stored"]

    async def later(self: PostgresDriver, receipt: int) -> bool:
        for number in range(30):
            await self.write(noted(f"other{number}"))
            await self.between_commits()
        stored: bool = await asked(self, receipt)
        return stored

    monkeypatch.setattr(postgres, "RECEIPTS", 2)
    monkeypatch.setattr(PostgresDriver, "_stored", later)
    async with wired(ENGINES.cluster.port, Sure()) as wire:
        driver = PostgresDriver(target(url.replace(str(ENGINES.cluster.port), str(wire.port))))
        await driver.open()
        wire.armed = 1
        await driver.write(noted("first"))
        assert wire.cuts == 1
        await driver.close()
    assert ENGINES.cluster.sql(name, "select count(*) from account") == "31"
    assert ENGINES.cluster.sql(name, "select count(*) from receipt") == "0"


def noted(name: str) -> Transaction[None]:
    """Insert a row that nothing reads."""
    yield query("insert into account values (:name, null, null, 0)", name=name)


async def test_a_value_that_cannot_be_held_fails_its_own_item_and_no_other(fixture: StoreFixture) -> None:
    job = await fixture.added()
    beyond = 1 << 70
    good = fixture.write("update job set misses = 7 where id = :id", id=job.id)
    bad = fixture.write("update job set misses = :beyond where id = :id", beyond=beyond, id=job.id)
    told = await asyncio.gather(good, bad, return_exceptions=True)
    assert isinstance(told[1], asyncpg.DataError)
    assert not isinstance(told[0], BaseException)
    assert (await fixture.now(job)).misses == 7


async def test_no_statement_reads_a_large_table_whole(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()
    render, together = pgtext.render, pgtext.together

    def rendered(query: QueryStatement) -> tuple[str, list[object]]:
        sql, values = render(query)
        seen.add(sql)
        return sql, values

    def gathered(writes: Sequence[Write]) -> tuple[str, list[object]]:
        sql, values = together(writes)
        seen.add(sql)
        return sql, values

    monkeypatch.setattr(pgdrive, "render", rendered)
    monkeypatch.setattr(pgdrive, "together", gathered)
    await lived(fixture)
    assert len(seen) > 30
    name = fixture.services.core.settings.database_url.rsplit("/", 1)[1].partition("?")[0]
    for sql in sorted(seen):
        plan = ENGINES.cluster.sql(name, f"{PLANNED}; explain (generic_plan) {sql}")
        assert not re.search(r"select ([a-z]+\.)?\*(?! from unnest)", sql), f"the shape of {sql} is not fixed"
        assert not re.search(r"Filter: \((\w*id) = ANY", plan), (
            f"goes through all rows of something\n{sql}\n{plan}"
        )
        read = set(re.findall(r"Seq Scan on (\w+)", plan))
        assert read <= SMALL, f"{sql}\n{plan}"


async def lived(fixture: StoreFixture) -> None:
    """Run the transactions of an ordinary day: jobs, reports, deliveries, lists and an erasure."""
    await fixture.endpoint()
    made = [await fixture.submitted() for _ in range(6)]
    await fixture.hear(word(made[0], fixture, told(Phase.RUNNING, progress=1.0)))
    polled = await fixture.submitted("aiml")
    claim = await fixture.poll_claim(polled)
    await fixture.hear(word(polled, fixture, told(Phase.RUNNING), Source.POLL, claim=claim))
    recorded = await fixture.hear(*(word(job, fixture, told(Phase.SUCCEEDED)) for job in made))
    born = [one for each in recorded for one in each.deliveries]
    await fixture.settle_born(born[0])
    later = fixture.clock.at + timedelta(seconds=5)
    await fixture.settle(born[1].claim, "pending", next_at=later) if born[1].claim else None
    await fixture.claim(Work.DELIVER)
    for transaction in (
        events.feed(0, ["job.succeeded"], ["job."], made[0].id, 10),
        events.get(recorded[0].events[0].id, fixture.clock.at),
        deliveries.search(deliveries.DeliveryFilter(endpoint="ep_1")),
        deliveries.get(born[0].delivery.id),
        timeline.timeline(made[0].id, None, 10),
        jobs.get_with_input(made[0].id),
        jobs.overdue(later, later, 10),
        jobs.done_before(later, 10),
        rollups.read("jobs", ["account"], 0, 3600, 60),
        standing(later),
        asking("select 1"),
    ):
        await fixture.store.read(transaction)
    await fixture.store.write(lambda: erasure.erase([made[5].id], None))
    unfolded = rollups.Unfolded()
    unfolded.add(await fixture.store.read(rollups.unfolded(unfolded.last)))
    assert await fixture.store.write(lambda: rollups.fold(unfolded)) > 0
    await fixture.store.write(lambda: rollups.forget(later + timedelta(days=9), 10))


def test_a_database_that_a_test_gave_back_serves_the_next(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    name = ENGINES.url(first / "a.db")
    ENGINES.give_back(first)
    assert ENGINES.url(second / "a.db") == name


@pytest.mark.parametrize(
    ("state", "told"),
    [("40001", StoreUnavailable), ("40P01", StoreUnavailable), ("23505", asyncpg.UniqueViolationError)],
)
async def test_what_others_stand_in_the_way_of_is_told_as_unavailable(
    fixture: StoreFixture, state: str, told: type[Exception]
) -> None:
    tried = 0

    def run(_items: Sequence[int]) -> Transaction[list[int]]:
        nonlocal tried
        tried += 1
        yield query(f"do $$ begin raise exception 'in the way' using errcode = '{state}'; end $$")
        return [1]

    with pytest.raises(told):
        await fixture.store.do(BatchedWrite(name="contended", run=run), 1)
    assert tried == 1 + TRIES


async def test_a_full_pool_is_told_as_unavailable(server: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = await asyncpg.connect(server.url("ringback"))
    await holder.execute("select pg_advisory_lock(7)")
    async with let_in(server.url("ringback") + "?connections=3") as driver:
        slow = asyncio.create_task(driver.read(_held_up()))
        while not await _running(driver, "pg_advisory_lock(7)"):
            pass
        with monkeypatch.context() as hasty:
            hasty.setattr(postgres, "CONNECT_SECONDS", 0.1)
            with pytest.raises(StoreUnavailable):
                await driver.read(_asked())
        await holder.close()
        await slow
        assert await driver.read(_asked()) == 1


async def test_a_server_that_says_nothing_more_is_given_up_and_taken_up_again(
    server: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "STATEMENT_SECONDS", -1.0)
    monkeypatch.setattr(postgres, "CONNECT_SECONDS", 1.0)
    talking = asyncio.Event()
    talking.set()

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(_slowly(reader, theirs[1], talking), _slowly(theirs[0], writer, talking))

    front = await asyncio.start_server(between, "127.0.0.1", 0)
    port = front.sockets[0].getsockname()[1]
    driver = PostgresDriver(target(f"postgresql://postgres@127.0.0.1:{port}/ringback"))
    await driver.open()
    talking.clear()
    with pytest.raises(StoreUnavailable):
        await driver.read(_asked())
    talking.set()
    assert await driver.read(_asked()) == 1
    await driver.close()
    front.close()


async def _slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, go: asyncio.Event) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            await go.wait()
            writer.write(data)
            await writer.drain()
    writer.close()


async def _running(driver: PostgresDriver, words: str) -> bool:
    def asking() -> Transaction[bool]:
        found = yield query(
            "select 1 from pg_stat_activity where state = 'active' and query like :words "
            "and pid <> pg_backend_pid()",
            words=f"%{words}%",
        )
        return bool(found)

    return await driver.write(asking())


def _held_up() -> Transaction[None]:
    yield query("select set_config('lock_timeout', '0', true), set_config('statement_timeout', '0', true)")
    yield query("select pg_advisory_lock(7)::text")


def _asked() -> Transaction[int]:
    found = yield query("select 1 as one")
    return int(found[0]["one"])
