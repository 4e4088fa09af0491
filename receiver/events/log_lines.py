"""The log of jobs and accounts: a line for each event that needs a person, transitions at debug."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from handlers import json
from handlers.contract import FailureCode
from handlers.values import immutable
from receiver.domain.model import Event, Job
from receiver.store.record import RecordResult

LOGGER = logging.getLogger("ringback.notices")
EVERY = 60.0
"""Seconds between two lines about the same kind of refusal."""
KINDS = 1000
ORDINARY = frozenset(
    {FailureCode.GENERATION_FAILED, FailureCode.CONTENT_POLICY, FailureCode.CANCELED_BY_PROVIDER}
)
"""Failures that are the input's or the provider's own affair; the others may be a wrong setting."""


@immutable
class Line:
    """A level, a text, and the values of the event's data that stand in it."""

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
    """Log the outcome of a word: at debug, and louder where it made an event that needs a person."""
    job = found.job
    if job is not None and LOGGER.isEnabledFor(logging.DEBUG):
        LOGGER.debug("job is %s (%s)", job.state.value, found.outcome.value, extra=_about(job))
    announced(found.events, job)


def announced(events: Sequence[Event], job: Job | None = None) -> None:
    """Say which of these events need a person."""
    for event in events:
        line = LINES.get(event.type)
        if line is None:
            continue
        level = logging.INFO if _ordinary(event, job) else line.level
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


def _about(job: Job) -> dict[str, str]:
    return {"job": job.id, "account": job.account, "operation": job.operation}


def _value(data: Any, name: str) -> Any:
    for part in name.split("."):
        data = data.get(part) if isinstance(data, dict) else None
    return data


@dataclass(slots=True)
class Sparing:
    """Says that something happens, once a minute for each kind, with how often it did since."""

    monotonic: Callable[[], float]
    _since: dict[str, tuple[float, int]] = field(default_factory=dict)

    def count(self, kind: str) -> int:
        """Count one of a kind. Returns how many there are to tell of now; 0 while it is too soon."""
        now = self.monotonic()
        last, untold = self._since.get(kind, (now - EVERY, 0))
        if len(self._since) >= KINDS and kind not in self._since:
            self._since.clear()
        told = now - last >= EVERY
        self._since[kind] = (now, 0) if told else (last, untold + 1)
        return untold + 1 if told else 0
