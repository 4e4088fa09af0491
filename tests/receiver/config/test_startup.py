"""Tests of the parts that a start makes from its settings: master keys, their folder, and the HTTP client."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from receiver.config.key_files import MASTERS_FILE
from receiver.config.settings import Settings
from receiver.config.startup import check_master_keys, client_of, data_dir, master_keys_of, require
from receiver.domain.errors import Misconfigured
from receiver.egress.address_guard import BadUrl
from receiver.egress.client import HttpCall
from receiver.egress.logged_client import LoggedClient
from receiver.security.tokens import MasterKeys, kid_of
from tests.receiver.authorities import Authorities
from tests.receiver.raw_server import OK, Peer, replaying, serving
from tests.receiver.store_fixture import ManualClock, StoreFixture

POSTGRES = "postgresql://me@db/x"


def settings(**values: Any) -> Settings:
    """Return settings with these values."""
    return Settings.model_validate(values)


def test_keys_lie_beside_the_database_unless_a_folder_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert data_dir(settings()) == tmp_path
    assert data_dir(settings(database_url="sqlite:///data/x.db")) == tmp_path / "data"
    assert data_dir(settings(database_url="sqlite:////var/lib/x.db")) == Path("/var/lib")
    assert data_dir(settings(data_dir="keys")) == Path("keys")
    assert data_dir(settings(data_dir="/keys", database_url=POSTGRES)) == Path("/keys")


def test_the_folder_of_a_linked_database_is_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "real" / "x.db")
    assert data_dir(settings(database_url=f"sqlite:///{tmp_path}/link.db")) == tmp_path / "real"


def test_only_postgresql_requires_what_all_replicas_share() -> None:
    require(settings(), "secret_keys")
    with pytest.raises(Misconfigured) as raised:
        require(settings(database_url=POSTGRES), "admin_key")
    assert str(raised.value) == "admin_key: is required with PostgreSQL, the same for every replica"


def test_master_keys_that_are_set_are_taken_in_their_order(tmp_path: Path) -> None:
    given = settings(secret_keys=["n" * 32, "m" * 32], data_dir=str(tmp_path))
    keys = master_keys_of(given, ManualClock().clock())
    assert keys.kids == (kid_of("n" * 32), kid_of("m" * 32))
    assert list(tmp_path.iterdir()) == []


def test_a_master_key_is_made_once(tmp_path: Path) -> None:
    given, clock = settings(data_dir=str(tmp_path)), ManualClock().clock()
    first = master_keys_of(given, clock)
    assert len(first.kids) == 1
    assert [path.name for path in tmp_path.iterdir()] == [MASTERS_FILE]
    assert master_keys_of(given, clock).kids == first.kids
    assert master_keys_of(settings(data_dir=str(tmp_path / "other")), clock).kids != first.kids


def test_no_master_key_is_made_for_postgresql(tmp_path: Path) -> None:
    given = settings(database_url=POSTGRES, data_dir=str(tmp_path))
    with pytest.raises(Misconfigured, match=r"^secret_keys: is required with PostgreSQL"):
        master_keys_of(given, ManualClock().clock())
    assert list(tmp_path.iterdir()) == []


async def test_the_client_calls_what_the_settings_allow() -> None:
    client = client_of(settings(egress_allow=["127.0.0.0/8"]))
    async with serving(replaying(OK)) as server:
        answer = await client.call(HttpCall(method="GET", url=server.url("/x")))
    assert answer.body == b"ok"
    for url in ("http://10.0.0.1/", "http://192.0.1.1/"):
        with pytest.raises(BadUrl):
            client.check(url)
    await client.close()
    assert isinstance(client, LoggedClient)


async def test_the_client_says_which_program_calls() -> None:
    requests = []

    async def script(peer: Peer) -> None:
        requests.append(await peer.request())
        await peer.send(OK)

    client = client_of(settings(egress_allow=["127.0.0.0/8"]))
    async with serving(script) as server:
        await client.call(HttpCall(method="GET", url=server.url()))
    await client.close()
    assert f"user-agent: ringback/{version('ringback')}\r\n".encode() in requests[0]


async def test_plain_http_to_public_addresses_is_a_setting() -> None:
    client = client_of(settings(egress_http=True))
    client.check("http://192.0.1.1/")
    with pytest.raises(BadUrl):
        client.check("http://127.0.0.1/")
    await client.close()


async def test_a_file_of_certificates_is_trusted(tmp_path: Path) -> None:
    client = client_of(settings(egress_ca_file=str(Authorities(tmp_path).file)))
    client.check("https://192.0.1.1/")
    await client.close()


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
async def test_a_file_that_holds_no_certificates_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Misconfigured) as raised:
        client_of(settings(egress_ca_file=str(path)))
    assert str(raised.value) == "egress_ca_file: cannot be read as certificates (PEM)"


async def test_every_master_key_that_a_stored_secret_needs_must_be_there(fixture: StoreFixture) -> None:
    entropy = fixture.clock.clock().entropy
    other = MasterKeys(["n" * 32], entropy)
    await check_master_keys(fixture.store, other)
    await fixture.endpoint()
    await check_master_keys(fixture.store, fixture.services.core.master_keys)
    await check_master_keys(fixture.store, MasterKeys(["n" * 32, "m" * 32], entropy))
    with pytest.raises(Misconfigured) as raised:
        await check_master_keys(fixture.store, other)
    kid = kid_of("m" * 32)
    assert (
        str(raised.value) == f"secret_keys: stored secrets need the master key {kid}, which is not configured"
    )
