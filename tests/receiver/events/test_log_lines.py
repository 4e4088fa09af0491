"""Log lines: their levels and values, and lines that repeat."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from handlers.contract import FailureCode
from receiver.domain.model import Event, Job, JobError, Outcome, State
from receiver.domain.rendering import event_body
from receiver.events.log_lines import EVERY, KINDS, LINES, LOGGER, Sparing, announced, recorded
from receiver.store.record_context import RecordResult

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
JOB = Job(
    id="job_1",
    account="aiml",
    operation="video",
    state=State.FAILED,
    created_at=NOW,
    updated_at=NOW,
    deadline_at=NOW + timedelta(hours=2),
)


def event(event_type: str, data: dict[str, Any], job_id: str | None = "job_1") -> Event:
    """Return an event with these data."""
    body = event_body("evt_1", event_type, NOW, data)
    return Event(id="evt_1", type=event_type, job_id=job_id, at=NOW, sequence=1, body=body)


def test_what_repeats_is_told_at_once_and_then_once_a_minute_with_its_count() -> None:
    clock = [0.0]
    sparing = Sparing(lambda: clock[0])
    assert [sparing.count("a") for _ in range(3)] == [1, 0, 0]
    assert sparing.count("b") == 1
    clock[0] += EVERY
    assert sparing.count("a") == 3
    assert sparing.count("a") == 0


def test_kinds_without_number_are_not_kept() -> None:
    sparing = Sparing(lambda: 0.0)
    for number in range(3 * KINDS):
        sparing.count(str(number))
    assert len(sparing._since) <= KINDS


def test_every_line_takes_as_many_values_as_it_has() -> None:
    for line in LINES.values():
        assert line.text % tuple("x" for _ in line.values)


FAILED = event("job.failed", {"id": "job_1", "error": {"code": "rejected", "message": "no model"}})


@pytest.mark.parametrize(
    ("code", "level"),
    [
        (FailureCode.REJECTED, logging.WARNING),
        (FailureCode.NO_CREDIT, logging.WARNING),
        (FailureCode.GENERATION_FAILED, logging.INFO),
        (FailureCode.CONTENT_POLICY, logging.INFO),
        (FailureCode.CANCELED_BY_PROVIDER, logging.INFO),
    ],
)
def test_a_failed_job_is_logged_louder_where_a_setting_may_be_wrong(
    code: FailureCode, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER.name)
    job = JOB.but(error=JobError(code, "no model"))
    recorded(RecordResult(job=job, outcome=Outcome.APPLIED, events=(FAILED,)))
    [line] = caplog.records
    assert (line.levelno, line.args) == (level, ("rejected", "no model"))
    about = {name: line.__dict__[name] for name in ("job", "account", "operation")}
    assert about == {"job": "job_1", "account": "aiml", "operation": "video"}


def test_an_event_of_an_account_is_logged_with_its_account(caplog: pytest.LogCaptureFixture) -> None:
    announced([event("provider.blocked", {"id": "aiml", "reason": "no credit"}, None)])
    [line] = caplog.records
    assert (line.levelno, line.args, line.__dict__["account"]) == (logging.WARNING, ("no credit",), "aiml")


def test_a_value_that_an_event_lacks_is_logged_as_none(caplog: pytest.LogCaptureFixture) -> None:
    announced([event("job.failed", {"id": "job_1", "error": None})], JOB)
    assert [line.args for line in caplog.records] == [(None, None)]


def test_each_report_is_logged_at_debug_and_events_that_need_no_person_not_at_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    running = event("job.running", {"id": "job_1"})
    late = event("job.late_result", {"id": "job_1", "state": "expired"})
    found = RecordResult(job=JOB, outcome=Outcome.UNCHANGED, events=(running, late))
    caplog.set_level(logging.WARNING, LOGGER.name)
    recorded(found)
    assert caplog.records == []
    caplog.set_level(logging.DEBUG, LOGGER.name)
    recorded(found)
    assert [(line.levelno, line.args) for line in caplog.records] == [
        (logging.DEBUG, ("failed", "unchanged")),
        (logging.INFO, ("expired",)),
    ]
    caplog.clear()
    recorded(RecordResult(job=None, outcome=Outcome.LATE))
    assert caplog.records == []
