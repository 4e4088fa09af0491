"""What only PostgreSQL has: its refusals, texts that it cannot hold, plans that stay off large tables."""

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from handlers.contract import Phase
from receiver.domain.errors import Misconfigured, StoreUnavailable
from receiver.domain.model import Event, Job, Source, Work
from receiver.domain.reports import Action
from receiver.store import deliveries, erasure, events, jobs, open_driver, timeline
from receiver.store.group_commit import TRIES, BatchedWrite
from receiver.store.postgres import driver as postgres
from receiver.store.postgres import sql as pgtext
from receiver.store.postgres import transaction as pgdrive
from receiver.store.postgres.driver import SETTINGS, PostgresDriver
from receiver.store.postgres.url import target
from receiver.store.statements import QueryStatement, Transaction, Write, query
from tests.engines import ENGINES
from tests.proof.wire import wired
from tests.receiver.store_fixture import StoreFixture, asking, store_fixture, told, word

pytestmark = pytest.mark.usefixtures("on_postgres")
PLANNED = "; ".join(f"set {name} = {value}" for name, value in SETTINGS.items() if name.startswith("enable"))
SMALL = {"endpoint", "meta", "account", "api_key", "replica", "migration"}
"""Tables that may be read whole: they hold what people made by hand."""


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """A store at rest."""
    async with store_fixture(tmp_path) as made:
        yield made


async def refusal(url: str) -> str:
    """What a start says of a database."""
    driver = open_driver(url, on_fatal=print)

    async def start() -> None:
        await driver.open()
        try:
            await driver.pending()
        finally:
            await driver.close()

    with pytest.raises(Misconfigured) as refused:
        await start()
    assert "hunter2" not in str(refused.value)
    return str(refused.value)


async def test_a_start_says_in_one_line_what_is_wrong() -> None:
    server, name = ENGINES.cluster, ENGINES.cluster.database().rsplit("/", 1)[1]
    there = f"127.0.0.1:{server.port}"
    nobody = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    silent = nobody.sockets[0].getsockname()[1]
    server.sql(name, "create schema ours; create table ours.job (id text)")
    server.sql("ringback", f"alter database {name} set search_path = ours")
    said = {
        "user or its password": f"postgresql://stranger:hunter2@{there}/{name}",
        "no such database": f"postgresql://postgres:hunter2@{there}/nowhere",
        "cannot connect to 127.0.0.1:1": "postgresql://postgres:hunter2@127.0.0.1:1/x",
        f"the server 127.0.0.1:{silent} does not answer": f"postgresql://postgres:hunter2@127.0.0.1:{silent}/x",
        "tables that are not ours": f"postgresql://postgres:hunter2@{there}/{name}",
        "no URL": f"postgresql://postgres:hunter2@{there}/{name}?sslmode=perhaps",
    }
    found = await asyncio.gather(*(refusal(url) for url in said.values()))
    nobody.close()
    for words, line in zip(said, found, strict=True):
        assert words in line, line
        assert "\n" not in line


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
    """The answer, once no connection is asked that ended meanwhile."""
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
    """Dice by which every cut COMMIT reaches the server."""

    def random(self) -> float:
        """Less than any part."""
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
    """Something of no consequence."""
    yield query("insert into account values (:name, null, null, 0)", name=name)


async def test_a_text_that_cannot_be_held_loses_nothing(fixture: StoreFixture) -> None:
    job = await fixture.submitted(theirs="p\0q")
    assert (await fixture.now(job)).provider_job_id == "p\ufffdq"
    found = await fixture.store.read(jobs.search(jobs.JobFilter(provider_job_id="p\0q")))
    assert [one.id for one in found] == [job.id]


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
    """A bit of everything that a service does all day."""
    await fixture.endpoint()
    made = [await fixture.submitted() for _ in range(6)]
    await fixture.hear(word(made[0], fixture, told(Phase.RUNNING, progress=1.0)))
    polled = await fixture.submitted("aiml")
    claim = await fixture.poll_claim(polled)
    await fixture.hear(word(polled, fixture, told(Phase.RUNNING), Source.POLL, claim=claim))
    recorded = await fixture.hear(*(word(job, fixture, told(Phase.SUCCEEDED)) for job in made))
    born = [one for each in recorded for one in each.born]
    await fixture.settle_born(born[0])
    later = fixture.clock.at + timedelta(seconds=5)
    await fixture.settle(born[1].claim, "pending", next_at=later) if born[1].claim else None
    await fixture.claim(Work.DELIVER)
    for transaction in (
        events.feed(0, ["job.succeeded"], ["job."], made[0].id, 10),
        events.get(recorded[0].events[0].id),
        deliveries.search(deliveries.DeliveryFilter(endpoint="ep_1")),
        deliveries.get(born[0].delivery.id),
        timeline.timeline(made[0].id, None, 10),
        jobs.get_with_input(made[0].id),
        jobs.overdue(later, later, 10),
        jobs.done_before(later, 10),
        asking("select 1"),
    ):
        await fixture.store.read(transaction)
    await fixture.store.write(lambda: erasure.erase([made[5].id], None))


def parts_of(fixture: StoreFixture) -> list[str]:
    """The parts of the feed, the one for everything else left out."""
    name = fixture.services.core.settings.database_url.rsplit("/", 1)[1].partition("?")[0]
    found = ENGINES.cluster.sql(
        name, "select relname from pg_class where relname ~ '^event_[0-9]+$' and relkind = 'r' order by 1"
    )
    return found.split()


async def ended(fixture: StoreFixture, job: Job | None = None) -> Job:
    """A job that succeeded now, its event delivered."""
    job = job or await fixture.submitted()
    [recorded] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
    for born in recorded.born:
        await fixture.settle_born(born)
    return job


async def test_history_is_dropped_in_parts_once_all_of_a_part_is_old(tmp_path: Path) -> None:
    async with store_fixture(tmp_path, retention_days="8") as fixture:
        sweep = fixture.services.retention.sweep
        await fixture.endpoint()
        old = await ended(fixture)
        assert parts_of(fixture) == ["event_20261121", "event_20261123"]
        fixture.clock.pass_(days=1, hours=1)
        still_open = await fixture.submitted()
        fixture.clock.pass_(days=1)
        young = await ended(fixture)
        await sweep()
        assert parts_of(fixture) == ["event_20261121", "event_20261123", "event_20261125"]
        fixture.clock.pass_(days=8)
        assert await sweep() == 0, "not all of the first part is old: a job that began in it is open"
        fixture.clock.pass_(days=2)
        assert await sweep() == 2, "it waited long enough: its old jobs went one by one"
        assert await fixture.store.read(jobs.get(old.id)) is None
        assert "event_20261121" in parts_of(fixture)
        assert "event_20261123" not in parts_of(fixture)
        assert await fixture.column("select job from event") == []
        await ended(fixture, still_open)
        assert await fixture.column("select job from event") == [still_open.id]
        fixture.clock.pass_(days=16)
        assert await sweep() == 1
        assert parts_of(fixture)[0] > "event_20261125"
        assert await fixture.store.read(jobs.get(young.id)) is None
        assert await fixture.column("select count(*) from event") == [0]
        fresh = await ended(fixture)
        assert await fixture.column("select job from event") == [fresh.id]


async def test_history_from_before_the_parts_is_kept_and_removed_by_rows(fixture: StoreFixture) -> None:
    fixture.clock.at -= timedelta(days=400)
    old = await ended(fixture)
    assert await fixture.column("select count(*) from event_rest") == [1]
    fixture.clock.at += timedelta(days=400)
    assert await fixture.services.retention.sweep() == 1
    assert await fixture.store.read(jobs.get(old.id)) is None
    assert await fixture.column("select count(*) from event") == [0]


async def test_an_event_of_what_lives_longer_than_history_is_kept(tmp_path: Path) -> None:
    async with store_fixture(tmp_path, retention_days="8") as fixture:
        endpoint = await fixture.endpoint("ep_1", "endpoint.*")
        fixture.clock.pass_(days=9)
        event = fixture.services.core.recorder.event(
            "endpoint.disabled", endpoint.id, "kind", {}, fixture.clock.at
        )

        def telling() -> Transaction[list[Event]]:
            yield from ()
            return [event]

        await fixture.services.core.recorder.write(telling)
        fixture.clock.pass_(days=1)
        await fixture.services.retention.sweep()
        assert await fixture.column("select id from event") == [event.id]


async def test_parts_come_and_go_under_load(tmp_path: Path) -> None:
    async with store_fixture(tmp_path, retention_days="8") as fixture:
        await fixture.endpoint("ep_1", "job.canceled")
        going = True

        async def living() -> None:
            while going:
                job = await fixture.added()
                await fixture.hear(word(job, fixture, source=Source.NOTE, verdict=Action.CANCEL))
                assert await fixture.store.read(timeline.timeline(job.id, None, 10))

        lives = [asyncio.create_task(living()) for _ in range(4)]
        for _ in range(12):
            fixture.clock.pass_(days=2)
            await fixture.services.retention.sweep()
        going = False
        await asyncio.gather(*lives)
        assert parts_of(fixture)[0] > "event_20261123"


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
