"""Erasure in a real store: jobs with all their rows, in pieces where they have many."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import Phase
from receiver.domain.model import EndpointState, Source, Work
from receiver.store import deliveries, erasure
from receiver.store.rows import delivery_row
from receiver.store.schema import TABLES
from receiver.store.statements import Lock, Transaction, insert, ms
from tests.receiver.store_fixture import START, StoreFixture, store_fixture, told, word
from tests.receiver.store_steps import ended, insert_rows, remove, statements

SUBMIT = Source.SUBMISSION
OF_JOBS = [table for table in TABLES if not table.startswith("rollup")]
"""The tables that say anything about a single job: the statistics outlive it."""
HOLDS_JOB = {"job": "id", "due": "id", "delivery": "job", "event": "job", "evidence": "job"} | {
    "input_piece": "job",
    "job_label": "job",
    "idempotency": "job",
}


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """Yield a service at rest that keeps a day of history."""
    async with store_fixture(tmp_path, retention_days="1") as made:
        yield made


# Whole jobs.


async def test_an_erased_job_leaves_nothing_in_any_table(fixture: StoreFixture) -> None:
    await remove(fixture, (await ended(fixture)).id)
    await fixture.endpoint("ep_1", "job.*")
    kept = await ended(fixture, order="1")
    before = {table: await fixture.column(f"select count(*) from {table}") for table in OF_JOBS}  # ours
    job = fixture.job(metadata={"order": "2"}, callback_url="https://me.example/", callback_secret=b"s")
    await fixture.promise(job, owner="a", key="k", digest=b"d")
    [chosen] = await fixture.claim(Work.SUBMIT)
    recorded = await fixture.hear(
        word(job, fixture, told(Phase.RUNNING, "p9"), SUBMIT, claim=chosen.claim),
        word(job, fixture, told(Phase.SUCCEEDED), body=b"canary"),
    )
    for one in recorded[0].deliveries:
        await fixture.settle_born(one)
    await fixture.store.write(lambda: erasure.erase([job.id], None))
    after = {table: await fixture.column(f"select count(*) from {table}") for table in OF_JOBS}  # ours
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


async def test_pending_deliveries_of_erased_jobs_are_counted_by_target(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1", "job.*", state=EndpointState.PAUSED)
    await fixture.endpoint("ep_2", "job.succeeded")
    jobs = [await ended(fixture) for _ in range(3)]
    [sent] = await fixture.column(
        "select id from delivery where target = 'ep_2' and job = :job", job=jobs[0].id
    )
    await fixture.store.write(lambda: deliveries.cancel([sent], "by hand", fixture.clock.at))
    gone = [job.id for job in jobs[:2]]
    lost = await fixture.store.write(lambda: erasure.erase(gone, None))
    assert lost == {"ep_1": 4, "ep_2": 1}
    for name in ("delivery", "event"):
        assert set(await fixture.column(f"select job from {name}")) == {jobs[2].id}  # ours
    assert await fixture.column("select count(*) from due where work = 'deliver'") == [3]


@pytest.mark.parametrize(
    ("removal", "table"),
    [
        (erasure.erase(["x"], None), "job"),
        (erasure.lighten("x", None), "job"),
        (erasure.erase_deliveries(["x"]), "due"),
    ],
    ids=["erase", "lighten", "erase_deliveries"],
)
def test_rows_are_locked_before_they_are_removed(removal: Transaction[Any], table: str) -> None:
    [first, *_] = statements(removal)
    assert first.sql.startswith(f"select id from {table} ")
    assert first.lock is Lock.WAIT


def test_erasing_nothing_costs_no_statement() -> None:
    assert statements(erasure.erase([], None)) == []
    assert statements(erasure.erase_deliveries([])) == []


@pytest.mark.parametrize("by_hand", [True, False])
async def test_the_positions_of_events_are_kept_where_a_job_is_erased_by_hand(
    fixture: StoreFixture, by_hand: bool
) -> None:
    job = await ended(fixture)
    places = {row["id"]: row["seq"] for row in await fixture.query("select id, seq from event")}
    now = fixture.clock.at
    await fixture.store.write(lambda: erasure.erase([job.id], now if by_hand else None))
    kept = {row["id"]: (row["place"], row["at"]) for row in await fixture.query("select * from erased")}
    assert kept == ({one: (place, ms(now)) for one, place in places.items()} if by_hand else {})
    marks = await fixture.query("select key, value from meta where key not in ('generation', 'feed')")
    last = str(max(places.values()))
    expected = {"issued_until": last} if by_hand else {"issued_until": last, "removed_until": last}
    assert {row["key"]: row["value"] for row in marks} == expected


# Heavy jobs.


async def heard(fixture: StoreFixture, words: int) -> str:
    """Return the id of a failed job with `words` more timeline entries."""
    job = await fixture.submitted()
    await fixture.hear(word(job, fixture, told(Phase.FAILED)))

    def fill() -> Transaction[None]:
        ids = [f"evd_{number:032x}" for number in range(1, words + 1)]
        row = (job.id, 1, "callback", "applied", "{}", None, b"x" * 10, 1, 1)
        yield insert("evidence", [(one, *row) for one in ids])

    await fixture.store.write(fill)
    return job.id


async def test_jobs_are_removed_in_groups_by_what_hangs_on_them(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "ROWS", 100)
    light = [await heard(fixture, 30) for _ in range(4)]
    heavy = await heard(fixture, 300)
    groups = await fixture.store.read(erasure.groups([*light, heavy]))
    assert sorted(groups, key=str) == sorted(
        [(light[:2], False), (light[2:], False), ([heavy], True)], key=str
    )


async def test_a_heavy_job_goes_in_pieces_and_leaves_nothing(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "ROWS", 100)
    job = await heard(fixture, 250)
    [before] = await fixture.column("select count(*) from evidence where job = :job", job=job)
    more, lost = await fixture.store.write(lambda: erasure.lighten(job, None))
    [after] = await fixture.column("select count(*) from evidence where job = :job", job=job)
    assert (more, dict(lost), before - after) == (True, {}, 100)
    fixture.clock.pass_(days=2)
    assert await fixture.services.retention.sweep() == 1
    for name in ("job", "evidence", "event"):
        assert await fixture.column(f"select count(*) from {name}") == [0]  # ours


async def test_the_bytes_of_a_piece_are_bounded_too(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "BYTES", 25)
    job = await heard(fixture, 10)
    [before] = await fixture.column("select count(*) from evidence where job = :job", job=job)
    await fixture.store.write(lambda: erasure.lighten(job, None))
    [after] = await fixture.column("select count(*) from evidence where job = :job", job=job)
    assert before - after == 2


async def test_a_job_with_much_is_erased_by_hand_in_pieces(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "ROWS", 100)
    job = await heard(fixture, 250)
    await fixture.services.api.jobs.erase(job)
    for name in ("job", "evidence", "event"):
        assert await fixture.column(f"select count(*) from {name}") == [0]  # ours
    assert await fixture.claim(Work.DELIVER) == []


async def test_a_piece_may_be_just_full(fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "BYTES", 30)
    job = await heard(fixture, 10)
    await fixture.store.write(lambda: erasure.lighten(job, None))
    left = await fixture.column("select id from evidence where job = :job and body is not null", job=job)
    assert len(left) == 7


async def test_a_delivery_weighs_as_much_as_ten_rows_and_bytes_weigh_too(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, owing = await heard(fixture, 8), await heard(fixture, 8)
    event = await fixture.column("select id from event where job = :job", job=owing)
    rows = [
        delivery_row(id=f"dlv_{n}", event=event[0], target=n, job=owing, at=START) for n in ("ep_1", "ep_2")
    ]
    await insert_rows(fixture, "delivery", rows)
    monkeypatch.setattr(erasure, "ROWS", 50)
    assert await fixture.store.read(erasure.groups([owing, plain])) == [([plain, owing], False)]
    monkeypatch.setattr(erasure, "ROWS", 30)
    assert await fixture.store.read(erasure.groups([owing, plain])) == [([plain], False), ([owing], False)]
    monkeypatch.setattr(erasure, "ROWS", 29)
    assert await fixture.store.read(erasure.groups([owing])) == [([owing], True)]
    monkeypatch.setattr(erasure, "BYTES", 1000)
    assert await fixture.store.read(erasure.groups([plain, "job_gone"])) == [([plain], True)]
    assert await fixture.store.read(erasure.groups([])) == []


@pytest.mark.parametrize("by_hand", [True, False])
async def test_a_heavy_job_loses_its_evidence_then_its_deliveries_and_then_its_events(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch, by_hand: bool
) -> None:
    monkeypatch.setattr(erasure, "ROWS", 2)
    await fixture.endpoint("ep_1", "job.*", state=EndpointState.PAUSED)
    other, job = await ended(fixture), await ended(fixture)
    erased_at = fixture.clock.at if by_hand else None
    steps: list[tuple[bool, dict[str, int], list[int]]] = []
    while not steps or steps[-1][0]:
        more, lost = await fixture.store.write(lambda: erasure.lighten(job.id, erased_at))
        left = [
            (await fixture.column(f"select count(*) from {name} where job = :job", job=job.id))[0]  # ours
            for name in ("evidence", "delivery", "event")
        ]
        steps.append((more, dict(lost), left))
    assert steps == [
        (True, {}, [1, 2, 2]),
        (True, {}, [0, 2, 2]),
        (True, {"ep_1": 2}, [0, 0, 2]),
        (True, {}, [0, 0, 0]),
        (False, {}, [0, 0, 0]),
    ]
    assert (await fixture.now(job)).id == job.id
    for name, count in (("evidence", 3), ("delivery", 2), ("event", 2)):
        assert await fixture.column(f"select job from {name}") == [other.id] * count  # ours
    marks = await fixture.column("select key from meta where key in ('removed_until', 'issued_until')")
    assert sorted(marks) == (["issued_until"] if by_hand else ["issued_until", "removed_until"])
    assert await fixture.column("select count(*) from erased") == [2 if by_hand else 0]


async def test_deliveries_of_an_event_are_erased_a_bounded_number_at_once(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "OWED_AT_ONCE", 2)
    for name in ("ep_1", "ep_2", "ep_3"):
        await fixture.endpoint(name, "job.failed", state=EndpointState.PAUSED)
    await heard(fixture, 0)
    [event] = await fixture.column("select id from event")
    losses = [dict(await fixture.store.write(lambda: erasure.erase_some_of(event))) for _ in range(3)]
    assert [sum(lost.values()) for lost in losses] == [2, 1, 0]
    assert {**losses[0], **losses[1]} == {"ep_1": 1, "ep_2": 1, "ep_3": 1}
    assert await fixture.column("select count(*) from delivery") == [0]
    assert await fixture.column("select count(*) from event") == [1]


async def test_attempts_go_with_their_deliveries(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1", "job.failed")
    for _ in range(2):
        [recorded] = await fixture.hear(word(await fixture.submitted(), fixture, told(Phase.FAILED)))
        await fixture.settle_born(recorded.deliveries[0])
    first, second = await fixture.column("select id from delivery order by id")
    assert await fixture.store.write(lambda: erasure.erase_deliveries([first])) == {}
    assert await fixture.column("select delivery from attempt") == [second]


# Evidence of jobs that are gone.


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


async def test_evidence_of_no_job_goes_in_pieces(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "ROWS", 100)
    job = await heard(fixture, 250)
    await fixture.write("delete from job where id = :id", id=job)
    counts, place = [], ""
    fixture.clock.pass_(days=2)
    for _ in range(4):
        change = partial(erasure.prune_orphans, fixture.clock.at, place, 10)
        place = await fixture.store.write(change)
        counts += await fixture.column("select count(*) from evidence where job = :job", job=job)
    assert (counts[0] - counts[1], counts[-1], place) == (100, 0, "")


async def test_the_bytes_of_a_piece_of_old_evidence_are_bounded_too(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await heard(fixture, 5)
    await fixture.write("delete from job where id = :id", id=job)
    fixture.clock.pass_(days=2)
    monkeypatch.setattr(erasure, "BYTES", 20)
    counts, places = [], [""]
    for _ in range(3):
        change = partial(erasure.prune_orphans, fixture.clock.at, places[-1], 1)
        places.append(await fixture.store.write(change))
        counts += await fixture.column("select count(*) from evidence where job = :job", job=job)
    assert (counts, places) == ([5, 3, 0], ["", "", "", job])
