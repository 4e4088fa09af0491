"""Endpoints in a real store: limited in number, paged, disabled and removed in pieces."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from receiver.domain.errors import Conflict
from receiver.domain.model import Endpoint, EndpointState
from receiver.store import endpoints as table
from receiver.store import holds, lost_deliveries
from receiver.store.deliveries import NEWEST
from receiver.store.statements import Step, Transaction, ms
from tests.receiver.store_fixture import START, StoreFixture, store_fixture
from tests.receiver.store_steps import MANY, owe, owed, states

GONE = "the endpoint was deleted"


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """Yield a service at rest that keeps a day of history."""
    async with store_fixture(tmp_path, retention_days="1") as made:
        yield made


async def test_there_are_so_many_endpoints_and_no_more(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "MOST", 2)
    await fixture.endpoint("ep_1")
    await fixture.endpoint("ep_2")
    with pytest.raises(Conflict, match="2 endpoints already"):
        await fixture.endpoint("ep_3")
    await fixture.store.write(lambda: table.remove("ep_1", fixture.clock.at))
    await fixture.endpoint("ep_3")


async def test_a_page_of_endpoints_reads_no_others(fixture: StoreFixture) -> None:
    for number in range(5):
        fixture.clock.pass_(seconds=number // 2)
        await fixture.endpoint(f"ep_{number}")
    found, behind = [], None
    while page := await fixture.store.read(table.page(behind, 2)):
        assert len(page) <= 2
        found += [row["id"] for row in page]
        behind = (page[-1]["created_at"], page[-1]["id"])
    assert found == [f"ep_{number}" for number in (4, 3, 2, 1, 0)]


async def test_an_answer_disables_only_the_endpoint_that_it_was_sent_to(fixture: StoreFixture) -> None:
    sent = await fixture.endpoint("ep_1")
    rows = [
        (replace(sent, url="https://old.example/"), False),
        (replace(sent, updated_at=START - timedelta(seconds=1)), False),
        (sent, True),
        (sent, False),
    ]
    for asked, expected in rows:
        fixture.clock.pass_(seconds=1)
        assert await fixture.store.write(partial(table.disable, asked, "410", fixture.clock.at)) is expected
    [row] = await fixture.query("select state, disabled_reason from endpoint")
    assert (row["state"], row["disabled_reason"]) == (EndpointState.DISABLED, "410")


# Stored and changed.


async def stored(fixture: StoreFixture, endpoint_id: str) -> dict[str, Any] | None:
    """Return the row of an endpoint as columns and values."""
    row = await fixture.store.read(table.get(endpoint_id))
    return None if row is None else dict(row)


async def test_an_endpoint_is_stored_and_replaced_under_its_id(fixture: StoreFixture) -> None:
    sealer = fixture.services.core.sealer
    made = await fixture.endpoint("ep_1", "job.failed", description="old")
    other = await fixture.endpoint("ep_2")
    changed = replace(made, url="https://new.example/", max_in_flight=3, description="new")
    await fixture.store.write(lambda: table.put(sealer.row(changed)))
    rows = await fixture.store.read(table.listed())
    assert [sealer.open(row) for row in rows] == [changed, other]
    assert await stored(fixture, "ep_unknown") is None


async def test_a_change_invalidates_what_other_processes_have_cached(fixture: StoreFixture) -> None:
    generations = []
    made = await fixture.endpoint("ep_1")
    for change in (
        partial(table.put, fixture.services.core.sealer.row(made)),
        partial(table.set_state, "ep_1", "paused", None, fixture.clock.at),
        partial(table.disable, made, "410", fixture.clock.at),
        partial(table.remove, "ep_1", fixture.clock.at),
    ):
        generations.append((await fixture.store.read(table.of_generation()))[0])
        await fixture.store.write(change)
    present, rows = await fixture.store.read(table.of_generation())
    assert len({present, *generations}) == 5
    assert list(rows) == []


@pytest.mark.parametrize(
    "change",
    [
        table.add(("ep_1",)),
        table.put(("ep_1",)),
        table.alter("ep_1", lambda row: (row, row)),
        table.set_state("ep_1", "paused", None, START),
        table.remove("ep_1", START),
    ],
    ids=["add", "put", "alter", "set_state", "remove"],
)
def test_a_change_takes_the_order_lock_before_it_reads_anything(change: Transaction[Any]) -> None:
    assert next(change) is Step.IN_ORDER


async def test_an_endpoint_is_changed_as_it_is_stored_and_only_a_new_url_ends_its_hold(
    fixture: StoreFixture,
) -> None:
    sealer = fixture.services.core.sealer
    made = await fixture.endpoint("ep_1")
    until = fixture.clock.at + timedelta(hours=1)
    await fixture.store.write(lambda: holds.hold([("ep_1", until), ("ep_2", until)]))
    seen: list[Endpoint] = []

    def change(row: Any) -> tuple[Endpoint, tuple[Any, ...]]:
        seen.append(sealer.open(row))
        changed = replace(seen[-1], description="new")
        return changed, sealer.changed_row(changed, row)

    assert await fixture.store.write(lambda: table.alter("ep_1", change)) == replace(made, description="new")
    assert await fixture.store.write(lambda: table.alter("ep_unknown", change)) is None
    assert seen == [made]
    row = await stored(fixture, "ep_1")
    assert row is not None
    assert row["description"] == "new"
    assert await fixture.store.read(holds.held(fixture.clock.at, 10)) == {"ep_1": until, "ep_2": until}

    def move(row: Any) -> tuple[Endpoint, tuple[Any, ...]]:
        moved = replace(sealer.open(row), url="https://moved.example/hook")
        return moved, sealer.changed_row(moved, row)

    await fixture.store.write(lambda: table.alter("ep_1", move))
    assert await fixture.store.read(holds.held(fixture.clock.at, 10)) == {"ep_2": until}


async def test_an_endpoint_is_paused_and_resumed_and_its_hold_ends(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1")
    found = []
    for state, reason in (("paused", "by hand"), ("active", None)):
        fixture.clock.pass_(seconds=1)
        now = fixture.clock.at
        await fixture.store.write(partial(holds.hold, [("ep_1", now + timedelta(hours=1))]))
        assert await fixture.store.write(partial(table.set_state, "ep_1", state, reason, now))
        row = await stored(fixture, "ep_1")
        assert row is not None
        found.append((row["state"], row["disabled_reason"], row["updated_at"] - row["created_at"]))
        assert await fixture.store.read(holds.held(now, 10)) == {}
    assert found == [("paused", "by hand", 1000), ("active", None, 2000)]
    assert not await fixture.store.write(
        partial(table.set_state, "ep_unknown", "paused", None, fixture.clock.at)
    )


async def test_an_endpoint_that_was_paused_since_is_disabled_all_the_same(fixture: StoreFixture) -> None:
    sent = await fixture.endpoint("ep_1")
    fixture.clock.pass_(seconds=1)
    now = fixture.clock.at
    await fixture.store.write(partial(table.set_state, "ep_1", "paused", None, now))
    assert await fixture.store.write(partial(table.disable, sent, "410", now))
    row = await stored(fixture, "ep_1")
    assert row is not None
    assert (row["state"], row["disabled_reason"]) == ("disabled", "410")


async def test_the_place_of_an_endpoint_in_the_list_outlives_its_removal(fixture: StoreFixture) -> None:
    made = await fixture.endpoint("ep_1")
    fixture.clock.pass_(seconds=5)
    await fixture.endpoint("ep_2")
    await fixture.store.write(lambda: table.remove("ep_1", fixture.clock.at))
    assert await fixture.store.read(table.made_at("ep_1")) == ms(made.created_at)
    assert await fixture.store.read(table.made_at("ep_2")) == ms(made.created_at) + 5000
    assert await fixture.store.read(table.made_at("ep_unknown")) is None
    assert [row["id"] for row in await fixture.store.read(table.page(None, 10))] == ["ep_2"]


# Removed.


async def test_a_removed_endpoint_is_sent_nothing_and_its_deliveries_are_canceled_by_and_by(
    fixture: StoreFixture,
) -> None:
    await fixture.endpoint("ep_1")
    await fixture.endpoint("ep_2")
    await owe(fixture, "ep_1")
    serves = fixture.services.pinger.sender.serves
    assert serves("ep_1")
    await fixture.store.write(lambda: table.remove("ep_1", fixture.clock.at))
    await fixture.services.api.endpoints.refresh()
    assert (serves("ep_1"), serves("ep_2")) == (False, True)
    assert await states(fixture) == {"canceled": 100, "pending": MANY - 100}
    place = await fixture.store.write(lambda: table.cancel_removed("ep_1", NEWEST, 120, fixture.clock.at))
    assert await states(fixture) == {"canceled": 120, "pending": MANY - 120}
    assert place == f"dlv_{MANY - 119:032x}"
    await fixture.services.retention.cancel_removed()
    assert (await states(fixture), await owed(fixture)) == ({"canceled": MANY}, 0)
    assert set(await fixture.column("select reason from delivery")) == {GONE}
    assert await fixture.store.read(table.removed()) == []


async def test_the_rest_is_canceled_after_a_restart(tmp_path: Path) -> None:
    async with store_fixture(tmp_path) as fixture:
        await fixture.endpoint("ep_1", state=EndpointState.DISABLED)
        await owe(fixture, "ep_1")
        await fixture.store.write(lambda: table.remove("ep_1", fixture.clock.at))
    async with store_fixture(tmp_path) as fixture:
        assert (await states(fixture))["pending"] == MANY - 100
        await fixture.services.retention.cancel_removed()
        assert await states(fixture) == {"canceled": MANY}


async def test_an_endpoint_that_left_the_file_is_removed_at_start_whatever_it_is_owed(tmp_path: Path) -> None:
    filed = '[{"id": "crm", "url": "https://crm.example/hooks"}]'
    async with store_fixture(tmp_path, endpoints=filed) as fixture:
        await owe(fixture, "crm")
    async with store_fixture(tmp_path) as fixture:
        assert await states(fixture, "crm") == {"canceled": 100, "pending": MANY - 100}
        await fixture.services.retention.cancel_removed()
        assert await states(fixture, "crm") == {"canceled": MANY}


async def test_removed_endpoints_are_forgotten_with_their_time(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1")
    await fixture.store.write(lambda: table.remove("ep_1", fixture.clock.at))
    await fixture.services.retention.cancel_removed()
    await fixture.services.retention.sweep()
    assert await fixture.column("select id from endpoint") == ["ep_1"]
    fixture.clock.pass_(days=1, seconds=1)
    await fixture.services.retention.sweep()
    assert await fixture.column("select id from endpoint") == []


async def test_what_was_taken_of_a_removed_endpoint_is_forgotten_with_it(fixture: StoreFixture) -> None:
    now = fixture.clock.at
    for target in ("ep_1", "ep_2"):
        await fixture.endpoint(target)
        await fixture.store.write(partial(lost_deliveries.count, {target: 3}, "retention", now))
    await fixture.store.write(lambda: table.remove("ep_1", now))
    await fixture.services.retention.cancel_removed()
    fixture.clock.pass_(days=1, seconds=1)
    await fixture.services.retention.sweep()
    assert [one.target for one in await fixture.store.read(lost_deliveries.list_all())] == ["ep_2"]


async def test_nothing_changes_an_endpoint_that_was_removed(fixture: StoreFixture) -> None:
    sent = await fixture.endpoint("ep_1")
    await fixture.store.write(partial(table.remove, "ep_1", fixture.clock.at))
    fixture.clock.pass_(seconds=1)
    now = fixture.clock.at
    assert await stored(fixture, "ep_1") is None
    assert not await fixture.store.write(partial(table.set_state, "ep_1", "active", None, now))
    assert not await fixture.store.write(partial(table.disable, sent, "410", now))
    await fixture.store.write(partial(table.remove, "ep_1", now))
    [row] = await fixture.query("select state, deleted_at from endpoint")
    assert (row["state"], row["deleted_at"]) == ("deleting", ms(START))


async def test_a_removed_endpoint_is_pruned_once_its_deliveries_are_canceled(fixture: StoreFixture) -> None:
    for name in ("ep_1", "ep_2", "ep_3", "ep_4"):
        await fixture.endpoint(name)
    for name in ("ep_1", "ep_2", "ep_3"):
        await fixture.store.write(partial(table.remove, name, fixture.clock.at))
    assert sorted(await fixture.store.read(table.removed())) == ["ep_1", "ep_2", "ep_3"]
    for name in ("ep_1", "ep_2", "ep_4"):
        assert await fixture.store.write(partial(table.cancel_removed, name, NEWEST, 1, START)) == ""
    assert await fixture.store.read(table.removed()) == ["ep_3"]
    later = fixture.clock.at + timedelta(milliseconds=1)
    assert await fixture.store.write(partial(table.prune, START, 10)) == 0
    assert await fixture.store.write(partial(table.prune, later, 1)) == 1
    assert await fixture.store.write(partial(table.prune, later, 10)) == 1
    rows = await fixture.query("select id, state from endpoint order by id")
    assert [tuple(row) for row in rows] == [("ep_3", "deleting"), ("ep_4", "active")]
