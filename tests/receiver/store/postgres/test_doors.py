"""How we get in: passwords, TLS, and servers that are full or say nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import trustme

from receiver.domain.errors import Misconfigured, NotReady, StoreUnavailable
from receiver.store import open_driver
from receiver.store.postgres import driver as postgres
from receiver.store.postgres.driver import PostgresDriver
from receiver.store.postgres.url import target
from receiver.store.statements import Transaction, query
from tests.cluster import Cluster
from tests.engines import VERSIONS
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


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A server that asks the user `careful` for a password."""
    made = Cluster(VERSIONS["postgresql18"])
    try:
        made.make(_with_doors)
        made.sql("ringback", f"create role careful login superuser password '{PASSWORD}'")
        made.sql("ringback", "create role crowded login connection limit 2")
        made.sql("ringback", "grant all on all tables in schema public to crowded")
        yield made
    finally:
        made.remove()


def _with_doors(data: Path) -> None:
    (data / "pg_hba.conf").write_text(HBA)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the certificate of the pooler: the servers of the wheel are built without TLS."""
    return trustme.CA()


@pytest.fixture(scope="module")
def pooler(server: Cluster, authority: trustme.CA) -> Iterator[Pooler]:
    """A pooler before it that speaks TLS only."""
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
    """A file of the certificates that are trusted."""
    authority.cert_pem.write_to_path(str(path))
    return path


@contextlib.asynccontextmanager
async def let_in(url: str) -> AsyncIterator[PostgresDriver]:
    """A driver that was let in."""
    driver = open_driver(url, on_fatal=print)
    assert isinstance(driver, PostgresDriver)
    await driver.open()
    try:
        yield driver
    finally:
        await driver.close()


async def refused(url: str) -> str:
    """Why a driver is not."""
    with pytest.raises(Misconfigured) as error:
        async with let_in(url):
            pass
    assert PASSWORD not in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


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


async def test_a_full_pool_is_told_as_unavailable(server: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = await asyncpg.connect(server.url("ringback"))
    await holder.execute("select pg_advisory_lock(7)")
    async with let_in(server.url("ringback") + "?connections=3") as driver:
        slow = asyncio.create_task(driver.read(_held_up()))
        while not await _running(driver, "pg_advisory_lock(7)"):
            pass
        with monkeypatch.context() as hasty:
            hasty.setattr(postgres, "CONNECT_SECONDS", 0.1)
            with pytest.raises(StoreUnavailable):
                await driver.read(_asked())
        await holder.close()
        await slow
        assert await driver.read(_asked()) == 1


async def test_a_server_that_says_nothing_more_is_given_up_and_taken_up_again(
    server: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "STATEMENT_SECONDS", -1.0)
    monkeypatch.setattr(postgres, "CONNECT_SECONDS", 1.0)
    talking = asyncio.Event()
    talking.set()

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(_slowly(reader, theirs[1], talking), _slowly(theirs[0], writer, talking))

    front = await asyncio.start_server(between, "127.0.0.1", 0)
    port = front.sockets[0].getsockname()[1]
    driver = PostgresDriver(target(f"postgresql://postgres@127.0.0.1:{port}/ringback"))
    await driver.open()
    talking.clear()
    with pytest.raises(StoreUnavailable):
        await driver.read(_asked())
    talking.set()
    assert await driver.read(_asked()) == 1
    await driver.close()
    front.close()


async def _slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, go: asyncio.Event) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            await go.wait()
            writer.write(data)
            await writer.drain()
    writer.close()


async def _running(driver: PostgresDriver, words: str) -> bool:
    def asking() -> Transaction[bool]:
        found = yield query(
            "select 1 from pg_stat_activity where state = 'active' and query like :words "
            "and pid <> pg_backend_pid()",
            words=f"%{words}%",
        )
        return bool(found)

    return await driver.write(asking())


def _held_up() -> Transaction[None]:
    yield query("select set_config('lock_timeout', '0', true), set_config('statement_timeout', '0', true)")
    yield query("select pg_advisory_lock(7)::text")


def _asked() -> Transaction[int]:
    found = yield query("select 1 as one")
    return int(found[0]["one"])
