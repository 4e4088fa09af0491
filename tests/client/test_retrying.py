"""Attempts: which calls are sent again, when, and when no more."""

import functools
from dataclasses import replace
from email.utils import format_datetime

import pytest

from ringback.calls import endpoints, jobs
from ringback.core import Answer, Call, Lost, Steps
from ringback.errors import (
    Conflict,
    InternalError,
    Invalid,
    RingbackError,
    ServiceError,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from ringback.retrying import Retry, attempts, retry_after
from ringback.values import Job
from tests.client.driven import AT, AWAY, CUT, JOB, UNSENT, Driven, refused, said

READ = jobs.show("job_1")
CHANGE = jobs.cancel("job_1")
PAGE = Answer(502, {}, b"<html>")
BROKEN = refused(500, "internal")
BUSY = refused(429, "too-many-requests")


def tried(call: Call[Job], *replies: Answer | Lost, **bounds: float) -> tuple[Job, Driven]:
    """Make a call with these replies. Returns its value and the driver."""
    driven = Driven(replies)
    return driven.run(lambda retry: attempts(call, retry), **bounds), driven


@pytest.mark.parametrize("bad", [UNSENT, CUT, PAGE, BROKEN, BUSY, AWAY], ids=repr)
def test_a_reading_call_is_sent_again_after_everything_that_passes(bad: Answer | Lost) -> None:
    job, driven = tried(READ, bad, bad, said(JOB))
    assert (job.id, len(driven.calls), driven.pauses) == (JOB["id"], 3, [0.25, 0.5])


@pytest.mark.parametrize("bad", [UNSENT, BUSY, AWAY], ids=repr)
def test_a_changing_call_is_sent_again_where_nothing_was_carried_out(bad: Answer | Lost) -> None:
    job, driven = tried(CHANGE, bad, said(JOB))
    assert (job.id, len(driven.calls)) == (JOB["id"], 2)


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (CUT, Unreachable),
        (PAGE, UnexpectedAnswer),
        (BROKEN, InternalError),
        (refused(503, "brand-new"), ServiceError),
    ],
    ids=repr,
)
def test_a_changing_call_that_was_perhaps_carried_out_is_sent_once(
    bad: Answer | Lost, kind: type[RingbackError]
) -> None:
    driven = Driven([bad])
    with pytest.raises(kind) as caught:
        driven.run(lambda retry: attempts(CHANGE, retry))
    assert (type(caught.value), len(driven.calls), driven.pauses) == (kind, 1, [])


@pytest.mark.parametrize("call", [READ, CHANGE, jobs.submit("p", {})], ids=lambda call: call.method)
@pytest.mark.parametrize(
    ("status", "code", "kind"), [(422, "validation", Invalid), (409, "conflict", Conflict)]
)
def test_a_refusal_is_told_at_once(
    call: Call[Job], status: int, code: str, kind: type[RingbackError]
) -> None:
    driven = Driven([refused(status, code)])
    with pytest.raises(kind):
        driven.run(lambda retry: attempts(call, retry))
    assert len(driven.calls) == 1


@pytest.mark.parametrize("bad", [UNSENT, CUT, PAGE, BROKEN, BUSY, AWAY], ids=repr)
def test_a_submission_is_sent_again_under_the_same_key(bad: Answer | Lost) -> None:
    _, driven = tried(jobs.submit("p", {"prompt": "x"}), bad, bad, said(JOB))
    keys = [call.headers["idempotency-key"] for call in driven.calls]
    assert keys == ["07" * 16] * 3
    assert len({call.body for call in driven.calls}) == 1


def _with(call: Call[Job], retry: Retry, _: Retry) -> Steps[Job]:
    return attempts(call, retry)


def test_each_submission_has_a_key_of_its_own() -> None:
    call = jobs.submit("p", {})
    keys = set()
    for _ in range(3):
        driven = Driven([said(JOB)])
        retry = replace(driven.retry(), entropy=Retry().entropy)
        driven.run(functools.partial(_with, call, retry))
        keys.add(driven.calls[0].headers["idempotency-key"])
    assert len(keys) == 3
    assert all(len(key) == 32 for key in keys)


def test_attempts_end_at_their_number_with_the_last_error() -> None:
    driven = Driven([CUT, CUT, AWAY])
    with pytest.raises(Unavailable):
        driven.run(lambda retry: attempts(READ, retry), attempts=3)
    assert (len(driven.calls), driven.pauses) == (3, [0.25, 0.5])


def test_no_attempt_begins_behind_the_total_time() -> None:
    driven = Driven([CUT] * 9)
    with pytest.raises(Unreachable):
        driven.run(lambda retry: attempts(READ, retry), attempts=9, total=1.7)
    assert driven.pauses == [0.25, 0.5]  # the next pause, of a second, would end behind 1.7 s


def test_a_retry_after_lengthens_the_pause_and_never_shortens_it() -> None:
    patient = refused(503, "unavailable", headers={"retry-after": "3"})
    hasty = refused(503, "unavailable", headers={"retry-after": "0"})
    _, driven = tried(READ, patient, hasty, said(JOB))
    assert driven.pauses == [3.0, 0.5]


def test_a_retry_after_behind_the_total_time_is_not_waited_for() -> None:
    driven = Driven([refused(503, "unavailable", headers={"retry-after": "3600"})])
    with pytest.raises(Unavailable):
        driven.run(lambda retry: attempts(READ, retry))
    assert driven.pauses == []


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": " 7 "}, 7.0),
        ({}, 0.0),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after": "1e3"}, 0.0),
        ({"retry-after": "٣"}, 0.0),
        ({"retry-after": "9" * 5000}, 0.0),
        ({"retry-after": format_datetime(AT, usegmt=False)}, 0.0),
        ({"retry-after": "Sat, 21 Nov 2026 10:01:00 GMT", "date": "Sat, 21 Nov 2026 10:00:00 GMT"}, 60.0),
        ({"retry-after": "Sat, 21 Nov 2026 09:00:00 GMT", "date": "Sat, 21 Nov 2026 10:00:00 GMT"}, 0.0),
        ({"retry-after": "Sat, 21 Nov 2026 10:01:00", "date": "Sat, 21 Nov 2026 10:00:00 GMT"}, 0.0),
        ({"retry-after": "soon", "date": "now"}, 0.0),
    ],
)
def test_a_retry_after_is_seconds_or_a_date_beside_the_date_of_the_answer(
    headers: dict[str, str], seconds: float
) -> None:
    assert retry_after(Answer(503, headers, b"")) == seconds


def test_pauses_double_to_a_bound_and_are_shortened_by_up_to_a_half() -> None:
    longest = Retry(chance=lambda: 0.0)
    assert [longest.pause(number) for number in (1, 2, 3, 6, 7, 5000)] == [0.25, 0.5, 1.0, 8.0, 8.0, 8.0]
    shortest = Retry(chance=lambda: 1.0)
    assert [shortest.pause(number) for number in (1, 7)] == [0.125, 4.0]
    assert shortest.pause(1, 2.0) == 2.0


def test_a_call_without_chance_is_the_same_at_each_attempt() -> None:
    _, driven = tried(endpoints.show("ep_1"), CUT, said(ENDPOINT))  # type: ignore[arg-type]  # another value
    assert driven.calls[0] == driven.calls[1]


ENDPOINT = {
    "id": "ep_1",
    "url": "https://app.example.com/hooks",
    "events": [],
    "description": "",
    "headers": {},
    "max_in_flight": 64,
    "include": [],
    "state": "active",
    "disabled_reason": None,
    "from_file": False,
    "created_at": "2026-11-21T10:00:00.123Z",
    "updated_at": "2026-11-21T10:00:00.123Z",
}
"""An endpoint of a service that has none of the later fields."""
