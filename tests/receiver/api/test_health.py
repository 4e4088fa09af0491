"""Liveness and readiness over HTTP: without a key, and with the reason why the service is not ready."""

from dataclasses import replace

import httpx
import pytest

from receiver.api.readiness import Readiness
from receiver.domain.errors import StoreUnavailable
from tests.receiver.api_client import client_of, problem_of
from tests.receiver.store_fixture import StoreFixture


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_service_at_work_is_alive_and_ready_for_every_caller(
    fixture: StoreFixture, path: str
) -> None:
    for key in ("", "rb_unknown"):
        async with client_of(fixture.services.api, key=key) as client:
            answer = await client.get(f"{path}?probe=1")
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_readiness_writes_to_the_store(fixture: StoreFixture, client: httpx.AsyncClient) -> None:
    written = []
    for _ in range(2):
        await client.get("/readyz")
        written += await fixture.column("select value from meta where key = 'probe'")
        fixture.clock.pass_(seconds=1)
    assert written == ["0", "1"]


async def test_a_service_that_stops_is_alive_and_not_ready(
    fixture: StoreFixture, client: httpx.AsyncClient
) -> None:
    fixture.services.core.shutdown.begun = True
    answer = await client.get("/readyz")
    assert problem_of(answer, 503, "unavailable")["detail"] == "the service is stopping"
    assert answer.headers["retry-after"] == "2"
    assert (await client.get("/healthz")).status_code == 200


async def test_a_store_that_takes_no_writes_is_not_ready_with_its_reason(fixture: StoreFixture) -> None:
    async def probe() -> None:
        raise StoreUnavailable("the disk is full", retry_after=9)

    services = replace(fixture.services.api, readiness=Readiness(probe, fixture.clock.clock().monotonic))
    async with client_of(services) as client:
        answer = await client.get("/readyz")
        assert problem_of(answer, 503, "unavailable")["detail"] == "the disk is full"
        assert (await client.get("/healthz")).status_code == 200
