"""The samples of the statistics that a report, an event, an attempt or a new job makes."""

from collections.abc import Iterable, Mapping

from receiver.domain.model import Event, Job, Outcome, Source
from receiver.domain.reports import (
    Command,
    FailureKind,
    Note,
    ProviderFailure,
    ProviderUpdate,
    Report,
    callback_missed,
)
from receiver.domain.statistics import CALLBACK_URL, Sample

RESULTS: Mapping[FailureKind, str] = {
    FailureKind.LOST: "lost",
    FailureKind.RESTORE: "retried",
    FailureKind.REJECT: "rejected",
    FailureKind.MISS: "missing",
    FailureKind.TRANSIENT: "error",
}
"""The results of calls to a provider that brought no update."""
ACCEPTED = "accepted"
"""The result of a submission that the provider answered."""


def of_report(
    report: Report, outcome: Outcome, before: Job, after: Job, operation: str
) -> tuple[Sample, ...]:
    """Return the samples of a report about a job. `operation` is the label of the job's operation."""
    samples = [*_heard(report, outcome, before)]
    if after.state.final and not before.state.final:
        state, by = after.state.value, after.completed_by.value if after.completed_by else ""
        took = ((after.completed_at or report.at) - after.created_at).total_seconds()
        samples.append(("jobs", (after.account, operation, state, by), None))
        samples.append(("job_duration_seconds", (after.account, operation, state), max(took, 0.0)))
        if callback_missed(report, before, after):
            samples.append(("callbacks_missed", (after.account,), None))
    return tuple(samples)


def _heard(report: Report, outcome: Outcome, job: Job) -> Iterable[Sample]:
    match report:
        case ProviderFailure(source=Source.SUBMISSION):
            yield "submissions", (job.account, RESULTS[report.kind]), None
        case ProviderUpdate(source=Source.SUBMISSION):
            yield "submissions", (job.account, ACCEPTED), None
        case ProviderFailure(source=Source.POLL):
            yield "polls", (job.account, RESULTS[report.kind]), None
        case ProviderUpdate(source=Source.POLL):
            yield "polls", (job.account, outcome.value), None
        case Command():
            return
        case ProviderUpdate() | Note():
            if report.source is Source.CALLBACK:
                yield "callbacks", (job.account, outcome.value), None


def of_events(events: Iterable[Event]) -> list[Sample]:
    """Return the samples of events."""
    return [("events", (event.type,), None) for event in events]


def of_attempt(
    endpoint_id: str | None, status: int | None, seconds: float, ended: str | None, age: float
) -> tuple[Sample, ...]:
    """Return the samples of an attempt to deliver.

    `endpoint_id` is None for a job's own callback URL. `ended` is the final state of the delivery, None where
    it goes on; `age` are the seconds since its event.
    """
    endpoint = endpoint_id or CALLBACK_URL
    kind = "error" if status is None else f"{status // 100}xx"
    samples: list[Sample] = [
        ("delivery_attempts", (endpoint, kind), None),
        ("delivery_attempt_seconds", (endpoint,), seconds),
    ]
    if ended is not None:
        samples.append(("deliveries", (endpoint, ended), None))
    if ended == "delivered":
        samples.append(("event_to_delivered_seconds", (endpoint,), max(age, 0.0)))
    return tuple(samples)


def of_new_job(account: str, operation: str) -> Sample:
    """Return the sample of a job that was submitted. `operation` is the label of its operation."""
    return "jobs_submitted", (account, operation), None
