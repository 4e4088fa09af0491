"""The senders' ids of messages: each is new once, until retention takes it."""

import asyncio
from datetime import timedelta

from receiver.store import source_messages
from tests.receiver.store_fixture import StoreFixture


async def added(fixture: StoreFixture, source: str, sender_id: str) -> bool:
    """Store the sender's id of a message now."""
    return await fixture.store.write(lambda: source_messages.add(source, sender_id, fixture.clock.at))


async def test_an_id_is_new_once_for_each_source(fixture: StoreFixture) -> None:
    ids = [("shop", "1"), ("shop", "2"), ("shop", "1"), ("pay", "1"), ("shop", "2")]
    assert [await added(fixture, *one) for one in ids] == [True, True, False, True, False]
    assert await added(fixture, "shop", "\ud800")
    # The name and the id cannot run into one another: a name has no `|`.
    assert await added(fixture, "shop", "|1")


async def test_of_many_at_once_one_is_new(fixture: StoreFixture) -> None:
    found = await asyncio.gather(*(added(fixture, "shop", "1") for _ in range(10)))
    assert sorted(found) == [False] * 9 + [True]


async def test_old_ids_are_forgotten_in_batches_the_oldest_first(fixture: StoreFixture) -> None:
    start = fixture.clock.at
    for number in range(5):
        assert await added(fixture, "shop", str(number))
        fixture.clock.pass_(hours=1)
    before = start + timedelta(hours=3)
    taken = [await fixture.store.write(lambda: source_messages.forget(before, 2)) for _ in range(3)]
    assert taken == [2, 1, 0]
    assert [await added(fixture, "shop", str(number)) for number in range(5)] == [
        True,
        True,
        True,
        False,
        False,
    ]
