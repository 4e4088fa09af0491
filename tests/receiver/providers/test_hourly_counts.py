"""Counts of the last hour: known at once in their own process, kept while the store is unavailable."""

from datetime import timedelta
from pathlib import Path

import pytest

from receiver.domain.clock import Clock
from receiver.domain.errors import StoreUnavailable
from receiver.providers.hourly_counts import MINUTES, HourlyCounts
from tests.receiver.store_fixture import opened
from tests.stories.tools import Moving


async def test_counts_are_told_at_once_and_last_an_hour(tmp_path: Path) -> None:
    moving = Moving()
    async with opened(tmp_path / "a.db") as store:
        one, other = HourlyCounts(store, moving.clock), HourlyCounts(store, moving.clock)
        one.count("aiml", "polls")
        assert await one.totals() == {"aiml": {"polls": 1}}
        assert await other.totals() == {}
        await one.flush()
        other.count("aiml", "polls")
        for tally, polls in ((one, 1), (other, 2)):
            assert await tally.totals() == {"aiml": {"polls": polls}}
        moving.wall += timedelta(minutes=MINUTES)
        assert await other.totals() == {}


async def test_what_cannot_be_stored_now_is_kept(tmp_path: Path) -> None:
    async with opened(tmp_path / "a.db") as store:
        tally = HourlyCounts(store, Clock())
        tally.count("aiml", "polls")
    with pytest.raises(StoreUnavailable):
        await tally.flush()
    async with opened(tmp_path / "a.db") as store:
        tally._store = store
        await tally.flush()
        assert await HourlyCounts(store, Clock()).totals() == {"aiml": {"polls": 1}}
