"""Replicas in a real store: heartbeats, and the leases of those that have gone."""

from datetime import timedelta
from functools import partial

import pytest

from receiver.domain.model import Work
from receiver.store import replicas
from receiver.store.replicas import Present, leave
from receiver.store.rows import due_row
from receiver.store.statements import EPOCH, ms
from tests.receiver.store_fixture import LEASE, StoreFixture
from tests.receiver.store_steps import due_of, insert_rows, lost


async def test_a_start_voids_every_lease(fixture: StoreFixture) -> None:
    waiting, leased = await fixture.added(), await fixture.added("aiml")
    [chosen] = await fixture.claim(Work.SUBMIT, {"aiml": 1})
    before = await due_of(fixture, waiting)
    fixture.clock.pass_(seconds=1)
    await fixture.store.write(lambda: leave(fixture.context.owner, fixture.clock.at))
    assert await due_of(fixture, waiting) == before
    assert await due_of(fixture, leased) == ("submit", "aiml", ms(fixture.clock.at), 0, 2, 0)
    [stale] = await fixture.hear(lost(leased, fixture, chosen.claim))
    assert stale.outcome == "late"
    [again] = await fixture.claim(Work.SUBMIT, {"aiml": 1})
    assert again.crashed


def present(fixture: StoreFixture, name: str, role: str = "all", kids: str = "aa bb") -> Present:
    """Return a heartbeat that is sent now."""
    return Present(id=name, role=role, kids=kids, at=fixture.clock.at)


async def joined(fixture: StoreFixture, *names: str) -> None:
    """Let these replicas be the only ones."""
    await fixture.store.write(replicas.alone)
    for name in names:
        await fixture.store.write(partial(replicas.join, present(fixture, name), EPOCH))


async def leased(fixture: StoreFixture, *owners: str) -> None:
    """Add due work that each of these replicas holds for 30 seconds more."""
    until = fixture.clock.at + LEASE
    rows = [
        due_row(id=f"job_{one}", work=Work.SUBMIT, lane="aiml", at=until, fence=1, owner=one)
        for one in owners
    ]
    await insert_rows(fixture, "due", rows)


async def held(fixture: StoreFixture) -> list[str]:
    """Return the owners of the leases that hold."""
    return await fixture.column("select owner from due where leased = 1 order by owner")


async def test_replicas_that_work_are_counted_and_those_that_only_answer_are_not(
    fixture: StoreFixture,
) -> None:
    await fixture.store.write(replicas.alone)
    assert await fixture.store.read(replicas.seen()) == {}
    found = [
        await fixture.store.write(partial(replicas.join, present(fixture, name, role), EPOCH))
        for name, role in (("rpc_1", "api"), ("rpc_2", "worker"), ("rpc_3", "all"), ("rpc_4", "api"))
    ]
    assert found == [1, 1, 2, 2]
    now = ms(fixture.clock.at)
    assert await fixture.store.read(replicas.seen()) == dict.fromkeys(
        ("rpc_1", "rpc_2", "rpc_3", "rpc_4"), now
    )


async def test_a_heartbeat_renews_the_replica_that_sends_it(fixture: StoreFixture) -> None:
    await joined(fixture, "rpc_1", "rpc_2")
    before = ms(fixture.clock.at)
    fixture.clock.pass_(seconds=5)
    assert await fixture.store.write(partial(replicas.beat, present(fixture, "rpc_1"), {})) == (2, False)
    assert await fixture.store.read(replicas.seen()) == {"rpc_1": before + 5000, "rpc_2": before}


async def test_a_silent_replica_is_removed_with_its_leases(fixture: StoreFixture) -> None:
    await joined(fixture, "rpc_1", "rpc_2", "rpc_3")
    await leased(fixture, "rpc_1", "rpc_2")
    silent = {"rpc_2": ms(fixture.clock.at)}
    fixture.clock.pass_(seconds=20)
    assert await fixture.store.write(partial(replicas.beat, present(fixture, "rpc_1"), silent)) == (2, True)
    assert sorted(await fixture.store.read(replicas.seen())) == ["rpc_1", "rpc_3"]
    assert await held(fixture) == ["rpc_1"]
    silent = {"rpc_3": ms(fixture.clock.at) - 20_000}
    assert await fixture.store.write(partial(replicas.beat, present(fixture, "rpc_1"), silent)) == (1, False)


@pytest.mark.parametrize("since", [5, -5])
async def test_a_replica_that_sent_a_heartbeat_since_is_not_silent(fixture: StoreFixture, since: int) -> None:
    await joined(fixture, "rpc_1", "rpc_2")
    await leased(fixture, "rpc_2")
    silent = {"rpc_2": ms(fixture.clock.at)}
    fixture.clock.pass_(seconds=since)
    await fixture.store.write(partial(replicas.beat, present(fixture, "rpc_2"), {}))
    assert await fixture.store.write(partial(replicas.beat, present(fixture, "rpc_1"), silent)) == (2, False)
    assert await held(fixture) == ["rpc_2"]


async def test_a_replica_that_joins_removes_the_dead_ones_with_their_leases(fixture: StoreFixture) -> None:
    await joined(fixture, "rpc_dead")
    fixture.clock.pass_(milliseconds=1)
    await fixture.store.write(partial(replicas.join, present(fixture, "rpc_late"), EPOCH))
    dead_before = fixture.clock.at
    fixture.clock.pass_(seconds=30)
    await fixture.store.write(partial(replicas.join, present(fixture, "rpc_live"), EPOCH))
    await leased(fixture, "rpc_dead", "rpc_live", "rpc_unknown")
    assert await fixture.store.write(partial(replicas.join, present(fixture, "rpc_new"), dead_before)) == 3
    assert sorted(await fixture.store.read(replicas.seen())) == ["rpc_late", "rpc_live", "rpc_new"]
    assert await held(fixture) == ["rpc_live"]


async def test_replicas_that_lack_a_master_key_are_found_by_the_whole_key_id(fixture: StoreFixture) -> None:
    await fixture.store.write(replicas.alone)
    for name, kids in (("rpc_3", "aab b"), ("rpc_1", ""), ("rpc_2", "b aa")):
        await fixture.store.write(partial(replicas.join, present(fixture, name, kids=kids), EPOCH))
    since = fixture.clock.at
    found = [await fixture.store.read(replicas.without_key(kid, since)) for kid in ("aa", "b", "c")]
    assert found == [["rpc_1", "rpc_3"], ["rpc_1"], ["rpc_1", "rpc_2", "rpc_3"]]
    later = since + timedelta(milliseconds=1)
    assert await fixture.store.read(replicas.without_key("c", later)) == []


async def test_a_replica_that_leaves_gives_its_work_back_and_no_other(fixture: StoreFixture) -> None:
    await joined(fixture, "rpc_1", "rpc_2")
    await leased(fixture, "rpc_1", "rpc_2")
    await fixture.store.write(lambda: leave("rpc_1", fixture.clock.at))
    assert list(await fixture.store.read(replicas.seen())) == ["rpc_2"]
    rows = await fixture.query("select leased, at, fence from due order by id")
    now = ms(fixture.clock.at)
    assert [(row["leased"], row["at"], row["fence"]) for row in rows] == [(0, now, 2), (1, now + 30_000, 1)]
