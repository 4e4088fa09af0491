"""The spans of a job: each piece of work that has ended, with the names of OpenTelemetry's conventions."""

import time
from dataclasses import dataclass

from receiver.domain.model import CALLBACK_TARGET, Job, PendingDelivery
from receiver.egress.address_guard import peer_of
from receiver.tracing import Attributes, Span, SpanKind, TracePlace, Tracing, read, sampled, submission_id

METHOD, STATUS, ROUTE = "http.request.method", "http.response.status_code", "http.route"
HOST, PORT, ERROR, SCHEME = "server.address", "server.port", "error.type", "url.scheme"
"""Names of the conventions for HTTP, version 1.44. `url.full` is left out: it may hold a secret."""
Peer = tuple[str, int]
"""The host and the port of a server."""
JOB, ACCOUNT, OPERATION = "ringback.job.id", "ringback.account", "ringback.operation"
OUTCOME, ENDPOINT, EVENT = "ringback.outcome", "ringback.endpoint.id", "ringback.event.type"
"""Names of our own."""


@dataclass(slots=True)
class JobSpans:
    """A maker of the spans of jobs. It does nothing for a job without a sampled trace."""

    tracing: Tracing

    def now(self) -> float:
        """Return the time in seconds since 1970; 0 where no trace is recorded."""
        return time.time() if self.tracing.on else 0.0

    def called(self, job: Job, place: TracePlace, given: str | None, began: float, status: int) -> None:
        """Record the call that submitted a job."""
        if not (self.tracing.on and place.sampled):
            return
        route = "/v1/jobs"
        self.tracing.record(
            Span(
                name=f"POST {route}",
                kind=SpanKind.SERVER,
                began=began,
                ended=self.now(),
                parent=read(given),
                trace_id=place.trace_id,
                id=place.span_id,
                attributes={METHOD: "POST", SCHEME: "http", ROUTE: route, STATUS: status, **_about(job)},
            )
        )

    def submitted(self, job: Job, began: float, peer: Peer, status: int | None, error: str | None) -> None:
        """Record a submission. Callbacks and polls link to the first one."""
        first = submission_id(job.id) if job.intents <= 1 else None
        self._record("submit", SpanKind.CLIENT, job, began, _http(peer, status, error), error, identity=first)

    def polled(self, job: Job, began: float, peer: Peer, outcome: str) -> None:
        """Record a poll."""
        attributes: Attributes = {HOST: peer[0], PORT: peer[1], OUTCOME: outcome}
        self._record("poll", SpanKind.CLIENT, job, began, attributes, None, linked=True)

    def called_back(self, job: Job | None, began: float, route: str, outcome: str) -> None:
        """Record a callback."""
        attributes: Attributes = {METHOD: "POST", SCHEME: "http", ROUTE: route, STATUS: 200, OUTCOME: outcome}
        self._record(f"POST {route}", SpanKind.SERVER, job, began, attributes, None, linked=True)

    def committed(self, job: Job | None, began: float) -> None:
        """Record a commit."""
        self._record("commit", SpanKind.INTERNAL, job, began, {}, None)

    def sends(self, traceparent: str | None) -> TracePlace | None:
        """Return the place that a delivery names to its receiver, None where there is no trace."""
        place = read(traceparent)
        return self.tracing.child(place) if place is not None and place.sampled else place

    def delivered(
        self,
        delivery: PendingDelivery,
        sent: TracePlace | None,
        began: float,
        url: str,
        status: int | None,
        error: str | None,
    ) -> None:
        """Record an attempt to deliver to a URL. `sent` is the place that its receiver got."""
        parent = sampled(self.tracing, delivery.traceparent)
        if parent is None or sent is None:
            return
        told = {EVENT: delivery.event.type, ENDPOINT: delivery.endpoint_id or CALLBACK_TARGET}
        attributes = {JOB: delivery.job_id or "", **told}
        if error is None and status is not None and not 200 <= status < 300:
            error = f"{status}"
        self.tracing.record(
            Span(
                name="deliver",
                kind=SpanKind.CLIENT,
                began=began,
                ended=self.now(),
                parent=parent,
                id=sent.span_id,
                attributes={**attributes, **_http(peer_of(url), status, error)},
                error=error,
            )
        )

    def _record(
        self,
        name: str,
        kind: SpanKind,
        job: Job | None,
        began: float,
        attributes: Attributes,
        error: str | None,
        *,
        identity: str | None = None,
        linked: bool = False,
    ) -> None:
        parent = sampled(self.tracing, job.traceparent) if job is not None else None
        if job is None or parent is None:
            return
        self.tracing.record(
            Span(
                name=name,
                kind=kind,
                began=began,
                ended=self.now(),
                parent=parent,
                id=identity,
                link=submission_id(job.id) if linked else None,
                attributes={**attributes, **_about(job)},
                error=error,
            )
        )


def trace_of(job: Job | None) -> str | None:
    """Return the id of a job's trace, None without one."""
    place = read(job.traceparent) if job is not None and job.traceparent is not None else None
    return place.trace_id if place is not None else None


def _about(job: Job) -> Attributes:
    return {JOB: job.id, ACCOUNT: job.account, OPERATION: job.operation}


def _http(peer: Peer, status: int | None, error: str | None) -> Attributes:
    told: dict[str, str | int] = {METHOD: "POST", HOST: peer[0], PORT: peer[1]}
    if status is not None:
        told[STATUS] = status
    if error is not None:
        # The class of an error alone: the texts behind it are many.
        told[ERROR] = error.partition(":")[0]
    return told
