"""The log lines about jobs and accounts: one for each event that needs a person, transitions at debug."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from handlers import json
from handlers.contract import FailureCode
from handlers.values import immutable
from receiver.domain.model import Event, Job
from receiver.store.record_context import RecordResult
from receiver.tracing.spans import trace_of

LOGGER = logging.getLogger("ringback.notices")
EVERY = 60.0
"""Seconds between two lines about the same kind of refusal."""
KINDS = 1000
"""The number of kinds that are counted; one more drops all counts, so that memory stays bounded."""
ORDINARY = frozenset(
    {FailureCode.GENERATION_FAILED, FailureCode.CONTENT_POLICY, FailureCode.CANCELED_BY_PROVIDER}
)
"""Failures that the input or the provider caused, logged at info; any other may come from a wrong setting."""


@immutable
class Line:
    """A log line: its level, its text, and the names of the event's values that fill the text."""

    level: int
    text: str
    values: tuple[str, ...] = ()


LINES: Mapping[str, Line] = {
    "provider.blocked": Line(
        logging.WARNING, "account blocked, its submissions wait: %s; see `ringback doctor`", ("reason",)
    ),
    "provider.unblocked": Line(logging.WARNING, "account works again, its submissions go on"),
    "job.unconfirmed": Line(
        logging.WARNING, "the answer to a submission was lost: resolve the job, or wait for its callback"
    ),
    "job.expired": Line(logging.WARNING, "job expired: its deadline passed first"),
    "job.failed": Line(logging.WARNING, "job failed: %s: %s", ("error.code", "error.message")),
    "job.late_result": Line(logging.INFO, "a result came after the job had ended as %s", ("state",)),
}


def recorded(found: RecordResult) -> None:
    """Log the outcome of a report: at debug, and louder for an event that needs a person."""
    job = found.job
    if job is not None and LOGGER.isEnabledFor(logging.DEBUG):
        LOGGER.debug("job is %s (%s)", job.state.value, found.outcome.value, extra=_about(job))
    announced(found.events, job)


def announced(events: Sequence[Event], job: Job | None = None) -> None:
    """Log the events that need a person."""
    for event in events:
        line = LINES.get(event.type)
        if line is None:
            continue
        level = logging.INFO if _ordinary(event, job) else line.level
        # The body is parsed only for a line that is logged.
        if not LOGGER.isEnabledFor(level):
            continue
        data = json.read_object(event.body)["data"]
        about = _about(job) if job is not None else {"account": data.get("id")}
        LOGGER.log(level, line.text, *(_value(data, name) for name in line.values), extra=about)


def _ordinary(event: Event, job: Job | None) -> bool:
    return (
        event.type == "job.failed"
        and job is not None
        and job.error is not None
        and job.error.code in ORDINARY
    )


def _about(job: Job) -> dict[str, str | None]:
    return {"job": job.id, "account": job.account, "operation": job.operation, "trace": trace_of(job)}


def _value(data: Any, name: str) -> Any:
    for part in name.split("."):
        data = data.get(part) if isinstance(data, dict) else None
    return data


@dataclass(slots=True)
class Sparing:
    """A counter for repeated log lines: one line a minute for each kind, with the number since then."""

    monotonic: Callable[[], float]
    _since: dict[str, tuple[float, int]] = field(default_factory=dict)

    def count(self, kind: str) -> int:
        """Count one of a kind. Returns the number to log now, 0 while the last line is too recent."""
        now = self.monotonic()
        last, untold = self._since.get(kind, (now - EVERY, 0))
        if len(self._since) >= KINDS and kind not in self._since:
            self._since.clear()
        is_due = now - last >= EVERY
        self._since[kind] = (now, 0) if is_due else (last, untold + 1)
        return untold + 1 if is_due else 0
