"""API keys in a real store: limited in number, listed, revoked."""

from functools import partial

import pytest

from receiver.domain.errors import Conflict
from receiver.store import api_keys
from receiver.store.api_keys import ApiKey
from receiver.store.generation import generation
from tests.receiver.store_fixture import StoreFixture


async def test_there_are_so_many_keys_and_no_more(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "MOST_KEYS", 1)
    one, two = (
        ApiKey(
            id=f"key_{name}",
            name=name,
            hash=name.encode(),
            scopes=("jobs:read",),
            created_at=0,
            expires_at=None,
        )
        for name in "ab"
    )
    await fixture.store.write(lambda: api_keys.add(one))
    with pytest.raises(Conflict, match="1 API keys already"):
        await fixture.store.write(lambda: api_keys.add(two))
    await fixture.store.write(lambda: api_keys.delete(one.id))
    await fixture.store.write(lambda: api_keys.add(two))


def key(name: str, *scopes: str, expires_at: int | None = None) -> ApiKey:
    """Return an API key."""
    return ApiKey(
        id=f"key_{name}",
        name=name,
        hash=name.encode() + b"\x00\xff",
        scopes=scopes,
        created_at=1000,
        expires_at=expires_at,
    )


async def test_keys_come_back_as_they_were_stored_newest_first(fixture: StoreFixture) -> None:
    made = [key("a", "jobs:read", "jobs:write"), key("b"), key("c", "admin", expires_at=2000)]
    for one in made:
        await fixture.store.write(partial(api_keys.add, one))
    assert await fixture.store.read(api_keys.list_all()) == made[::-1]


async def test_a_key_is_revoked_once_and_no_other_with_it(fixture: StoreFixture) -> None:
    for name in ("a", "b"):
        await fixture.store.write(partial(api_keys.add, key(name)))
    assert await fixture.store.write(partial(api_keys.delete, "key_a")) is True
    assert await fixture.store.read(api_keys.list_all()) == [key("b")]
    assert await fixture.store.write(partial(api_keys.delete, "key_a")) is False
    assert await fixture.store.write(partial(api_keys.delete, "key_unknown")) is False


async def test_a_new_and_a_revoked_key_invalidate_what_other_processes_have_cached(
    fixture: StoreFixture,
) -> None:
    generations = [await fixture.store.read(generation())]
    await fixture.store.write(partial(api_keys.add, key("a")))
    generations.append(await fixture.store.read(generation()))
    await fixture.store.write(partial(api_keys.delete, "key_a"))
    generations.append(await fixture.store.read(generation()))
    assert len(set(generations)) == 3
