"""Counts of accounts in a real store: added up by minute, and removed after an hour."""

from collections import Counter
from functools import partial

from receiver.store import account_counts
from tests.receiver.store_fixture import StoreFixture


async def test_counts_of_several_processes_add_up_and_end_after_an_hour(fixture: StoreFixture) -> None:
    for minute in (100, 101, 101):
        counts = {("aiml", minute, "polls"): 2, ("aiml", minute, "errors"): 1, ("gately", minute, "polls"): 1}
        await fixture.store.write(partial(account_counts.add, counts, minute - 59))
    told_ = {"aiml": Counter(polls=6, errors=3), "gately": Counter(polls=3)}
    assert await fixture.store.read(account_counts.totals(42)) == told_
    assert await fixture.store.read(account_counts.totals(101)) == {
        "aiml": Counter(polls=4, errors=2),
        "gately": Counter(polls=2),
    }
    await fixture.store.write(lambda: account_counts.add({("aiml", 160, "polls"): 1}, 101))
    assert await fixture.store.read(account_counts.totals(0)) == {
        "aiml": Counter(polls=5, errors=2),
        "gately": Counter(polls=2),
    }


async def test_minutes_before_the_oldest_are_deleted_even_when_nothing_is_added(
    fixture: StoreFixture,
) -> None:
    minutes = {("aiml", minute, "polls"): 1 for minute in (99, 100, 101)}
    await fixture.store.write(partial(account_counts.add, minutes, 0))
    await fixture.store.write(partial(account_counts.add, {}, 100))
    assert await fixture.store.read(account_counts.totals(0)) == {"aiml": Counter(polls=2)}
    await fixture.store.write(partial(account_counts.add, {}, 102))
    assert await fixture.store.read(account_counts.totals(0)) == {}


async def test_a_count_of_a_minute_that_has_passed_is_not_kept(fixture: StoreFixture) -> None:
    counts = {("aiml", 99, "polls"): 5, ("aiml", 100, "errors"): 1}
    await fixture.store.write(partial(account_counts.add, counts, 100))
    assert await fixture.store.read(account_counts.totals(0)) == {"aiml": Counter(errors=1)}
