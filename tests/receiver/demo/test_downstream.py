"""Tests of the receiver of the demo's deliveries: it verifies signatures and counts events."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from receiver.demo import downstream as module
from receiver.demo.downstream import Downstream
from receiver.domain.event_types import JOB_FINAL
from receiver.security.signing import headers, key_of
from tests.receiver.store_fixture import SECRET

OTHER = "whsec_" + "B" * 43 + "="


@pytest.fixture
def downstream() -> Downstream:
    """Return a receiver that knows the secret."""
    return Downstream(secret=SECRET)


@pytest.fixture
async def client(downstream: Downstream) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the receiver."""
    transport = httpx.ASGITransport(downstream)
    async with httpx.AsyncClient(base_url="http://downstream", transport=transport) as made:
        yield made


def event(identity: str, kind: str, job: str = "job_1") -> dict[str, Any]:
    """Return an event about a job."""
    return {"id": identity, "type": kind, "data": {"id": job}}


async def deliver(client: httpx.AsyncClient, body: dict[str, Any], secret: str = SECRET) -> int:
    """Deliver an event, signed with a secret. Returns the status of the answer."""
    raw = json.dumps(body).encode()
    signed = headers(body["id"], int(datetime.now(UTC).timestamp()), raw, [key_of(secret)])
    return (await client.post("/hooks", content=raw, headers=signed)).status_code


async def test_a_signed_delivery_is_verified_and_counted(
    downstream: Downstream, client: httpx.AsyncClient
) -> None:
    assert await deliver(client, event("evt_1", "job.running")) == 204
    assert await deliver(client, event("evt_2", "job.succeeded")) == 204
    assert (downstream.verified, downstream.refused) == (2, 0)
    assert downstream.final == {"job_1": "job.succeeded"}
    assert downstream.finals == {"job_1": 1}
    assert downstream.copies == {"evt_1": 1, "evt_2": 1}


def test_the_final_types_are_those_of_the_service() -> None:
    assert set(JOB_FINAL) == module.FINAL


@pytest.mark.parametrize("kind", sorted(module.FINAL))
async def test_each_final_type_ends_a_job(
    downstream: Downstream, client: httpx.AsyncClient, kind: str
) -> None:
    await deliver(client, event("evt_1", kind))
    assert downstream.final == {"job_1": kind}


async def test_a_repeated_delivery_is_no_second_end(
    downstream: Downstream, client: httpx.AsyncClient
) -> None:
    for _ in range(3):
        assert await deliver(client, event("evt_1", "job.failed")) == 204
    assert (downstream.verified, downstream.copies["evt_1"], downstream.finals["job_1"]) == (3, 3, 1)


async def test_two_ends_of_a_job_are_counted(downstream: Downstream, client: httpx.AsyncClient) -> None:
    await deliver(client, event("evt_1", "job.failed"))
    await deliver(client, event("evt_2", "job.succeeded"))
    assert downstream.finals == {"job_1": 2}
    assert downstream.final == {"job_1": "job.succeeded"}


async def test_a_delivery_with_a_wrong_signature_is_refused(
    downstream: Downstream, client: httpx.AsyncClient
) -> None:
    assert await deliver(client, event("evt_1", "job.failed"), OTHER) == 401
    answer = await client.post("/hooks", json=event("evt_1", "job.failed"))
    assert answer.status_code == 401
    assert (downstream.verified, downstream.refused, downstream.final) == (0, 2, {})


async def test_only_the_newest_events_and_jobs_are_remembered(
    downstream: Downstream, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    for number in range(3):
        await deliver(client, event(f"evt_{number}", "job.failed", f"job_{number}"))
    assert list(downstream.copies) == ["evt_1", "evt_2"]
    assert list(downstream.finals) == list(downstream.final) == ["job_1", "job_2"]
