"""Tests of `ringback secrets`: new master keys, re-encryption, and the errors of both."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from receiver.config.key_files import MASTERS_FILE, read_masters
from receiver.domain.clock import Clock
from receiver.domain.errors import Misconfigured
from receiver.security.tokens import kid_of
from receiver.store.statements import ms
from tests.engines import ENGINES
from tests.receiver.scripted_service import run
from tests.receiver.store_fixture import SECRET, store_fixture

OLD, NEW = "m" * 32, "n" * 32
NAMED = "name the settings of the service with --config, or set RINGBACK_DATABASE_URL and RINGBACK_DATA_DIR"


def served(folder: Path, secret_keys: tuple[str, ...] = (), **settings: str) -> None:
    """Run a service once that stores an endpoint. Without `secret_keys` its key is generated."""

    async def serve() -> None:
        keys = json.dumps(secret_keys)
        async with store_fixture(folder, secret_keys=keys, **settings) as fixture:
            await fixture.endpoint()

    asyncio.run(serve())


def secret_of(folder: Path, secret_keys: tuple[str, ...] = (), **settings: str) -> tuple[str, ...]:
    """Return the secrets of the endpoint as a service with these keys reads them."""

    async def serve() -> tuple[str, ...]:
        keys = json.dumps(secret_keys)
        async with store_fixture(folder, secret_keys=keys, **settings) as fixture:
            found = fixture.services.core.endpoint_cache.get("ep_1")
            assert found is not None
            return found.secrets

    return asyncio.run(serve())


def kid_in(path: Path) -> str:
    """Return the id of the key that encrypts the secrets of the endpoint in a file."""
    with closing(sqlite3.connect(path)) as database:
        return bytes(database.execute("select substr(secrets, 1, 8) from endpoint").fetchone()[0]).decode()


@pytest.fixture
def database(alone: Path, on_sqlite: None) -> Path:
    """Return the file of a service of this folder, with an endpoint and a generated master key."""
    served(alone)
    (alone / "ringback.toml").write_text('database_url = "sqlite:///store.db"')
    return alone / "store.db"


def test_a_new_key_stands_first_and_encrypts_everything(database: Path) -> None:
    [old] = read_masters(database.parent)
    result = run("secrets", "rotate")
    new, *others = read_masters(database.parent)
    assert others == [old]
    assert result.stdout.splitlines() == [
        "database: sqlite:///store.db",
        f"added master key {kid_of(new)} to {database.parent / MASTERS_FILE} and encrypted 1 rows under it",
        "the old key stands behind it in the same file",
        "keep the old key for 30 days: until then callbacks of open jobs and asset links may carry it",
    ]
    assert kid_in(database) == kid_of(new)
    assert secret_of(database.parent) == (SECRET,)


def test_the_old_key_is_kept_as_long_as_a_job_may_be_open(database: Path) -> None:
    result = run("secrets", "rotate", RINGBACK_ASSET_LINK_DAYS="0.5")
    assert "keep the old key for 7 days: " in result.stdout


def test_keys_that_are_set_are_not_rotated(database: Path) -> None:
    with pytest.raises(Misconfigured) as raised:
        run("secrets", "rotate", RINGBACK_SECRET_KEYS=json.dumps([OLD]))
    assert raised.value.setting == "secret_keys"
    assert raised.value.problem.startswith("are set: put the new key last and restart every replica, ")
    assert raised.value.problem.endswith("then run `ringback secrets reencrypt`")


@pytest.mark.parametrize("command", ["rotate", "reencrypt"])
def test_a_database_that_is_not_there_is_not_made(alone: Path, command: str) -> None:
    with pytest.raises(Misconfigured) as raised:
        run("secrets", command)
    assert str(raised.value) == f"database_url: there is no file ringback.db; {NAMED}"
    assert list(alone.iterdir()) == []


@pytest.mark.parametrize("command", ["rotate", "reencrypt"])
def test_a_database_without_its_keys_is_left_alone(database: Path, command: str) -> None:
    before = kid_in(database)
    (database.parent / MASTERS_FILE).unlink()
    with pytest.raises(Misconfigured) as raised:
        run("secrets", command)
    path = database.parent / MASTERS_FILE
    assert str(raised.value) == f"data_dir: there are no master keys in {path}; {NAMED}"
    assert (kid_in(database), path.exists()) == (before, False)


@pytest.mark.parametrize("command", ["rotate", "reencrypt"])
def test_with_postgresql_the_keys_must_be_set(alone: Path, command: str) -> None:
    with pytest.raises(Misconfigured) as raised:
        run("secrets", command, RINGBACK_DATABASE_URL="postgresql://me@db/x")
    assert str(raised.value) == "secret_keys: are required with PostgreSQL, the same for every replica"


@pytest.mark.usefixtures("on_sqlite")
def test_secrets_are_encrypted_under_the_first_of_the_keys_that_are_set(alone: Path) -> None:
    served(alone, (OLD,))
    variables = {
        "RINGBACK_DATABASE_URL": "sqlite:///store.db",
        "RINGBACK_SECRET_KEYS": json.dumps([NEW, OLD]),
        "RINGBACK_ASSET_LINK_DAYS": "45.5",
    }
    result = run("secrets", "reencrypt", **variables)
    assert result.stdout.splitlines() == [
        "database: sqlite:///store.db",
        "encrypted 1 rows under the newest key",
        "keep the old key for 45.5 days: until then callbacks of open jobs and asset links may carry it",
    ]
    assert kid_in(alone / "store.db") == kid_of(NEW)
    assert secret_of(alone, (NEW,)) == (SECRET,)
    assert "encrypted 0 rows" in run("secrets", "reencrypt", **variables).stdout


def test_secrets_are_encrypted_under_the_first_key_of_the_file(database: Path) -> None:
    path = database.parent / MASTERS_FILE
    path.write_text(f"{NEW}\n{path.read_text()}")
    assert "encrypted 1 rows under the newest key\n" in run("secrets", "reencrypt").stdout
    assert kid_in(database) == kid_of(NEW)


def test_a_secret_whose_key_is_not_there_is_told(database: Path) -> None:
    (database.parent / MASTERS_FILE).write_text(NEW)
    with pytest.raises(Misconfigured) as raised:
        run("secrets", "reencrypt")
    problem = "the secret of the endpoint ep_1 needs a key that is not configured"
    assert str(raised.value) == f"secret_keys: {problem}"


@pytest.mark.usefixtures("on_postgres")
def test_a_replica_without_the_newest_key_prevents_an_encryption(alone: Path) -> None:
    served(alone, (OLD,))
    url = ENGINES.url(alone / "store.db")
    name = url.rsplit("/", 1)[1].partition("?")[0]
    row = f"('rpc_1', 'all', {ms(Clock().now())}, '{kid_of(OLD)}')"
    ENGINES.cluster.sql(name, f"insert into replica (id, role, seen_at, kids) values {row}")
    variables = {"RINGBACK_DATABASE_URL": url, "RINGBACK_SECRET_KEYS": json.dumps([NEW, OLD])}
    with pytest.raises(Misconfigured) as raised:
        run("secrets", "reencrypt", **variables)
    assert raised.value.setting == "secret_keys"
    says = f"a running replica does not have the newest key ({kid_of(NEW)}) yet; first restart all replicas"
    assert raised.value.problem.startswith(says)
    ENGINES.cluster.sql(name, f"update replica set kids = '{kid_of(OLD)} {kid_of(NEW)}'")
    assert "encrypted 1 rows under the newest key\n" in run("secrets", "reencrypt", **variables).stdout
    assert secret_of(alone, (NEW,)) == (SECRET,)
