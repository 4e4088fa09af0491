"""The export of spans over OTLP/HTTP, by the SDK of OpenTelemetry: the extra `ringback[otel]`."""

import random
import threading
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags

from receiver.tracing import Span, SpanKind, TracePlace, read

KINDS = {
    SpanKind.SERVER: trace.SpanKind.SERVER,
    SpanKind.CLIENT: trace.SpanKind.CLIENT,
    SpanKind.INTERNAL: trace.SpanKind.INTERNAL,
}
QUEUE = 2_048
"""The most spans that wait to be sent; further ones are dropped."""
CLOSING = 3.0
"""Seconds for which an end waits for the collector."""


class _ChosenIds(IdGenerator):
    """Ids that are chosen for the next span, and random ones else."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self.span_id: int | None = None
        self.trace_id: int | None = None

    def generate_span_id(self) -> int:
        """Return the chosen id, once, or a random one."""
        chosen, self.span_id = self.span_id, None
        return chosen if chosen is not None else self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        """Return the chosen id, once, or a random one."""
        chosen, self.trace_id = self.trace_id, None
        return chosen if chosen is not None else self._random.generate_trace_id()


class OtlpTracing:
    """A recorder that sends spans to a collector in the background. `sample` is the share of new traces."""

    on = True

    def __init__(self, endpoint: str, sample: float, replica: str) -> None:
        self._sample = sample
        self._ids = _ChosenIds()
        resource = Resource.create(
            {
                "service.name": "ringback",
                "service.version": version("ringback"),
                "service.instance.id": replica,
            }
        )
        # The decision is made once for a trace and stored with the job, so the SDK takes every span.
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, sampler=ALWAYS_ON)
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=QUEUE))
        self._tracer = self._provider.get_tracer("ringback")

    def begin(self, traceparent: str | None) -> TracePlace:
        """Return the place of a new job: in the trace of its caller, which decides, or in a new one."""
        given = read(traceparent)
        if given is not None:
            return TracePlace(given.trace_id, f"{random.getrandbits(64) or 1:016x}", given.sampled)
        chosen = random.random() < self._sample  # noqa: S311  # no secret
        return TracePlace(
            f"{random.getrandbits(128) or 1:032x}", f"{random.getrandbits(64) or 1:016x}", chosen
        )

    def child(self, place: TracePlace) -> TracePlace:
        """Return a place below another, with an id of its own."""
        return TracePlace(place.trace_id, f"{random.getrandbits(64) or 1:016x}", place.sampled)

    def record(self, span: Span) -> None:
        """Record a span."""
        self._ids.span_id = int(span.id, 16) if span.id is not None else None
        self._ids.trace_id = int(span.trace_id, 16) if span.trace_id is not None else None
        parent, links = span.parent, []
        if parent is not None and span.link is not None:
            links.append(Link(_context(parent.trace_id, span.link)))
        context = trace.set_span_in_context(
            NonRecordingSpan(_context(parent.trace_id, parent.span_id)) if parent else trace.INVALID_SPAN
        )
        made = self._tracer.start_span(
            span.name,
            context=context,
            kind=KINDS[span.kind],
            attributes=dict(span.attributes),
            links=links,
            start_time=int(span.began * 1e9),
        )
        if span.error is not None:
            made.set_status(Status(StatusCode.ERROR, span.error))
        made.end(end_time=int(span.ended * 1e9))

    def close(self) -> None:
        """Send the recorded spans, for a bounded time."""
        # The SDK ignores the bounds that it is given; a daemon does not keep the process from ending.
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSING)


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )
