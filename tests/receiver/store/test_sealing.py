"""Encryption of stored endpoints: what is sealed opens again, and an unreadable endpoint loses nothing."""

import logging
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.contract import Phase
from receiver.domain.clock import Clock
from receiver.domain.errors import Conflict
from receiver.domain.model import Endpoint
from receiver.security.tokens import KID, BadToken, MasterKeys
from receiver.store import deliveries
from receiver.store.deliveries import ClaimedDelivery
from receiver.store.reencryption import reseal
from receiver.store.schema import TABLES
from receiver.store.sealing import UNREADABLE, EndpointSealer
from tests.receiver.master_keys import MASTERS, NEW, both
from tests.receiver.store_fixture import SECRET, START, StoreFixture, told, word

SEALER = EndpointSealer(MASTERS)
STRANGER = EndpointSealer(MasterKeys([NEW], Clock().entropy))
"""A sealer that lacks the key of the stored rows."""
ENDPOINT = Endpoint(
    id="ep_1",
    url="https://a.example/",
    events=("job.*",),
    created_at=START,
    updated_at=START,
    headers={"x-own": "1"},
    secrets=(SECRET, "whsec_older"),
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


def row_of(endpoint: Endpoint = ENDPOINT) -> dict[str, Any]:
    """Return the stored row of an endpoint, by column."""
    return by_column(SEALER.row(endpoint))


def by_column(row: tuple[Any, ...]) -> dict[str, Any]:
    """Return the values of a row of `endpoint` by column."""
    return dict(zip(TABLES["endpoint"], row, strict=True))


def test_an_endpoint_opens_as_it_was_sealed() -> None:
    assert SEALER.open(row_of()) == ENDPOINT
    bare = replace(ENDPOINT, headers={})
    assert row_of(bare)["headers"] is None
    assert SEALER.open(row_of(bare)) == bare


@given(st.dictionaries(TEXTS, TEXTS, max_size=3), st.lists(TEXTS, max_size=3))
def test_headers_and_secrets_come_back_as_they_were(headers: dict[str, str], secrets: list[str]) -> None:
    sealed = SEALER.seal("ep_1", headers, secrets)
    row = {"id": "ep_1", "headers": sealed[0], "secrets": sealed[1]}
    assert SEALER.unseal(row) == (headers, tuple(secrets))


def test_nothing_that_is_sealed_can_be_read_in_the_row() -> None:
    headers, secrets = SEALER.seal("ep_1", {"authorization": "Bearer theirs"}, (SECRET,))
    assert headers is not None
    assert (headers[:KID], secrets[:KID]) == (MASTERS.newest.encode(), MASTERS.newest.encode())
    assert b"Bearer" not in headers
    assert SECRET.encode() not in secrets


def test_a_row_without_its_key_opens_without_headers_and_secrets() -> None:
    with pytest.raises(BadToken):
        STRANGER.unseal(row_of())
    assert STRANGER.open(row_of()) == replace(ENDPOINT, headers={}, secrets=())


def test_what_was_sealed_for_one_endpoint_opens_for_no_other() -> None:
    with pytest.raises(BadToken):
        SEALER.unseal(row_of() | {"id": "ep_2"})


def test_a_change_of_other_fields_keeps_the_sealed_values() -> None:
    row = row_of()
    changed = by_column(EndpointSealer(both()).changed_row(replace(ENDPOINT, description="x"), row))
    assert changed == row | {"description": "x"}


@pytest.mark.parametrize(
    "change", [{"headers": {"x-own": "2"}}, {"headers": {}}, {"secrets": ("whsec_new",)}]
)
def test_a_change_of_headers_or_secrets_seals_both_anew(change: dict[str, Any]) -> None:
    fresh = replace(ENDPOINT, **change)
    sealer = EndpointSealer(both())
    changed = by_column(sealer.changed_row(fresh, row_of()))
    assert changed["secrets"][:KID] == both().newest.encode()
    assert sealer.unseal(changed) == (fresh.headers, fresh.secrets)


def test_an_unreadable_endpoint_keeps_its_sealed_values_through_other_changes() -> None:
    row = row_of()
    seen = STRANGER.open(row)
    assert by_column(STRANGER.changed_row(replace(seen, description="x"), row)) == row | {"description": "x"}
    for change in (replace(seen, headers={"x-own": "2"}), replace(seen, secrets=(SECRET,))):
        with pytest.raises(Conflict) as refused:
            STRANGER.changed_row(change, row)
        assert refused.value.detail == f"the endpoint's headers cannot be changed now: {UNREADABLE}"


async def test_an_endpoint_whose_secret_cannot_be_read_is_left_alone_and_as_it_is(
    fixture: StoreFixture, caplog: pytest.LogCaptureFixture
) -> None:
    await fixture.endpoint("ep_1", headers={"authorization": "Bearer theirs"})
    assert await reseal(fixture.store, both()) == 1
    assert await reseal(fixture.store, both()) == 0
    await fixture.services.api.endpoints.refresh()
    [said] = [one for one in caplog.records if "is not served" in one.getMessage()]
    assert (said.levelno, said.__dict__["endpoint"]) == (logging.ERROR, "ep_1")
    job = await fixture.submitted()
    [recorded] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
    [born] = recorded.deliveries
    sender = fixture.services.pinger.sender
    assert not sender.serves("ep_1")
    if born.claim is not None:
        await sender.perform(ClaimedDelivery(born.claim, born.delivery))
    found = await fixture.store.read(deliveries.get(born.delivery.id))
    assert found is not None
    assert (found[0].state, found[1], found[0].leased) == ("pending", [], False)
    await fixture.services.api.endpoints.update("ep_1", lambda fresh: replace(fresh, description="x"))
    with pytest.raises(Conflict, match="headers cannot be changed"):
        await fixture.services.api.endpoints.update(
            "ep_1", lambda fresh: replace(fresh, headers={"x-own": "1"})
        )
    [row] = await fixture.query("select id, headers, secrets, description from endpoint")
    headers, secrets = EndpointSealer(both()).unseal(row)
    assert (headers, secrets, row["description"]) == ({"authorization": "Bearer theirs"}, (SECRET,), "x")
