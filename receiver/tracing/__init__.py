"""Traces: the place of work in a trace (https://www.w3.org/TR/trace-context-1/, read on 2026-11-29)."""

import enum
import re
from collections.abc import Mapping
from typing import Protocol, TypeAlias

from handlers.values import immutable

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII
)
SAMPLED = 1
"""The flag of a trace that is recorded."""
Attributes: TypeAlias = Mapping[str, str | int | float | bool]


class SpanKind(enum.Enum):
    """The side of a span: of a request that came in or went out, or inside."""

    SERVER = "server"
    CLIENT = "client"
    INTERNAL = "internal"


@immutable
class TracePlace:
    """A place in a trace: the trace, the span that is the parent of later ones, whether it is recorded."""

    trace_id: str
    span_id: str
    sampled: bool

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{SAMPLED if self.sampled else 0:02x}"


def read(traceparent: str | None) -> TracePlace | None:
    """Return the place of a `traceparent`, None for a text that is none: a new trace begins there."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent is not None else None
    # Only version 00 has nothing behind its flags.
    if found is None or (found[0].startswith("00") and found[4]):
        return None
    return TracePlace(found[1], found[2], bool(int(found[3], 16) & SAMPLED))


@immutable(kw_only=True)
class Span:
    """A piece of work that has ended. Times are in seconds since 1970.

    `parent` is the place in which it was done, None for the root of a trace. `id` is its own id, where that
    was handed on while it was under way; `link` is the id of a span of the same trace that caused it.
    """

    name: str
    kind: SpanKind
    began: float
    ended: float
    parent: TracePlace | None
    attributes: Attributes
    trace_id: str | None = None
    id: str | None = None
    link: str | None = None
    error: str | None = None


class Tracing(Protocol):
    """A recorder of spans."""

    on: bool

    def begin(self, traceparent: str | None) -> TracePlace | None:
        """Return the place of a new job, after the `traceparent` of its call. None: no trace is kept."""

    def child(self, place: TracePlace) -> TracePlace:
        """Return a place below another, with an id of its own."""

    def record(self, span: Span) -> None:
        """Record a span."""

    def close(self) -> None:
        """Send the recorded spans."""


class NoTracing:
    """The tracing that records nothing. A trace that a caller began is passed on all the same."""

    on = False

    def begin(self, traceparent: str | None) -> TracePlace | None:
        """Return the place that the caller named, None without one."""
        return read(traceparent)

    def child(self, place: TracePlace) -> TracePlace:
        """Return the place itself: there is no span below it."""
        return place

    def record(self, span: Span) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def sampled(tracing: Tracing, traceparent: str | None) -> TracePlace | None:
    """Return a job's place in its trace if the trace is sampled, and None otherwise."""
    if not tracing.on or traceparent is None:
        return None
    place = read(traceparent)
    return place if place is not None and place.sampled else None


def submission_id(job_id: str) -> str:
    """Return the id of the span of a job's first submission, to which callbacks and polls link."""
    # Ids of jobs end in random digits.
    return job_id[-16:]
