"""Traces: one job across its call, submission, callbacks and deliveries, at a collector over OTLP."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from receiver.sandbox.world import Knobs
from tests.ports import free_port
from tests.stories.deployment import Deployment, all_listening, asking, deployed

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{CALLER}-01"


@dataclass(slots=True)
class Collector:
    """A collector of spans."""

    spans: list[Span] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the spans of one request."""
        request = Request(scope, receive)
        assert request.url.path == "/v1/traces"
        told = ExportTraceServiceRequest.FromString(await request.body())
        for resource in told.resource_spans:
            names = {one.key: one.value.string_value for one in resource.resource.attributes}
            assert names["service.name"] == "ringback"
            self.spans += [span for scoped in resource.scope_spans for span in scoped.spans]
        await Response(b"", media_type="application/x-protobuf")(scope, receive, send)

    def named(self, name: str) -> list[Span]:
        """Return the spans of a name."""
        return [one for one in self.spans if one.name == name]


@contextlib.asynccontextmanager
async def traced(tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[Deployment, Collector]]:
    """Yield a deployment that sends its traces to a collector. They are there once the deployment ends."""
    collector = Collector()
    async with (
        all_listening(collector) as (url,),
        deployed(tmp_path, Knobs(takes=0.2), otel_endpoint=url, **settings) as deployment,
    ):
        yield deployment, collector


def attributes(span: Span) -> dict[str, Any]:
    """Return the attributes of a span."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


async def test_one_trace_shows_a_job_from_its_call_to_its_deliveries(tmp_path: Path) -> None:
    async with traced(tmp_path) as (deployment, collector):
        await deployment.subscribe("job.*")
        job = await deployment.submit(asking("apiframe"), headers={"traceparent": GIVEN})
        await deployment.delivered(job["id"], "job.succeeded")
        received = [headers["traceparent"] for headers, _ in deployment.hook.deliveries]
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    [called] = collector.named("POST /v1/jobs")
    assert called.parent_span_id.hex() == CALLER
    assert attributes(called) == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "http.route": "/v1/jobs",
        "http.response.status_code": 202,
        "ringback.job.id": job["id"],
        "ringback.account": "apiframe",
        "ringback.operation": "runway-imagine",
    }
    [submitted] = collector.named("submit")
    assert submitted.parent_span_id == called.span_id
    assert attributes(submitted)["server.address"] == "127.0.0.1"
    callbacks = collector.named("POST /callbacks/{account}/{token}")
    assert len(callbacks) >= 2
    for span in callbacks:
        assert [link.span_id for link in span.links] == [submitted.span_id]
        assert span.kind == Span.SPAN_KIND_SERVER
    deliveries = collector.named("deliver")
    assert len(deliveries) >= 2
    assert {f"00-{TRACE}-{span.span_id.hex()}-01" for span in deliveries} == set(received)
    assert {span.parent_span_id for span in deliveries} == {called.span_id}
    assert collector.named("commit")
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in collector.spans)


async def test_a_poll_and_a_failed_delivery_show(tmp_path: Path) -> None:
    async with traced(tmp_path, otel_sample="1", retry_schedule="[600]") as (deployment, collector):
        await deployment.subscribe("job.*")
        deployment.hook.status = 500
        job = await deployment.submit(asking("veo-gemini"))
        await deployment.final(job["id"])
        await deployment.until(lambda: _attempts(deployment), bool)
    polls = collector.named("poll")
    assert polls
    assert {len(span.links) for span in polls} == {1}
    [failed, *_] = [
        span for span in collector.named("deliver") if attributes(span)["http.response.status_code"] == 500
    ]
    told = attributes(failed)
    assert (told["error.type"], told["server.address"]) == ("500", "127.0.0.1")
    assert failed.status.code == Status.STATUS_CODE_ERROR
    assert len({span.trace_id for span in collector.spans}) == 1


async def _attempts(deployment: Deployment) -> int:
    found = (await deployment.client.get("/v1/deliveries")).json()["data"]
    return int(found[0]["attempts_made"]) if found else 0


@pytest.mark.parametrize("headers", [{}, {"traceparent": GIVEN[:-1] + "0"}])
async def test_a_trace_that_is_not_chosen_sends_nothing(tmp_path: Path, headers: dict[str, str]) -> None:
    async with traced(tmp_path, otel_sample="0") as (deployment, collector):
        await deployment.subscribe("job.*")
        job = await deployment.submit(asking("apiframe"), headers=headers)
        await deployment.delivered(job["id"], "job.succeeded")
        received = [one["traceparent"] for one, _ in deployment.hook.deliveries]
    assert collector.spans == []
    # The caller's trace goes on at the receiver, all the same.
    assert all(one.endswith("-00") for one in received)


async def test_without_a_collector_the_caller_s_trace_is_passed_on(tmp_path: Path) -> None:
    async with deployed(tmp_path) as deployment:
        await deployment.subscribe("job.*")
        job = await deployment.submit(asking("apiframe"), headers={"traceparent": GIVEN})
        await deployment.delivered(job["id"], "job.succeeded")
        other = await deployment.submit(asking("apiframe"), headers={"traceparent": "nonsense"})
        await deployment.delivered(other["id"], "job.succeeded")
        for headers, body in deployment.hook.deliveries:
            assert headers.get("traceparent") == (GIVEN if job["id"].encode() in body else None)


async def test_an_endpoint_s_own_header_is_left_alone(tmp_path: Path) -> None:
    async with deployed(tmp_path) as deployment:
        await deployment.subscribe("job.*", headers={"Traceparent": "mine"})
        job = await deployment.submit(asking("apiframe"), headers={"traceparent": GIVEN})
        await deployment.delivered(job["id"], "job.succeeded")
        assert {headers["traceparent"] for headers, _ in deployment.hook.deliveries} == {"mine"}


async def test_a_collector_that_is_away_costs_nothing(tmp_path: Path) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    async with deployed(tmp_path, otel_endpoint=away, otel_sample="1") as deployment:
        await deployment.subscribe("job.*")
        job = await deployment.submit(asking("apiframe"))
        await deployment.delivered(job["id"], "job.succeeded")
