"""API keys: found by their hash, read again after half a second, and the first one of a deployment."""

import asyncio
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from receiver.api.api_keys import OLD, ApiKeyStore, Caller, open_api_keys
from receiver.config.key_files import API_KEY_FILE
from receiver.config.load import load
from receiver.config.settings import Settings
from receiver.domain.errors import Misconfigured, NotFound
from receiver.security.ids import IdGenerator
from receiver.security.tokens import hash_api_key
from receiver.store import Store
from receiver.store import api_keys as table
from receiver.store.api_keys import ApiKey
from tests.receiver.api_client import KEY
from tests.receiver.store_fixture import ManualClock, StoreFixture

UNKNOWN = hash_api_key("rb_" + "u" * 43)


@pytest.fixture
def keys(fixture: StoreFixture) -> ApiKeyStore:
    """Return the API keys of a service whose settings have an admin key."""
    return fixture.services.api.api_keys


class Interrupted(ApiKeyStore):
    """API keys of which others are changed while the first read is under way."""

    reads = 0

    async def all(self) -> list[ApiKey]:
        """Read every key, and announce a change during the first read."""
        self.reads += 1
        found = await ApiKeyStore.all(self)
        if self.reads == 1:
            self.forget()
        return found


async def made(keys: ApiKeyStore, *scopes: str, ends_in: timedelta | None = None) -> tuple[ApiKey, str]:
    """Return a new key with these scopes, and its text. It ends after `ends_in`, by default never."""
    ends = keys.clock.now() + ends_in if ends_in else None
    return await keys.create("orders", scopes or ("jobs:read",), ends)


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        (frozenset(), set()),
        (frozenset({"jobs:read"}), {"jobs:read"}),
        (frozenset({"jobs:write"}), set()),
        (frozenset({"admin"}), {"jobs:read", "admin", "events:read"}),
    ],
)
def test_a_caller_may_use_its_scopes_and_with_admin_every_scope(
    scopes: frozenset[str], allowed: set[str]
) -> None:
    caller = Caller("key_1", scopes)
    assert {one for one in ("jobs:read", "admin", "events:read") if caller.may(one)} == allowed


async def test_the_admin_key_of_the_settings_is_found_without_a_stored_key(keys: ApiKeyStore) -> None:
    assert await keys.find(hash_api_key(KEY)) == Caller("key_bootstrap", frozenset({"admin"}))
    assert await keys.find(UNKNOWN) is None
    assert await keys.all() == []


async def test_a_new_key_is_found_at_once_by_the_hash_of_its_text(keys: ApiKeyStore) -> None:
    assert await keys.find(UNKNOWN) is None  # the keys are read and cached before the new one is stored
    key, text = await made(keys, "jobs:read", "events:read")
    assert (text.startswith("rb_"), len(text)) == (True, 46)
    assert key.hash == hash_api_key(text)
    assert await keys.find(key.hash) == Caller(key.id, frozenset({"jobs:read", "events:read"}))
    assert await keys.all() == [key]


async def test_no_part_of_the_text_of_a_key_is_stored(keys: ApiKeyStore, fixture: StoreFixture) -> None:
    _, text = await made(keys)
    [row] = await fixture.query("select * from api_key")
    assert text[3:] not in repr(tuple(row))
    assert text[3:] not in repr(keys)


async def test_a_key_is_valid_until_the_moment_at_which_it_ends(
    keys: ApiKeyStore, fixture: StoreFixture
) -> None:
    key, _ = await made(keys, ends_in=timedelta(seconds=10))
    fixture.clock.pass_(milliseconds=9_999)
    assert (await keys.find(key.hash)) is not None
    fixture.clock.pass_(milliseconds=1)
    assert (await keys.find(key.hash)) is None


async def test_a_key_that_another_process_revokes_is_refused_within_a_second(
    keys: ApiKeyStore, fixture: StoreFixture
) -> None:
    key, _ = await made(keys)
    assert await keys.find(key.hash) is not None
    assert await fixture.store.write(lambda: table.delete(key.id))
    fixture.clock.pass_(seconds=OLD)
    assert await keys.find(key.hash) is not None
    fixture.clock.pass_(milliseconds=1)
    assert await keys.find(key.hash) is None


async def test_a_key_that_this_process_revokes_is_refused_at_once(keys: ApiKeyStore) -> None:
    (key, _), (other, _) = await made(keys), await made(keys)
    assert await keys.find(key.hash) is not None
    await keys.delete(key.id)
    assert await keys.find(key.hash) is None
    assert await keys.find(other.hash) is not None
    with pytest.raises(NotFound, match="no such key; GET /v1/keys lists those that are there"):
        await keys.delete(key.id)


async def test_keys_that_change_during_a_read_are_read_again(keys: ApiKeyStore) -> None:
    interrupted = Interrupted(keys.store, keys.clock, keys.ids)
    for reads in (1, 2, 2):
        assert await interrupted.find(UNKNOWN) is None
        assert interrupted.reads == reads


async def test_many_callers_find_their_keys_at_once(keys: ApiKeyStore) -> None:
    new = [(await made(keys))[0] for _ in range(3)]
    found = await asyncio.gather(*(keys.find(key.hash) for key in new))
    assert [one and one.id for one in found] == [key.id for key in new]


# The first key of a deployment.


def settings_in(folder: Path, **others: str) -> Settings:
    """Return settings without an admin key, for a database in `folder`."""
    config = folder / "ringback.toml"
    config.touch()
    return load(config, {"RINGBACK_DATABASE_URL": f"sqlite:///{folder}/ringback.db", **others}).settings


async def opened(settings: Settings, store: Store) -> ApiKeyStore:
    """Return the API keys of a deployment on `store`."""
    clock = ManualClock().clock()
    return await open_api_keys(settings, store, clock, IdGenerator(clock.now, clock.entropy))


async def test_a_deployment_without_a_key_gets_an_admin_key_in_a_private_file(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO", "ringback")
    keys = await opened(settings_in(tmp_path), store)
    path = tmp_path / API_KEY_FILE
    text = path.read_text().removesuffix("\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    [key] = await keys.all()
    assert (key.name, key.scopes, key.expires_at) == ("first", ("admin",), None)
    assert await keys.find(hash_api_key(text)) == Caller(key.id, frozenset({"admin"}))
    assert f"made an admin API key; it lies in {path}" in caplog.messages
    assert text not in caplog.text
    assert capsys.readouterr().err == ""


async def test_a_terminal_shows_the_first_key_once(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    await opened(settings_in(tmp_path), store)
    text = (tmp_path / API_KEY_FILE).read_text()
    assert capsys.readouterr().err == f"API key: {text}"
    await opened(settings_in(tmp_path), store)
    assert capsys.readouterr().err == ""


async def test_a_deployment_with_a_key_gets_no_other(tmp_path: Path, store: Store) -> None:
    settings = settings_in(tmp_path)
    [first] = await (await opened(settings, store)).all()
    (tmp_path / API_KEY_FILE).unlink()
    assert await (await opened(settings, store)).all() == [first]
    assert not (tmp_path / API_KEY_FILE).exists()


async def test_the_key_lies_in_the_data_dir_of_the_settings(tmp_path: Path, store: Store) -> None:
    await opened(settings_in(tmp_path, RINGBACK_DATA_DIR=str(tmp_path / "data")), store)
    assert (tmp_path / "data" / API_KEY_FILE).exists()
    assert not (tmp_path / API_KEY_FILE).exists()


async def test_with_an_admin_key_in_the_settings_none_is_made(tmp_path: Path, store: Store) -> None:
    keys = await opened(settings_in(tmp_path, RINGBACK_ADMIN_KEY=KEY), store)
    assert (await keys.all(), (tmp_path / API_KEY_FILE).exists()) == ([], False)
    assert (await keys.find(hash_api_key(KEY))) == Caller("key_bootstrap", frozenset({"admin"}))


async def test_a_stored_key_that_the_settings_name_as_well_stays_who_it_is(
    tmp_path: Path, store: Store
) -> None:
    """Its idempotency keys are its own, so that no order is paid twice after a move."""
    [first] = await (await opened(settings_in(tmp_path), store)).all()
    text = (tmp_path / API_KEY_FILE).read_text().strip()
    keys = await opened(settings_in(tmp_path, RINGBACK_ADMIN_KEY=text), store)
    assert await keys.find(hash_api_key(text)) == Caller(first.id, frozenset({"admin"}))


async def test_on_postgresql_the_first_key_must_come_from_the_settings(tmp_path: Path, store: Store) -> None:
    shared = settings_in(tmp_path).model_copy(update={"database_url": "postgresql://db.example/ringback"})
    with pytest.raises(
        Misconfigured, match=r"^admin_key: is required with PostgreSQL, the same for every replica$"
    ):
        await opened(shared, store)
    key = ApiKey(id="key_1", name="a", hash=UNKNOWN, scopes=("admin",), created_at=0, expires_at=None)
    await store.write(lambda: table.add(key))
    assert await (await opened(shared, store)).find(UNKNOWN) == Caller("key_1", frozenset({"admin"}))
