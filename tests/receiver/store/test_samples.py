"""The samples of the statistics: each report, event and attempt counts under its own labels."""

from datetime import timedelta
from typing import Any

import pytest

from handlers.contract import Phase, Proof, Update
from receiver.domain.model import By, Event, Job, Outcome, Source, State
from receiver.domain.reports import Action, Command, FailureKind, Note, ProviderFailure, ProviderUpdate
from receiver.domain.statistics import SERIES, Sample
from receiver.store.samples import of_attempt, of_events, of_new_job, of_report
from tests.receiver.store_fixture import START

JOB = Job(
    id="job_1",
    account="aiml",
    operation="video",
    state=State.RUNNING,
    created_at=START,
    updated_at=START,
    deadline_at=START + timedelta(hours=1),
)


def report(sort: type, source: Source, **others: Any) -> Any:
    """Return a report about the job."""
    if sort is ProviderUpdate:
        others = {"update": Update(phase=Phase.RUNNING, provider_job_id="p1"), **others}
    return sort(job_id=JOB.id, source=source, at=START, **others)


@pytest.mark.parametrize(
    ("said", "outcome", "sample"),
    [
        (report(ProviderUpdate, Source.CALLBACK), Outcome.APPLIED, ("callbacks", "applied")),
        (report(ProviderUpdate, Source.CALLBACK, proof=Proof.UNPROVED), Outcome.HINT, ("callbacks", "hint")),
        (report(Note, Source.CALLBACK, kept_as=Outcome.REFUSED), Outcome.REFUSED, ("callbacks", "refused")),
        (report(Note, Source.CALLBACK), Outcome.UNPARSED, ("callbacks", "unparsed")),
        (report(ProviderUpdate, Source.POLL), Outcome.UNCHANGED, ("polls", "unchanged")),
        (report(ProviderFailure, Source.POLL, kind=FailureKind.MISS), Outcome.ERROR, ("polls", "missing")),
        (report(ProviderFailure, Source.POLL, kind=FailureKind.TRANSIENT), Outcome.ERROR, ("polls", "error")),
        (report(ProviderUpdate, Source.SUBMISSION), Outcome.APPLIED, ("submissions", "accepted")),
        (
            report(ProviderFailure, Source.SUBMISSION, kind=FailureKind.LOST),
            Outcome.ERROR,
            ("submissions", "lost"),
        ),
        (
            report(ProviderFailure, Source.SUBMISSION, kind=FailureKind.RESTORE),
            Outcome.ERROR,
            ("submissions", "retried"),
        ),
        (
            report(ProviderFailure, Source.SUBMISSION, kind=FailureKind.REJECT),
            Outcome.ERROR,
            ("submissions", "rejected"),
        ),
    ],
)
def test_a_report_counts_by_its_source_and_outcome(
    said: Any, outcome: Outcome, sample: tuple[str, str]
) -> None:
    name, label = sample
    assert of_report(said, outcome, JOB, JOB, "video") == ((name, ("aiml", label), None),)


@pytest.mark.parametrize("source", [Source.NOTE, Source.POLL])
def test_a_command_counts_only_by_what_it_ends(source: Source) -> None:
    said = report(Command, source, action=Action.EXPIRE)
    assert of_report(said, Outcome.APPLIED, JOB, JOB, "video") == ()
    after = JOB.but(state=State.EXPIRED, completed_at=START + timedelta(seconds=90), completed_by=By.DEADLINE)
    assert of_report(said, Outcome.APPLIED, JOB, after, "other") == (
        ("jobs", ("aiml", "other", "expired", "deadline"), None),
        ("job_duration_seconds", ("aiml", "other", "expired"), 90.0),
    )
    assert of_report(said, Outcome.LATE, after, after, "other") == ()


@pytest.mark.parametrize(
    ("expects", "by", "hinted", "missed"),
    [
        (True, By.POLL, False, True),
        (True, By.POLL, True, False),
        (True, By.CALLBACK, False, False),
        (False, By.POLL, False, False),
    ],
)
def test_a_job_that_a_poll_ends_has_missed_the_callback_that_it_expected(
    expects: bool, by: By, hinted: bool, missed: bool
) -> None:
    before = JOB.but(expects_callback=expects)
    after = before.but(state=State.SUCCEEDED, completed_at=START, completed_by=by)
    said = report(ProviderUpdate, Source.POLL, hinted=hinted)
    found = of_report(said, Outcome.APPLIED, before, after, "video")
    assert (("callbacks_missed", ("aiml",), None) in found) is missed


def test_an_event_counts_by_its_type() -> None:
    event = Event(id="evt_1", type="job.failed", job_id="job_1", at=START, sequence=1, body=b"{}")
    assert of_events([event]) == [("events", ("job.failed",), None)]


@pytest.mark.parametrize(
    ("status", "ended", "kind", "more"),
    [
        (204, "delivered", "2xx", ["deliveries", "event_to_delivered_seconds"]),
        (302, None, "3xx", []),
        (410, "canceled", "4xx", ["deliveries"]),
        (503, "exhausted", "5xx", ["deliveries"]),
        (None, None, "error", []),
    ],
)
def test_an_attempt_counts_by_its_answer_and_a_delivery_by_its_end(
    status: int | None, ended: str | None, kind: str, more: list[str]
) -> None:
    found = of_attempt("ep_1", status, 0.25, ended, 3.0)
    assert found[:2] == (
        ("delivery_attempts", ("ep_1", kind), None),
        ("delivery_attempt_seconds", ("ep_1",), 0.25),
    )
    assert [name for name, _, _ in found[2:]] == more
    if "event_to_delivered_seconds" in more:
        assert found[-1][2] == 3.0


def test_the_callback_urls_of_jobs_share_one_label() -> None:
    assert of_attempt(None, 200, 0.1, None, 0.0)[0] == ("delivery_attempts", ("callback_url", "2xx"), None)


def test_samples_have_the_labels_of_their_series() -> None:
    done = JOB.but(state=State.SUCCEEDED, completed_at=START, completed_by=By.POLL, expects_callback=True)
    started = JOB.but(expects_callback=True)
    samples: list[Sample] = [
        *of_report(report(ProviderUpdate, Source.POLL), Outcome.APPLIED, started, done, "video"),
        *of_attempt("ep_1", 200, 0.1, "delivered", 1.0),
        of_new_job("aiml", "video"),
    ]
    for name, labels, value in samples:
        assert len(labels) == len(SERIES[name].labels), name
        assert (value is not None) is bool(SERIES[name].buckets), name
