"""Errors of a start that cannot use a PostgreSQL database: passwords, TLS, full servers, wrong URLs."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import trustme

from receiver.domain.errors import Misconfigured, NotReady
from receiver.store import open_driver
from receiver.store.postgres import errors
from receiver.store.postgres.driver import PostgresDriver
from tests.cluster import Cluster
from tests.engines import ENGINES, VERSIONS
from tests.pooler import Pooler

HBA = """
host all careful all scram-sha-256
host all all all trust
"""
TLS = """
client_tls_sslmode = require
client_tls_key_file = {folder}/key
client_tls_cert_file = {folder}/certificate
"""
PASSWORD = "hunter2"
ADDRESSES = ["db:5432"]
REFUSALS: dict[str, tuple[BaseException, type[Misconfigured], str]] = {
    "a wrong password": (
        asyncpg.InvalidPasswordError("no entry"),
        Misconfigured,
        "the server refuses this user or its password (no entry)",
    ),
    "an unknown database": (
        asyncpg.InvalidCatalogNameError('"x" does not exist'),
        Misconfigured,
        'the server has no such database ("x" does not exist)',
    ),
    "a standby": (
        asyncpg.TargetServerAttributeNotMatched("read-only"),
        Misconfigured,
        "the server only reads (a standby); name the primary",
    ),
    "no connection left": (
        asyncpg.TooManyConnectionsError("sorry"),
        NotReady,
        "the server has no connection left for us (sorry)",
    ),
    "a role without rights": (
        asyncpg.InsufficientPrivilegeError("denied"),
        Misconfigured,
        "this role may not use the database's schema (denied)",
    ),
    "a server that starts": (
        asyncpg.CannotConnectNowError("starting up"),
        NotReady,
        "the server is starting or stopping (starting up)",
    ),
    "a wrong certificate": (ssl.SSLError(1, "bad"), Misconfigured, "TLS to the server fails"),
    "a file that is not there": (
        FileNotFoundError(2, "no file"),
        Misconfigured,
        "a file that the URL names (a certificate, a key, a socket) cannot be read",
    ),
    "silence": (
        TimeoutError(),
        NotReady,
        "the server db:5432 does not answer; start it, or correct the URL",
    ),
    "a closed port": (
        ConnectionRefusedError(111, "refused"),
        NotReady,
        "cannot connect to db:5432; start a server there, or correct the URL",
    ),
    "a wrong option": (ValueError("hunter2"), Misconfigured, "is no URL of a PostgreSQL database"),
    "another error of the server": (
        asyncpg.DataError("odd"),
        Misconfigured,
        "the database cannot be used: DataError (odd)",
    ),
    "an error of another kind": (KeyError("hunter2"), Misconfigured, "the database cannot be used: KeyError"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """Yield a server that asks the user `careful` for a password and admits two sessions of `crowded`."""
    made = Cluster(VERSIONS["postgresql18"])
    try:
        made.make(_ask_for_passwords)
        made.sql("ringback", f"create role careful login superuser password '{PASSWORD}'")
        made.sql("ringback", "create role crowded login connection limit 2")
        made.sql("ringback", "grant all on all tables in schema public to crowded")
        yield made
    finally:
        made.remove()


def _ask_for_passwords(data: Path) -> None:
    (data / "pg_hba.conf").write_text(HBA)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return the authority for the certificate of the pooler: the servers of the wheel lack TLS."""
    return trustme.CA()


@pytest.fixture(scope="module")
def pooler(server: Cluster, authority: trustme.CA) -> Iterator[Pooler]:
    """Yield a pooler in front of the server that accepts only TLS."""
    issued = authority.issue_cert("127.0.0.1")
    made = Pooler(server, more=TLS)
    issued.private_key_pem.write_to_path(str(made.folder / "key"))
    issued.cert_chain_pems[0].write_to_path(str(made.folder / "certificate"))
    for name in ("key", "certificate"):
        (made.folder / name).chmod(0o644)
    made.start()
    yield made
    made.remove()


def trusting(path: Path, authority: trustme.CA) -> Path:
    """Write the certificate of `authority` to a file. Returns its path."""
    authority.cert_pem.write_to_path(str(path))
    return path


@contextlib.asynccontextmanager
async def let_in(url: str) -> AsyncIterator[PostgresDriver]:
    """Yield a driver that is connected."""
    driver = open_driver(url, on_fatal=print)
    assert isinstance(driver, PostgresDriver)
    await driver.open()
    try:
        yield driver
    finally:
        await driver.close()


async def refused(url: str) -> str:
    """Return the reason for which a driver cannot connect."""
    with pytest.raises(Misconfigured) as error:
        async with let_in(url):
            pass
    assert PASSWORD not in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


async def refusal(url: str) -> str:
    """Return the reason for which a database is refused at the start."""
    driver = open_driver(url, on_fatal=print)

    async def start() -> None:
        await driver.open()
        try:
            await driver.pending()
        finally:
            await driver.close()

    with pytest.raises(Misconfigured) as refused:
        await start()
    assert "hunter2" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(("error", "kind", "problem"), REFUSALS.values(), ids=REFUSALS)
def test_each_error_has_its_reason_and_may_pass_or_not(
    error: BaseException, kind: type[Misconfigured], problem: str
) -> None:
    found = errors.refusal(error, ADDRESSES)
    assert (type(found), found.setting, found.problem) == (kind, "database_url", problem)


@pytest.mark.parametrize(
    ("addresses", "place"),
    [([], "it"), (["a:1"], "a:1"), (["a:1", "/run/postgresql"], "a:1 or /run/postgresql")],
)
def test_a_reason_names_every_address_that_was_tried(addresses: list[str], place: str) -> None:
    found = errors.refusal(OSError(), addresses)
    assert found.problem == f"cannot connect to {place}; start a server there, or correct the URL"


def test_a_reason_stays_on_one_line() -> None:
    found = errors.refusal(asyncpg.InvalidPasswordError("one\ntwo"))
    assert str(found) == r"database_url: the server refuses this user or its password (one\ntwo)"


@pytest.mark.usefixtures("on_postgres")
async def test_a_start_says_in_one_line_what_is_wrong() -> None:
    server, name = ENGINES.cluster, ENGINES.cluster.database().rsplit("/", 1)[1]
    there = f"127.0.0.1:{server.port}"
    mute = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    silent = mute.sockets[0].getsockname()[1]
    server.sql(name, "create schema ours; create table ours.job (id text)")
    server.sql("ringback", f"alter database {name} set search_path = ours")
    said = {
        "user or its password": f"postgresql://stranger:hunter2@{there}/{name}",
        "no such database": f"postgresql://postgres:hunter2@{there}/nowhere",
        "cannot connect to 127.0.0.1:1": "postgresql://postgres:hunter2@127.0.0.1:1/x",
        f"the server 127.0.0.1:{silent} does not answer": f"postgresql://postgres:hunter2@127.0.0.1:{silent}/x",
        "tables that are not ours": f"postgresql://postgres:hunter2@{there}/{name}",
        "no URL": f"postgresql://postgres:hunter2@{there}/{name}?sslmode=perhaps",
    }
    found = await asyncio.gather(*(refusal(url) for url in said.values()))
    mute.close()
    for words, line in zip(said, found, strict=True):
        assert words in line, line
        assert "\n" not in line


async def test_a_password_lets_us_in_and_a_wrong_one_does_not(server: Cluster) -> None:
    there = f"127.0.0.1:{server.port}/ringback"
    async with let_in(f"postgresql://careful:{PASSWORD}@{there}") as driver:
        assert await driver.pending() == []
    for given in (f":{PASSWORD}000", ""):
        assert "user or its password" in await refused(f"postgresql://careful{given}@{there}")


async def test_a_certificate_is_verified_when_the_url_says_so(
    pooler: Pooler, authority: trustme.CA, tmp_path: Path
) -> None:
    ours, other = trusting(tmp_path / "ca.pem", authority), trusting(tmp_path / "other.pem", trustme.CA())
    url = pooler.url("ringback")
    for options in ("sslmode=require", f"sslmode=verify-full&sslrootcert={ours}"):
        async with let_in(f"{url}&{options}") as driver:
            assert await driver.pending() == []
    strict = f"{url}&sslmode=verify-full&sslrootcert="
    assert "TLS to the server fails" in await refused(f"{strict}{other}")
    assert "TLS to the server fails" in await refused(f"{strict}{ours}".replace("127.0.0.1", "localhost"))
    assert "cannot be read" in await refused(f"{strict}{tmp_path}/nowhere.pem")
    assert "SSL required" in await refused(f"{url}&sslmode=disable")


async def test_a_full_server_is_told_and_may_have_room_later(server: Cluster) -> None:
    url = f"postgresql://crowded@127.0.0.1:{server.port}/ringback?connections=3"
    async with let_in(url):
        with pytest.raises(NotReady, match="no connection left"):
            async with let_in(url):
                pass
    async with let_in(url) as driver:
        assert await driver.pending() == []
