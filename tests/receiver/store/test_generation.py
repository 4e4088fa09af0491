"""The generation: a random value that changes with each endpoint, key and blocked account."""

import pytest

from receiver.store.generation import bump, generation
from receiver.store.statements import Step, Transaction
from tests.receiver.store_fixture import StoreFixture


def test_the_order_lock_comes_before_the_change() -> None:
    steps = bump()
    assert next(steps) is Step.IN_ORDER
    changed = steps.send([])
    assert "update meta" in getattr(changed, "sql", "")


async def test_each_change_brings_a_generation_that_was_never_there(fixture: StoreFixture) -> None:
    seen = [await fixture.store.read(generation())]
    for _ in range(3):
        await fixture.store.write(bump)
        seen.append(await fixture.store.read(generation()))
    assert len(set(seen)) == 4
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in seen[1:])


async def test_a_rolled_back_change_brings_the_generation_back(fixture: StoreFixture) -> None:
    before = await fixture.store.read(generation())

    def failing() -> Transaction[None]:
        yield from bump()
        assert (yield from generation()) != before
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await fixture.store.write(failing)
    assert await fixture.store.read(generation()) == before


async def test_the_order_lock_tells_the_generation_that_it_protects(fixture: StoreFixture) -> None:
    await fixture.store.write(bump)

    def reading() -> Transaction[str]:
        [row] = yield Step.IN_ORDER
        return str(row["value"])

    assert await fixture.store.write(reading) == await fixture.store.read(generation())


async def test_an_endpoint_changes_the_generation(fixture: StoreFixture) -> None:
    before = await fixture.store.read(generation())
    await fixture.endpoint()
    assert await fixture.store.read(generation()) != before
