"""Recording: its results, and all that it needs beside the reports."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

from handlers.values import immutable
from receiver.domain.model import (
    Claim,
    Endpoint,
    Event,
    Job,
    Outcome,
    PendingDelivery,
    Reserved,
    ScheduledWork,
)
from receiver.domain.reports import Report
from receiver.domain.statistics import Sample
from receiver.security.ids import IdGenerator
from receiver.store.due_changes import DueChange


@immutable
class Folded:
    """The effect of a report: the job after it, the types of its events, the outcome, the next due work."""

    job: Job
    events: tuple[str, ...]
    outcome: Outcome
    due: DueChange


@immutable
class NewDelivery:
    """A delivery that was recorded. With a claim, a slot is held for it and it can be sent at once."""

    delivery: PendingDelivery
    lane: str
    claim: Claim | None


@immutable(kw_only=True)
class RecordResult:
    """The result of recording a report. `samples` are those of the report, without those of its events."""

    job: Job | None
    outcome: Outcome
    events: tuple[Event, ...] = ()
    deliveries: tuple[NewDelivery, ...] = ()
    due: ScheduledWork | None = None
    samples: tuple[Sample, ...] = ()


class SlotReservation(Protocol):
    """The slots that recorded deliveries may take."""

    def reserve(self, lane: str, /) -> Reserved:
        """Take a free slot of `lane`. Returns whether there was one, and where not, the lane to wait in."""

    def release(self, lane: str, /) -> object:
        """Give a slot back."""


class EventRules(Protocol):
    """The meaning of reports, which the service knows and the store does not. Pure."""

    def fold(self, job: Job, report: Report) -> Folded:
        """Return the effect of `report` on `job`."""

    def operation_label(self, job: Job) -> str:
        """Return the name under which the operation of a job is counted."""

    def render(self, job: Job, event_type: str) -> Event:
        """Return the event of this type about a job as it is now."""


class EndpointSource(Protocol):
    """The endpoints in memory."""

    def as_of(self, generation: str, /) -> Sequence[Endpoint] | None:
        """Return the endpoints as of a generation; None when those in memory are of another."""

    def adopt(self, generation: str, rows: Sequence[Any], /) -> Sequence[Endpoint]:
        """Replace the endpoints in memory by these rows of a generation. Returns them."""


@immutable(kw_only=True)
class RecordContext:
    """All that recording needs beside the reports."""

    rules: EventRules
    endpoints: EndpointSource
    limits: SlotReservation
    ids: IdGenerator
    now: Callable[[], datetime]
    lease: Callable[[], tuple[datetime, float]]
    owner: str
