"""The services of one process: shared parts, given by name, and without a secret in their text."""

from dataclasses import fields, replace
from typing import Any

import pytest

from receiver.api.services import Services
from receiver.work.heartbeat import Role
from tests.receiver.api_client import KEY
from tests.receiver.store_fixture import SECRET, StoreFixture

MASTER = "m" * 32


async def test_the_routes_share_the_parts_of_the_process(fixture: StoreFixture) -> None:
    services, core = fixture.services.api, fixture.services.core
    assert services.role is Role.ALL
    shared = ("settings", "clock", "ids", "store", "api_keys", "waiting_calls", "shutdown")
    assert [name for name in shared if getattr(services, name) is not getattr(core, name)] == []
    parts = (services.jobs, services.endpoints, services.deliveries, services.providers, services.asset_links)
    assert [type(one) for one in parts if one.store is not core.store or one.clock is not core.clock] == []


async def test_a_job_is_rendered_as_the_events_show_it(fixture: StoreFixture) -> None:
    job = fixture.job(metadata={"order": "42"})
    shown = fixture.services.api.render(job)
    assert (shown["object"], shown["id"], shown["metadata"]) == ("job", job.id, {"order": "42"})


async def test_services_are_given_by_name_only(fixture: StoreFixture) -> None:
    services = fixture.services.api
    values = {one.name: getattr(services, one.name) for one in fields(services)}
    assert Services(**values) == services
    make: Any = Services
    with pytest.raises(TypeError, match="positional"):
        make(*values.values())
    with pytest.raises(AttributeError):
        services.unheard_of = 1  # type: ignore[attr-defined]  # that is the mistake


async def test_the_text_of_the_services_holds_no_secret(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1", headers={"authorization": "Bearer own-token"})
    services = replace(fixture.services.api)
    text = repr(services)
    assert text.startswith("Services(settings=")
    assert [one for one in (KEY, MASTER, SECRET, "own-token") if one in text] == []
