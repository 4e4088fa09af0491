"""Folding the statistics: all changes, however many, and nothing while there are none."""

import pytest

from receiver.domain.statistics import Sample
from receiver.store import rollups
from receiver.store.statements import Transaction
from tests.receiver.store_fixture import StoreFixture

DONE: Sample = ("events", ("job.succeeded",), None)


@pytest.mark.parametrize("many", [0, 1, 4, 5, 6, 9, 10, 11, 21])
async def test_all_changes_are_folded_in_pieces(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    # One transaction takes ten changes, read in pieces of five.
    monkeypatch.setattr(rollups, "AT_ONCE", 10)
    monkeypatch.setattr(rollups, "LOOK", 5)

    def changes() -> Transaction[None]:
        for _ in range(many):
            yield rollups.changes([DONE, DONE], fixture.clock.at)

    await fixture.store.write(changes)
    await fixture.services.retention.fold()
    assert await fixture.column("select count(*) from rollup_change") == [0]
    assert await fixture.column("select count from rollup where grain = 60") == ([2 * many] if many else [])
