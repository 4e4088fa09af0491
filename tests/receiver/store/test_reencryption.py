"""Re-encryption of stored secrets: every secret once, in pieces, or an error that names its owner."""

import pytest

from handlers.contract import Phase
from receiver.domain.clock import Clock
from receiver.domain.errors import Misconfigured
from receiver.domain.model import Job
from receiver.security.tokens import BadToken, MasterKeys
from receiver.store import endpoints, reencryption
from receiver.store.generation import generation
from receiver.store.reencryption import kids, reseal, sealed_endpoints, sealed_jobs
from receiver.store.sealing import EndpointSealer
from tests.receiver.master_keys import MASTERS, NEW, both
from tests.receiver.store_fixture import SECRET, StoreFixture, told, word

HEADERS = {"authorization": "Bearer theirs"}
ONLY_NEW = MasterKeys([NEW], Clock().entropy)


async def with_secret(fixture: StoreFixture, secret: str = "whsec_x") -> Job:
    """Return a submitted job whose callback secret is encrypted under the service's key."""
    job = fixture.job(callback_url="https://me.example/")
    sealed = fixture.services.core.master_keys.seal(secret, job.id)
    return await fixture.added(id=job.id, callback_url="https://me.example/", callback_secret=sealed)


# Endpoints.


async def test_endpoints_open_under_the_new_key_alone(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1", headers=HEADERS)
    await fixture.endpoint("ep_2")
    assert [await reseal(fixture.store, both()) for _ in range(2)] == [2, 0]
    rows = await fixture.store.read(sealed_endpoints())
    found = {row["id"]: EndpointSealer(ONLY_NEW).unseal(row) for row in rows}
    assert found == {"ep_1": (HEADERS, (SECRET,)), "ep_2": ({}, (SECRET,))}
    with pytest.raises(BadToken):
        EndpointSealer(MASTERS).unseal(rows[0])


async def test_every_replica_is_told_to_read_the_endpoints_again(fixture: StoreFixture) -> None:
    before = await fixture.store.read(generation())
    assert await reseal(fixture.store, both()) == 0
    assert await fixture.store.read(generation()) != before


async def test_headers_under_an_older_key_than_the_secrets_are_encrypted_anew(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1", headers=HEADERS)
    _, secrets = EndpointSealer(both()).seal("ep_1", {}, (SECRET,))
    await fixture.write("update endpoint set secrets = :secrets", secrets=secrets)
    assert await reseal(fixture.store, both()) == 1
    [row] = await fixture.store.read(sealed_endpoints())
    assert EndpointSealer(ONLY_NEW).unseal(row) == (HEADERS, (SECRET,))


async def test_a_removed_endpoint_is_left_as_it_is(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1")
    await fixture.store.write(lambda: endpoints.remove("ep_1", fixture.clock.at))
    assert await fixture.store.read(sealed_endpoints()) == []
    assert await fixture.store.read(kids()) == set()
    assert await reseal(fixture.store, ONLY_NEW) == 0


async def test_an_endpoint_under_an_unknown_key_is_named_and_nothing_changes(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1")
    before = await fixture.column("select secrets from endpoint")
    with pytest.raises(Misconfigured) as error:
        await reseal(fixture.store, ONLY_NEW)
    assert str(error.value) == (
        "secret_keys: the secret of the endpoint ep_1 needs a key that is not configured"
    )
    assert await fixture.column("select secrets from endpoint") == before


# Jobs.


async def test_callback_secrets_are_encrypted_anew_in_pieces_and_once(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.store.reencryption.BATCH", 2)
    jobs = []
    for _ in range(5):
        job = fixture.job(callback_url="https://me.example/")
        sealed = fixture.services.core.master_keys.seal("whsec_x", job.id)
        await fixture.promise(job.but(callback_secret=sealed))
        jobs.append(job.id)
        await fixture.promise()
    assert [await reseal(fixture.store, both()) for _ in range(2)] == [5, 0]
    found = await fixture.query(
        "select id, callback_secret from job where callback_secret is not null order by id"
    )
    assert [row["id"] for row in found] == jobs
    assert {both().unseal(row["callback_secret"], row["id"]) for row in found} == {"whsec_x"}


async def test_a_run_that_was_interrupted_goes_on_with_the_rest(
    fixture: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencryption, "BATCH", 1)
    first, second = await with_secret(fixture, "whsec_1"), await with_secret(fixture, "whsec_2")
    secret = await fixture.column("select callback_secret from job where id = :id", id=second.id)
    await fixture.write("update job set callback_secret = :odd where id = :id", odd=b"0badc0de", id=second.id)
    with pytest.raises(Misconfigured, match="the secret of a job's callback_secret needs a key"):
        await reseal(fixture.store, both())
    await fixture.write(
        "update job set callback_secret = :secret where id = :id", secret=secret[0], id=second.id
    )
    assert await reseal(fixture.store, both()) == 1
    found = await fixture.query("select id, callback_secret from job order by id")
    assert [ONLY_NEW.unseal(row["callback_secret"], row["id"]) for row in found] == ["whsec_1", "whsec_2"]
    assert [row["id"] for row in found] == [first.id, second.id]


async def test_sealed_jobs_are_read_in_pages_of_all_jobs(fixture: StoreFixture) -> None:
    plain, sealed, last = await fixture.added(), await with_secret(fixture), await with_secret(fixture)
    found, place = await fixture.store.read(sealed_jobs("", 2))
    assert ([row["id"] for row in found], place) == ([sealed.id], sealed.id)
    found, place = await fixture.store.read(sealed_jobs(place, 2))
    assert ([row["id"] for row in found], place) == ([last.id], "")
    assert await fixture.store.read(sealed_jobs(last.id, 2)) == ([], "")
    assert plain.id < sealed.id < last.id


async def test_the_keys_in_use_are_those_of_endpoints_and_open_jobs(fixture: StoreFixture) -> None:
    assert await fixture.store.read(kids()) == set()
    job = await with_secret(fixture)
    assert await fixture.store.read(kids()) == {MASTERS.newest}
    await fixture.write("update job set callback_secret = :secret", secret=both().seal("whsec_x", job.id))
    assert await fixture.store.read(kids()) == {both().newest}
    await fixture.endpoint()
    assert await fixture.store.read(kids()) == {MASTERS.newest, both().newest}
    ended = await fixture.submitted(callback_url="https://me.example/", callback_secret=b"0badc0de")
    assert await fixture.store.read(kids()) == {MASTERS.newest, both().newest, "0badc0de"}
    await fixture.hear(word(ended, fixture, told(Phase.SUCCEEDED)))
    assert await fixture.store.read(kids()) == {MASTERS.newest, both().newest}
