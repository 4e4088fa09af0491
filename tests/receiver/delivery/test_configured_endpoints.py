"""Endpoints of the settings file: stored at start as the file has them, next to those of the API."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from receiver.config.settings import EndpointSettings
from receiver.delivery import configured_endpoints
from receiver.domain.errors import Misconfigured
from receiver.domain.model import Endpoint, EndpointState
from receiver.security.signing import key_of
from receiver.store import endpoints as table
from receiver.store import holds
from receiver.store.generation import generation
from receiver.store.sealing import UNREADABLE
from tests.receiver.store_fixture import SECRET, StoreFixture

URL = "https://crm.example/hooks"
OTHER = "whsec_" + "C" * 43 + "="


def wanted(**others: Any) -> EndpointSettings:
    """Return the settings of the endpoint `crm`, with these fields changed."""
    return EndpointSettings.model_validate({"id": "crm", "url": URL, **others})


async def sync(fixture: StoreFixture, *configured: EndpointSettings) -> None:
    """Make the stored endpoints those of a settings file."""
    core = fixture.services.core
    check = core.client.check
    await configured_endpoints.sync(configured, core.sealer, check, fixture.store, core.clock)


async def stored(fixture: StoreFixture, endpoint_id: str = "crm") -> Endpoint:
    """Return a stored endpoint."""
    return await fixture.services.api.endpoints.get(endpoint_id)


async def test_a_new_endpoint_is_stored_with_all_its_settings(fixture: StoreFixture) -> None:
    asked = wanted(
        events=["job.failed", "provider.*"],
        description="the CRM",
        headers={"authorization": "Bearer theirs"},
        secret=SECRET,
        include=["result"],
        max_in_flight=3,
    )
    await sync(fixture, asked)
    assert await stored(fixture) == Endpoint(
        id="crm",
        url=URL,
        events=("job.failed", "provider.*"),
        created_at=fixture.clock.at,
        updated_at=fixture.clock.at,
        description="the CRM",
        headers={"authorization": "Bearer theirs"},
        include=("result",),
        max_in_flight=3,
        secrets=(SECRET,),
        from_file=True,
    )


async def test_a_secret_that_is_missing_in_the_file_is_made_once(fixture: StoreFixture) -> None:
    await sync(fixture, wanted())
    [made] = (await stored(fixture)).secrets
    assert len(key_of(made)) == 32
    await sync(fixture, wanted(description="changed"))
    endpoint = await stored(fixture)
    assert (endpoint.secrets, endpoint.description) == ((made,), "changed")


async def test_a_secret_in_the_file_replaces_the_stored_one(fixture: StoreFixture) -> None:
    await sync(fixture, wanted(secret=SECRET))
    await sync(fixture, wanted(secret=OTHER))
    assert (await stored(fixture)).secrets == (OTHER,)


async def test_a_changed_endpoint_keeps_its_state_and_its_times(fixture: StoreFixture) -> None:
    await sync(fixture, wanted())
    made = fixture.clock.at
    fixture.clock.pass_(seconds=1)
    disabled = partial(table.set_state, "crm", "disabled", "410", fixture.clock.at)
    await fixture.store.write(disabled)
    fixture.clock.pass_(seconds=1)
    await sync(fixture, wanted(url="https://new.example/"))
    endpoint = await stored(fixture)
    assert (endpoint.url, endpoint.state, endpoint.disabled_reason) == (
        "https://new.example/",
        EndpointState.DISABLED,
        "410",
    )
    assert (endpoint.created_at, (endpoint.updated_at - made).total_seconds()) == (made, 1.0)


async def test_an_unchanged_endpoint_is_not_written(fixture: StoreFixture) -> None:
    await sync(fixture, wanted(headers={"x-own": "1"}))
    before = await fixture.store.read(generation())
    await sync(fixture, wanted(headers={"x-own": "1"}))
    assert await fixture.store.read(generation()) == before
    await sync(fixture, wanted(headers={"x-own": "2"}))
    assert await fixture.store.read(generation()) != before


async def test_an_endpoint_that_left_the_file_is_removed_and_those_of_the_api_stay(
    fixture: StoreFixture,
) -> None:
    await fixture.endpoint("ep_1")
    await sync(fixture, wanted(), wanted(id="shop"))
    await sync(fixture, wanted(id="shop"))
    assert [row["id"] for row in await fixture.store.read(table.listed())] == ["ep_1", "shop"]
    assert await fixture.store.read(table.removed()) == ["crm"]


REFUSED = [
    ("http://10.0.0.1/x", "endpoints.crm.url", "this address is not public"),
    ("http://crm.example/", "endpoints.crm.url", "use https: plain http needs egress_http"),
]


@pytest.mark.parametrize(("url", "setting", "problem"), REFUSED)
async def test_a_url_that_may_not_be_called_prevents_the_start(
    fixture: StoreFixture, url: str, setting: str, problem: str
) -> None:
    with pytest.raises(Misconfigured) as refused:
        await sync(fixture, wanted(url=url))
    assert (refused.value.setting, refused.value.problem[: len(problem)]) == (setting, problem)
    assert await fixture.store.read(table.listed()) == []


async def test_the_id_of_an_endpoint_of_the_api_prevents_the_start(fixture: StoreFixture) -> None:
    made = await fixture.endpoint("crm")
    with pytest.raises(Misconfigured) as refused:
        await sync(fixture, wanted())
    assert refused.value.lines == ["endpoints.id: crm is the id of an endpoint made over the API"]
    assert await stored(fixture) == made


async def test_a_secret_that_cannot_be_decrypted_must_be_set_in_the_file(fixture: StoreFixture) -> None:
    await sync(fixture, wanted())
    await fixture.write("update endpoint set secrets = :sealed", sealed=b"0badc0de" + b"x" * 40)
    with pytest.raises(Misconfigured) as refused:
        await sync(fixture, wanted())
    assert refused.value.setting == "endpoints.crm.secret"
    assert refused.value.problem == f"must be set, because {UNREADABLE}: the stored one is lost"
    await sync(fixture, wanted(secret=OTHER))
    assert (await stored(fixture)).secrets == (OTHER,)


async def test_a_changed_url_does_not_inherit_the_hold_of_the_old_one(fixture: StoreFixture) -> None:
    await sync(fixture, wanted())
    until = fixture.clock.at + timedelta(hours=1)
    await fixture.store.write(lambda: holds.hold([("crm", until)]))
    await sync(fixture, wanted())
    assert list(await fixture.store.read(holds.held(fixture.clock.at, 10))) == ["crm"]
    await sync(fixture, wanted(url="https://crm.example/other"))
    assert await fixture.store.read(holds.held(fixture.clock.at, 10)) == {}
