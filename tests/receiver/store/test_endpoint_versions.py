"""Versions of endpoints in a real store: one for each change between events, pruned with the events."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from receiver.domain.filter_reader import checked_filter
from receiver.domain.model import Endpoint
from receiver.store import endpoint_versions, events
from receiver.store import endpoints as table
from receiver.store.endpoint_versions import EndpointVersion
from tests.receiver.store_fixture import StoreFixture, store_fixture
from tests.receiver.store_steps import ended

BLUE = checked_filter({"metadata.color": "blue"}, ("job.*",))


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """Yield a service at rest that keeps a day of history."""
    async with store_fixture(tmp_path, retention_days="1") as made:
        yield made


async def places(fixture: StoreFixture) -> list[int]:
    """Return the numbers of all events."""
    return [row["seq"] for row in await fixture.query("select seq from event order by seq")]


async def change(fixture: StoreFixture, endpoint: Endpoint, **fields: Any) -> Endpoint:
    """Change an endpoint in the store. Returns it."""
    changed = replace(endpoint, **fields)
    row = fixture.services.core.sealer.row(changed)
    await fixture.store.write(lambda: table.put(row))
    return changed


async def at(fixture: StoreFixture, place: int) -> Mapping[str, EndpointVersion]:
    """Return the versions that an event was compared with."""
    return await fixture.store.read(endpoint_versions.at(place))


async def versions(fixture: StoreFixture) -> list[tuple[str, int, str]]:
    """Return the stored versions: endpoint, event, types."""
    found = await fixture.query(
        "select endpoint, since, events from endpoint_version order by endpoint, since"
    )
    return [(row["endpoint"], row["since"], row["events"]) for row in found]


async def test_an_event_is_compared_with_the_version_of_its_time(fixture: StoreFixture) -> None:
    first = await fixture.endpoint("ep_1", "job.failed")
    await ended(fixture)
    before = (await places(fixture))[-1]
    await change(fixture, first, events=("job.*",), filter=BLUE)
    await fixture.endpoint("ep_2", "*")
    await ended(fixture)
    after = (await places(fixture))[-1]
    assert await at(fixture, before) == {"ep_1": EndpointVersion(0, ("job.failed",), None)}
    assert await at(fixture, after) == {
        "ep_1": EndpointVersion(before, ("job.*",), BLUE),
        "ep_2": EndpointVersion(before, ("*",), None),
    }


async def test_changes_without_an_event_between_them_are_one_version(fixture: StoreFixture) -> None:
    first = await fixture.endpoint("ep_1", "job.failed")
    for kind in ("job.*", "*", "job.running"):
        await change(fixture, first, events=(kind,))
    assert await versions(fixture) == [("ep_1", 0, '["job.running"]')]


async def test_a_change_of_anything_else_makes_no_version(fixture: StoreFixture) -> None:
    first = await fixture.endpoint("ep_1", "job.*")
    await ended(fixture)
    await change(fixture, first, description="a note", timeout=5.0, signatures=("v1a",))
    assert await versions(fixture) == [("ep_1", 0, '["job.*"]')]


async def test_a_version_after_the_removal_of_all_events_follows_the_earlier_ones(
    fixture: StoreFixture,
) -> None:
    first = await fixture.endpoint("ep_1", "job.*")
    await ended(fixture)
    last = (await places(fixture))[-1]
    await change(fixture, first, events=("job.failed",))
    await fixture.store.write(events.note_issued)
    ids = [row["id"] for row in await fixture.query("select id from event")]
    await fixture.store.write(lambda: events.remove(ids))
    await change(fixture, first, events=("*",))
    assert await versions(fixture) == [("ep_1", 0, '["job.*"]'), ("ep_1", last, '["*"]')]


async def test_versions_go_with_their_last_event(fixture: StoreFixture) -> None:
    first = await fixture.endpoint("ep_1", "job.*")
    marks = [0]
    for kind in ("job.failed", "*"):
        await ended(fixture)
        marks.append((await places(fixture))[-1])
        await change(fixture, first, events=(kind,))
    prune = partial(endpoint_versions.prune, 10)
    assert await fixture.store.write(prune) == 0
    found = await fixture.query("select id from event where seq <= :mark", mark=marks[1])
    ids = [row["id"] for row in found]
    await fixture.store.write(lambda: events.remove(ids))
    assert await fixture.store.write(prune) == 1
    assert [since for _, since, _ in await versions(fixture)] == marks[1:]


async def test_the_versions_of_a_removed_endpoint_go_with_it(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1", "job.*")
    await fixture.store.write(lambda: table.remove("ep_1", fixture.clock.at))
    assert await at(fixture, 1) == {}
    await fixture.store.write(lambda: table.cancel_removed("ep_1", "dlv_g", 10, fixture.clock.at))
    fixture.clock.pass_(seconds=1)
    assert await fixture.store.write(lambda: table.prune(fixture.clock.at, 10)) == 1
    assert await versions(fixture) == []
