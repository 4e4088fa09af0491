"""Pings: one event to one endpoint at once, one stored attempt, and no second one."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from handlers import json
from receiver.domain.errors import StoreUnavailable
from receiver.domain.model import EndpointState, Work
from receiver.domain.retry_policy import GONE
from receiver.security import signing
from receiver.store import deliveries
from receiver.store import endpoints as table
from receiver.store.deliveries import DeliveryFilter
from receiver.store.statements import ms
from tests.receiver.delivery_steps import BROKEN, Sending, answer, due_rows, sending, without_sockets
from tests.receiver.store_fixture import SECRET, write_locked
from tests.receiver.woken_worker import register_workers
from tests.receiver.worker_fixture import PATIENCE


async def pinged(made: Sending) -> deliveries.StoredDelivery:
    """Return the one delivery of an endpoint that was just pinged."""
    listed = await made.fixture.store.read(deliveries.search(DeliveryFilter(endpoint="ep_1")))
    [delivery] = listed.found
    return delivery


async def test_a_ping_is_a_signed_event_with_one_attempt(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(200)) as made:
        endpoint = await made.endpoint()
        attempt = await made.fixture.services.pinger.send(endpoint)
        delivery = await pinged(made)
        assert (attempt.status, attempt.answer, attempt.at) == (200, b"thanks", made.fixture.clock.at)
        assert (delivery.state, delivery.event_type, delivery.job_id) == ("delivered", "endpoint.test", None)
        assert await made.stored(delivery.id) == (delivery, [attempt])
        assert await made.fixture.column("select origin from delivery") == ["test"]
        assert await due_rows(made.fixture) == []
        at, [body], [headers] = made.fixture.clock.at, made.receiver.bodies, made.receiver.headers
    assert json.read(body) == {
        "id": delivery.event_id,
        "type": "endpoint.test",
        "timestamp": "2026-11-21T10:00:00.000Z",
        "data": {
            "object": "endpoint",
            "id": "ep_1",
            "url": made.server.url(""),
            "at": "2026-11-21T10:00:00.000Z",
            "sequence": 1,
        },
    }
    key = signing.key_of(SECRET)
    signed = signing.headers(delivery.event_id, int(at.timestamp()), body, [key])
    assert {name: headers[name] for name, _ in signed} == dict(signed)


@pytest.mark.parametrize("given", [answer(500), answer(503, "retry-after: 60"), BROKEN])
async def test_a_ping_that_fails_is_exhausted_at_once(
    tmp_path: Path, given: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with sending(tmp_path, given) as made:
        endpoint = await made.endpoint()
        attempt = await made.fixture.services.pinger.send(endpoint)
        delivery = await pinged(made)
        assert (delivery.state, delivery.tries, delivery.next_at) == ("exhausted", 1, None)
        assert delivery.reason == attempt.error
        assert attempt.status == (int(given[9:12]) if given else None)
        assert await due_rows(made.fixture) == []
    assert f"delivery {delivery.id} to endpoint ep_1 is exhausted" in caplog.text
    assert len(made.receiver.requests) == 1


async def test_each_ping_is_an_event_of_its_own_and_only_the_pinged_endpoint_gets_it(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(204)) as made:
        await made.endpoint("ep_2", "endpoint.test")
        endpoint = await made.endpoint()
        for _ in range(2):
            await made.fixture.services.pinger.send(endpoint)
        found = await made.fixture.query("select target, event from delivery")
    assert [row["target"] for row in found] == ["ep_1", "ep_1"]
    assert len({row["event"] for row in found}) == 2


@pytest.mark.parametrize("state", [EndpointState.PAUSED, EndpointState.DISABLED])
async def test_an_endpoint_that_is_not_served_is_pinged_all_the_same(
    tmp_path: Path, state: EndpointState
) -> None:
    async with sending(tmp_path, answer(204)) as made:
        endpoint = await made.endpoint(state=state)
        attempt = await made.fixture.services.pinger.send(endpoint)
        assert (attempt.status, (await pinged(made)).state) == (204, "delivered")


async def test_a_ping_that_is_answered_with_410_disables_its_endpoint(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(410)) as made:
        attempt = await made.fixture.services.pinger.send(await made.endpoint())
        endpoint = await made.fixture.services.api.endpoints.get("ep_1")
        assert (attempt.status, (await pinged(made)).state) == (410, "canceled")
        assert (endpoint.state, endpoint.disabled_reason) == (EndpointState.DISABLED, GONE)


async def test_a_ping_gives_its_slot_back_and_wakes_the_deliveries_that_wait_for_it(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(204)) as made:
        endpoint, workers = await made.endpoint(), register_workers(made.fixture)
        made.fixture.lanes.mark_waiting(Work.DELIVER, "ep_1")
        await made.fixture.services.pinger.send(endpoint)
        assert made.fixture.lanes.lane(Work.DELIVER, "ep_1").in_flight == 0
        assert workers[Work.DELIVER].woken == [None]


async def test_a_ping_without_a_socket_is_a_failed_attempt(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(204)) as made:
        endpoint = await made.endpoint()
        pinger = made.fixture.services.pinger
        pinger = replace(pinger, sender=without_sockets(pinger.sender))
        attempt = await pinger.send(endpoint)
        delivery = await pinged(made)
        assert (attempt.status, attempt.error) == (None, "connect: too many open files")
        assert (delivery.state, delivery.reason) == ("exhausted", "connect: too many open files")
    assert made.receiver.requests == []


async def test_a_ping_is_leased_to_its_process_while_it_is_under_way(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(204)) as made:
        endpoint, core = await made.endpoint(), made.fixture.services.core
        made.receiver.gate = asyncio.Event()
        task = asyncio.create_task(made.fixture.services.pinger.send(endpoint))
        async with asyncio.timeout(PATIENCE):
            await made.receiver.asked.wait()
        [row] = await made.fixture.query("select lane, at, leased, owner from due")
        ends = made.fixture.clock.at + made.fixture.services.sender.lease
        assert (row["lane"], row["at"], row["leased"], row["owner"]) == ("ep_1", ms(ends), 1, core.name)
        assert made.fixture.lanes.lane(Work.DELIVER, "ep_1").in_flight == 1
        made.receiver.gate.set()
        await task


@pytest.mark.usefixtures("on_sqlite", "impatient")
async def test_a_ping_whose_outcome_cannot_be_stored_fails_at_once(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(204)) as made:
        endpoint = await made.endpoint()
        made.receiver.gate = asyncio.Event()
        task = asyncio.create_task(made.fixture.services.pinger.send(endpoint))
        async with asyncio.timeout(PATIENCE):
            await made.receiver.asked.wait()
            with write_locked(made.fixture.path):
                made.receiver.gate.set()
                with pytest.raises(StoreUnavailable):
                    await task
        assert made.fixture.lanes.lane(Work.DELIVER, "ep_1").in_flight == 0
        assert await made.stored((await pinged(made)).id) == (await pinged(made), [])
    assert len(made.receiver.requests) == 1


@pytest.mark.usefixtures("on_sqlite", "impatient")
async def test_a_ping_that_cannot_be_stored_fails_at_once_and_gives_its_slot_back(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(204)) as made:
        endpoint = await made.endpoint()
        with write_locked(made.fixture.path), pytest.raises(StoreUnavailable):
            await made.fixture.services.pinger.send(endpoint)
        assert made.fixture.lanes.lane(Work.DELIVER, "ep_1").in_flight == 0
        assert await made.fixture.column("select id from delivery") == []
    assert made.receiver.requests == []


async def test_a_ping_goes_to_the_url_that_another_process_has_just_stored(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(204)) as made:
        endpoint, core = await made.endpoint(), made.fixture.services.core
        moved = replace(endpoint, url=made.server.url("/moved"))
        await made.fixture.store.write(lambda: table.put(core.sealer.row(moved)))
        attempt = await made.fixture.services.api.endpoints.ping("ep_1")
        assert attempt.status == 204
        assert made.receiver.requests[0].startswith(b"POST /moved ")
