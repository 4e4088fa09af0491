"""The write of the readiness probe: its row changes each time."""

from pathlib import Path

import pytest

from receiver.domain.errors import StoreUnavailable
from receiver.store import probe
from receiver.store.generation import generation
from tests.receiver.store_fixture import StoreFixture, opened, write_locked


async def test_each_probe_writes_another_value(fixture: StoreFixture) -> None:
    seen = []
    for _ in range(4):
        await fixture.store.write(probe.write)
        seen += await fixture.column("select value from meta where key = 'probe'")
    assert seen == ["0", "1", "0", "1"]


async def test_a_probe_with_a_strange_value_starts_over(fixture: StoreFixture) -> None:
    await fixture.write("insert into meta values ('probe', 'x')")
    await fixture.store.write(probe.write)
    assert await fixture.column("select value from meta where key = 'probe'") == ["0"]


async def test_a_probe_leaves_the_other_rows_as_they_are(fixture: StoreFixture) -> None:
    before = await fixture.store.read(generation())
    await fixture.store.write(probe.write)
    assert await fixture.column("select value from meta where key = 'generation'") == [before]


async def test_a_probe_fails_where_nothing_can_be_written(impatient: None, path: Path) -> None:
    async with opened(path) as store:
        with write_locked(path), pytest.raises(StoreUnavailable):
            await store.write(probe.write)
        await store.write(probe.write)
