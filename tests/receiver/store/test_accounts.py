"""Blocked accounts in a real store: blocked once, numbered, unblocked."""

from functools import partial

from receiver.store import accounts
from receiver.store.generation import generation
from receiver.store.statements import ms
from tests.receiver.store_fixture import START, StoreFixture


async def block(fixture: StoreFixture, account: str, reason: str) -> int | None:
    """Block an account now. Returns the number of the block."""
    return await fixture.store.write(partial(accounts.block, account, reason, fixture.clock.at))


async def unblock(fixture: StoreFixture, account: str) -> int | None:
    """Unblock an account. Returns the number of the block that ended."""
    return await fixture.store.write(partial(accounts.unblock, account))


async def test_an_account_is_blocked_with_the_time_and_the_reason(fixture: StoreFixture) -> None:
    assert await fixture.store.read(accounts.blocked()) == {}
    assert await block(fixture, "aiml", "401") == 1
    fixture.clock.pass_(seconds=1)
    assert await block(fixture, "minimax", "402") == 1
    assert await fixture.store.read(accounts.blocked()) == {
        "aiml": (ms(START), "401"),
        "minimax": (ms(START) + 1000, "402"),
    }


async def test_a_second_block_counts_only_after_the_first_has_ended(fixture: StoreFixture) -> None:
    await block(fixture, "aiml", "401")
    fixture.clock.pass_(seconds=1)
    assert await block(fixture, "aiml", "403") is None
    assert await fixture.store.read(accounts.blocked()) == {"aiml": (ms(START), "401")}
    assert await unblock(fixture, "aiml") == 1
    assert await block(fixture, "aiml", "403") == 2
    assert await fixture.store.read(accounts.blocked()) == {"aiml": (ms(START) + 1000, "403")}
    assert await unblock(fixture, "aiml") == 2


async def test_only_a_blocked_account_can_be_unblocked(fixture: StoreFixture) -> None:
    assert await unblock(fixture, "aiml") is None
    await block(fixture, "aiml", "401")
    await block(fixture, "minimax", "402")
    assert await unblock(fixture, "aiml") == 1
    assert await unblock(fixture, "aiml") is None
    assert await fixture.store.read(accounts.blocked()) == {"minimax": (ms(START), "402")}
    [row] = await fixture.query("select blocked_at, reason, blocks from account where name = 'aiml'")
    assert (row["blocked_at"], row["reason"], row["blocks"]) == (None, None, 1)


async def test_a_block_and_its_end_invalidate_what_other_processes_have_cached(fixture: StoreFixture) -> None:
    generations = [await fixture.store.read(generation())]
    await block(fixture, "aiml", "401")
    generations.append(await fixture.store.read(generation()))
    await unblock(fixture, "aiml")
    generations.append(await fixture.store.read(generation()))
    assert len(set(generations)) == 3
