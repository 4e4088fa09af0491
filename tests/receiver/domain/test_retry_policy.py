"""The answer table of the contract: the effect of an attempt on its delivery, its endpoint and its lane."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.contract import HttpMessage
from handlers.wishes import retry_after
from receiver.domain.retry_policy import HINT_CEILING, SLOW_DOWN, AttemptOutcome, Decision, decide
from tests.receiver.raw_server import BOUNDED

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
SCHEDULE = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
GONE = "the endpoint answered 410 Gone"
ASKED = "the endpoint asked to be disabled"
# status, `webhook-delivery`, what follows, seconds that the lane is held, why the endpoint is disabled
ANSWERS = [
    *((status, None, "delivered", None, None) for status in (200, 201, 202, 204, 206, 299)),
    *((status, "abort-message", "delivered", None, None) for status in (200, 204)),
    (None, None, "retry", None, None),
    *((status, None, "retry", None, None) for status in (100, 199, 300, 301, 302, 303, 304, 307, 308, 399)),
    *((status, None, "retry", None, None) for status in (400, 401, 403, 404, 408, 409, 411, 413, 418, 422)),
    *((status, None, "retry", None, None) for status in (428, 430, 499, 500, 501, 505, 599)),
    *((status, None, "retry", 5, None) for status in (429, 502, 503, 504)),
    (410, None, "canceled", None, GONE),
    (410, "abort-message", "canceled", None, GONE),
    (500, "abort-message", "canceled", None, None),
    (400, " Abort-Message ", "canceled", None, None),
    (503, "abort-message", "canceled", None, None),
    (500, "disable", "canceled", None, ASKED),
    (404, "DISABLE", "canceled", None, ASKED),
    (429, "disable", "canceled", None, ASKED),
    (500, "abort", "retry", None, None),
    (500, "disabled", "retry", None, None),
    (500, "", "retry", None, None),
]
# What `Retry-After` says, and the seconds that it asks for.
HINTS = [
    ("0", 0),
    ("1", 1),
    (" 120 ", 120),
    ("86400", 86_400),
    ("999999999", 86_400),
    ("007", 7),
    ("Sat, 21 Nov 2026 10:00:30 GMT", 30),
    ("Sat, 21 Nov 2026 12:00:00 +0100", 3600),
    ("Saturday, 21-Nov-26 10:01:00 GMT", 60),
    ("Sat Nov 21 10:02:00 2026", 120),
    ("Sat, 21 Nov 2020 10:00:00 GMT", 0),
    ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
    ("-5", None),
    ("+5", None),
    ("1.5", 2),
    ("1e3", None),
    ("9999999999", 86_400),
    ("5 seconds", None),
    ("soon", None),
    ("", None),
    ("٣٠", None),
    ("Sat, 99 Nov 2026 10:00:30 GMT", None),
    ("\x00", None),
]


def ruled(
    status: int | None = 500,
    asked: str | None = None,
    hint: timedelta | None = None,
    tries: int = 1,
    jitter: float = 0.0,
) -> Decision:
    """Return the decision about an attempt now, under the schedule of the contract."""
    return decide(status, asked, hint, tries=tries, now=NOW, schedule=SCHEDULE, jitter=jitter)


def hint_of(*values: str) -> timedelta | None:
    """Return the wait that an answer with these `Retry-After` headers asks for."""
    return retry_after(HttpMessage(503, tuple(("retry-after", one) for one in values), b"", NOW))


@pytest.mark.parametrize(("status", "asked", "follows", "hold", "disable"), ANSWERS)
def test_what_an_answer_means(
    status: int | None, asked: str | None, follows: str, hold: int | None, disable: str | None
) -> None:
    found = ruled(status, asked)
    assert found.outcome is AttemptOutcome(follows)
    assert found.hold == (None if hold is None else timedelta(seconds=hold))
    assert found.disable == disable
    assert found.next_at == (NOW + timedelta(seconds=5) if follows == "retry" else None)


def test_every_status_means_something() -> None:
    found = {status: ruled(status) for status in range(100, 600)}
    delivered = {status for status, one in found.items() if one.outcome is AttemptOutcome.DELIVERED}
    assert delivered == set(range(200, 300))
    assert {status for status, one in found.items() if one.hold is not None} == SLOW_DOWN
    assert {status for status, one in found.items() if one.disable is not None} == {410}


@pytest.mark.parametrize(("text", "seconds"), HINTS)
def test_how_a_retry_after_is_read(text: str, seconds: int | None) -> None:
    assert hint_of(text) == (None if seconds is None else timedelta(seconds=seconds))


def test_a_doubled_retry_after_counts_once_where_its_values_agree() -> None:
    assert hint_of() is None
    assert hint_of("5", "5") == timedelta(seconds=5)
    assert hint_of("5", "6") is None


@pytest.mark.parametrize("status", [429, 502, 503, 504, 500, 404, 301])
@pytest.mark.parametrize(("text", "waits"), [("1", 5), ("5", 5), ("60", 60), ("90000", 86_400), ("x", 5)])
def test_a_hint_lengthens_the_wait_and_never_shortens_it(status: int, text: str, waits: int) -> None:
    found = ruled(status, hint=hint_of(text))
    assert found.next_at == NOW + timedelta(seconds=waits)
    assert found.hold == (timedelta(seconds=waits) if status in SLOW_DOWN else None)


@pytest.mark.parametrize("tries", range(1, len(SCHEDULE) + 1))
def test_the_schedule_is_kept(tries: int) -> None:
    planned = timedelta(seconds=SCHEDULE[tries - 1])
    assert ruled(tries=tries).next_at == NOW + planned
    assert ruled(tries=tries, jitter=1.0).next_at == NOW + planned * 1.1


@pytest.mark.parametrize("tries", [len(SCHEDULE) + 1, len(SCHEDULE) + 2, 1000])
@pytest.mark.parametrize("status", [None, 302, 400, 500, 503])
def test_after_the_schedule_a_delivery_is_exhausted(status: int | None, tries: int) -> None:
    found = ruled(status, tries=tries, hint=timedelta(seconds=60))
    assert (found.outcome, found.next_at, found.disable) == (AttemptOutcome.EXHAUSTED, None, None)
    assert found.hold == (timedelta(seconds=60) if status == 503 else None)


def test_without_a_schedule_there_is_one_attempt() -> None:
    found = decide(503, None, None, tries=1, now=NOW, schedule=(), jitter=0.5)
    assert found == Decision(outcome=AttemptOutcome.EXHAUSTED, hold=timedelta())


@BOUNDED
@given(
    status=st.none() | st.integers(300, 599).filter(lambda status: status != 410),
    tries=st.integers(1, len(SCHEDULE)),
    jitter=st.floats(0, 1),
    hint=st.none() | st.timedeltas(timedelta(), timedelta(days=400)),
)
def test_a_retry_is_never_earlier_than_planned_or_asked(
    status: int | None, tries: int, jitter: float, hint: timedelta | None
) -> None:
    found = ruled(status, hint=hint, tries=tries, jitter=jitter)
    assert found.next_at is not None
    planned = timedelta(seconds=SCHEDULE[tries - 1])
    asked = min(hint or timedelta(), HINT_CEILING)
    assert max(planned, asked) <= found.next_at - NOW <= max(planned * 1.1, asked) + timedelta(seconds=1)
