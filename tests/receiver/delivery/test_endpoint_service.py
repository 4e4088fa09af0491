"""Use cases of endpoints: listed, created, changed, deleted, resumed and pinged."""

import logging
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from handlers.contract import Phase
from receiver.config.settings import EndpointSettings
from receiver.delivery.endpoint_service import EndpointService
from receiver.domain.errors import Conflict, NotFound
from receiver.domain.model import Claim, EndpointState, Work
from receiver.store import deliveries, due, holds
from receiver.store import endpoints as table
from receiver.store.sealing import UNREADABLE
from receiver.store.statements import Transaction, insert, ms
from tests.receiver.delivery_steps import answer, sending
from tests.receiver.store_fixture import SECRET, StoreFixture, told, word
from tests.receiver.woken_worker import WokenWorker, register_workers


@pytest.fixture
def service(fixture: StoreFixture) -> EndpointService:
    """Return its use cases of endpoints."""
    return fixture.services.api.endpoints


@pytest.fixture
def worker(fixture: StoreFixture) -> WokenWorker:
    """Return the worker of its deliveries, which notes when it is woken."""
    return register_workers(fixture)[Work.DELIVER]


async def lose_secrets(fixture: StoreFixture) -> None:
    """Make the stored secrets unreadable: their master key is unknown."""
    await fixture.write("update endpoint set secrets = :sealed", sealed=b"0badc0de" + b"x" * 40)


async def claim_of(fixture: StoreFixture) -> Claim:
    """Return the claim of the delivery of a job that just succeeded."""
    job = await fixture.submitted()
    [recorded] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
    [made] = recorded.deliveries
    assert made.claim is not None
    return made.claim


# Read.


async def test_a_page_begins_behind_an_endpoint_removed_or_not(
    fixture: StoreFixture, service: EndpointService
) -> None:
    for number in range(4):
        await fixture.endpoint(f"ep_{number}")
        fixture.clock.pass_(seconds=1)
    await service.delete("ep_2")
    first, second = await service.page(None, 2), await service.page("ep_2", 9)
    assert first is not None
    assert second is not None
    assert [one.id for one in first] == ["ep_3", "ep_1"]
    assert [one.id for one in second] == ["ep_1", "ep_0"]
    assert first[0].secrets == (SECRET,)
    assert await service.page("ep_9", 9) is None
    assert await service.page("ep_0", 9) == []


@pytest.mark.parametrize("name", ["get", "secret", "resume", "ping"])
async def test_an_endpoint_that_does_not_exist_is_not_found(service: EndpointService, name: str) -> None:
    with pytest.raises(NotFound, match="no such endpoint; GET /v1/endpoints lists those that are there"):
        await getattr(service, name)("ep_1")


async def test_an_endpoint_is_shown_as_it_is_stored_and_with_its_newest_secret(
    fixture: StoreFixture, service: EndpointService
) -> None:
    older = "whsec_" + "C" * 43 + "="
    made = await fixture.endpoint("ep_1", headers={"x-own": "1"})
    assert await service.get("ep_1") == made
    await service.update("ep_1", lambda one: replace(one, secrets=(SECRET, older)))
    assert await service.secret("ep_1") == SECRET


async def test_a_secret_that_cannot_be_decrypted_is_neither_shown_nor_used_to_sign(
    fixture: StoreFixture, service: EndpointService
) -> None:
    await fixture.endpoint("ep_1")
    await lose_secrets(fixture)
    with pytest.raises(Conflict, match=f"^it cannot be told: {UNREADABLE}$"):
        await service.secret("ep_1")
    with pytest.raises(Conflict, match=f"^nothing can be signed for this endpoint: {UNREADABLE}$"):
        await service.ping("ep_1")
    assert await fixture.column("select id from delivery") == []


async def test_an_endpoint_is_pinged_once_whatever_its_events(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(202)) as made:
        await made.endpoint("ep_1", "job.failed")
        attempt = await made.fixture.services.api.endpoints.ping("ep_1")
        assert await made.fixture.column("select state from delivery") == ["delivered"]
    assert (attempt.status, len(made.receiver.requests)) == (202, 1)


# Changed.


async def test_a_new_endpoint_is_known_at_once_and_its_deliveries_are_looked_for(
    fixture: StoreFixture, service: EndpointService, worker: WokenWorker
) -> None:
    made = await fixture.endpoint("ep_1")
    assert service.cache.get("ep_1") == made
    assert worker.woken == [None]


async def test_a_second_endpoint_with_the_same_url_is_stored_with_a_warning(
    fixture: StoreFixture, caplog: pytest.LogCaptureFixture
) -> None:
    await fixture.endpoint("ep_1")
    await fixture.endpoint("ep_2", url="https://other.example/")
    assert "has the URL" not in caplog.text
    await fixture.endpoint("ep_3")
    [line] = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert line.getMessage() == "endpoint ep_3 has the URL of another endpoint: it gets events of both"
    assert line.__dict__["endpoint"] == "ep_3"


async def test_a_change_applies_to_the_stored_endpoint_and_a_new_url_ends_its_hold(
    fixture: StoreFixture, service: EndpointService, worker: WokenWorker
) -> None:
    await fixture.endpoint("ep_1")
    until = fixture.clock.at + timedelta(hours=1)
    await fixture.store.write(partial(holds.hold, [("ep_1", until)]))
    fixture.lanes.hold(Work.DELIVER, "ep_1", 3600)
    worker.woken.clear()
    changed = await service.update("ep_1", lambda one: replace(one, description="new", max_in_flight=2))
    assert (changed.description, changed.max_in_flight) == ("new", 2)
    assert await service.get("ep_1") == changed == service.cache.get("ep_1")
    assert await fixture.store.read(holds.held(fixture.clock.at, 10)) == {"ep_1": until}
    assert fixture.lanes.held("ep_1") > 0
    await service.update("ep_1", lambda one: replace(one, url="https://moved.example/hook"))
    assert await fixture.store.read(holds.held(fixture.clock.at, 10)) == {}
    assert (fixture.lanes.held("ep_1"), worker.woken) == (0, [None, None])


async def test_a_resumed_endpoint_gets_at_once_what_waits_for_a_later_attempt(
    fixture: StoreFixture, service: EndpointService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "RELEASED", 2)
    await fixture.endpoint("ep_1")
    now, later = ms(fixture.clock.at), ms(fixture.clock.at + timedelta(hours=1))
    lanes = ["ep_1~"] * 5 + ["ep_2~", "ep_1"]
    rows = [(f"dlv_{number}", "deliver", lane, later, 0, 1, 1, "") for number, lane in enumerate(lanes)]

    def waiting() -> Transaction[None]:
        yield insert("due", rows)

    await fixture.store.write(waiting)
    await service.resume("ep_1")
    assert await fixture.column("select at from due order by id") == [now] * 5 + [later, later]


async def test_an_endpoint_that_does_not_exist_is_not_changed(service: EndpointService) -> None:
    with pytest.raises(NotFound, match="no such endpoint"):
        await service.update("ep_1", lambda one: one)


async def test_a_deleted_endpoint_is_unknown_at_once_and_its_deliveries_are_canceled(
    fixture: StoreFixture, service: EndpointService
) -> None:
    await fixture.endpoint("ep_1", "job.succeeded")
    claim = await claim_of(fixture)
    await service.delete("ep_1")
    assert service.cache.get("ep_1") is None
    with pytest.raises(NotFound, match="no such endpoint"):
        await service.get("ep_1")
    found = await fixture.store.read(deliveries.get(claim.id))
    assert found is not None
    assert (found[0].state, found[0].reason) == ("canceled", "the endpoint was deleted")


@pytest.mark.parametrize("state", ["paused", "disabled"])
async def test_a_resumed_endpoint_is_served_again_without_its_hold(
    fixture: StoreFixture, service: EndpointService, worker: WokenWorker, state: str
) -> None:
    await fixture.endpoint("ep_1")
    stopped = partial(table.set_state, "ep_1", state, "410", fixture.clock.at)
    await fixture.store.write(stopped)
    await service.refresh()
    fixture.lanes.hold(Work.DELIVER, "ep_1", 3600)
    worker.woken.clear()
    fixture.clock.pass_(seconds=1)
    resumed = await service.resume("ep_1")
    assert (resumed.state, resumed.disabled_reason, resumed.updated_at) == (
        EndpointState.ACTIVE,
        None,
        fixture.clock.at,
    )
    assert await service.get("ep_1") == resumed
    assert service.cache.served("ep_1")
    assert (fixture.lanes.held("ep_1"), worker.woken[-1:]) == (0, [None])


async def test_the_endpoints_of_the_settings_file_are_stored_beside_the_others(
    fixture: StoreFixture, service: EndpointService
) -> None:
    await fixture.endpoint("ep_1")
    await service.sync_configured([EndpointSettings(id="crm", url="https://crm.example/")])
    assert (await service.get("crm")).from_file
    assert service.cache.get("crm") is None
    await service.refresh()
    assert {one.id for one in service.cache.all()} == {"crm", "ep_1"}
