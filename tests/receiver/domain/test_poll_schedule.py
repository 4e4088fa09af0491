"""Times of polls: the account's settings over the provider's cadence, never past the deadline."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.contract import Cadence
from receiver.domain.model import Job, ScheduledWork, State, Work
from receiver.domain.poll_schedule import BACKOFF_CEILING, PollSchedule, is_polled, next_poll, next_submit
from tests.receiver.raw_server import BOUNDED

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
SECONDS = timedelta(seconds=1)
CADENCE = Cadence(
    first=5 * SECONDS, interval=4 * SECONDS, factor=2.0, ceiling=30 * SECONDS, backstop=180 * SECONDS
)


def seconds(count: int | None) -> timedelta | None:
    """Return a number of seconds as a time, None for None."""
    return None if count is None else count * SECONDS


def job(**others: object) -> Job:
    """Return a job that the provider knows, with these fields."""
    made = Job(
        id="job_1",
        account="apiframe",
        operation="imagine",
        state=State.QUEUED,
        created_at=NOW,
        updated_at=NOW,
        deadline_at=NOW + timedelta(hours=2),
        provider_job_id="p1",
    )
    return made.but(**others)


@pytest.mark.parametrize(
    ("interval", "backstop", "expects_callback", "waits"),
    [
        (None, None, False, 5),
        (7, None, False, 7),
        (None, None, True, 180),
        (None, 60, True, 60),
        (7, 60, True, 60),
        (7, 60, False, 7),
    ],
)
def test_how_long_the_first_poll_waits(
    interval: int | None, backstop: int | None, expects_callback: bool, waits: int
) -> None:
    rhythm = PollSchedule(CADENCE, seconds(interval), seconds(backstop))
    assert rhythm.first(expects_callback=expects_callback) == waits * SECONDS
    before = job(expects_callback=expects_callback)
    for jitter in (0.0, 1.0):
        due = next_poll(before, rhythm, now=NOW, polls=0, jitter=jitter)
        assert due == ScheduledWork(Work.POLL, "apiframe", NOW + waits * SECONDS, 0)


@pytest.mark.parametrize(
    ("interval", "polls", "expects_callback", "waits"),
    [
        (None, 1, False, 8),
        (None, 2, False, 16),
        (None, 3, False, 30),
        (None, 10_000, False, 30),
        (60, 1, False, 60),
        (60, 10_000, False, 60),
        (None, 1, True, 180),
        (None, 10_000, True, 180),
        (600, 5, True, 600),
    ],
)
def test_how_long_later_polls_wait(
    interval: int | None, polls: int, expects_callback: bool, waits: int
) -> None:
    rhythm = PollSchedule(CADENCE, seconds(interval))
    assert rhythm.after(polls, expects_callback=expects_callback) == waits * SECONDS


@pytest.mark.parametrize(
    ("left", "wait", "polls_in"),
    [(7200, None, 16), (10, None, 10), (7200, 100, 100), (60, 100, 60), (0, None, 0), (-5, 100, 0)],
)
def test_a_poll_waits_as_told_but_never_past_the_deadline(left: int, wait: int | None, polls_in: int) -> None:
    before = job(deadline_at=NOW + left * SECONDS)
    due = next_poll(before, PollSchedule(CADENCE), now=NOW, polls=2, jitter=0.0, wait=seconds(wait))
    assert due.at == NOW + polls_in * SECONDS
    assert due.tries == 2


@pytest.mark.parametrize(("polls", "wait"), [(1, None), (0, 100)])
def test_polls_of_jobs_that_waited_together_are_spread(polls: int, wait: int | None) -> None:
    early, late = (
        next_poll(job(), PollSchedule(CADENCE), now=NOW, polls=polls, jitter=jitter, wait=seconds(wait)).at
        for jitter in (0.0, 1.0)
    )
    assert late - NOW == (early - NOW) * 1.1


@BOUNDED
@given(
    polls=st.integers(0, 100_000),
    jitter=st.floats(0, 1),
    left=st.integers(-100, 604_800),
    wait=st.none() | st.integers(0, 604_800),
    interval=st.none() | st.integers(1, 604_800),
    expects_callback=st.booleans(),
)
def test_jitter_spreads_and_never_hurries(
    polls: int, jitter: float, left: int, wait: int | None, interval: int | None, expects_callback: bool
) -> None:
    before = job(deadline_at=NOW + left * SECONDS, expects_callback=expects_callback)
    rhythm = PollSchedule(CADENCE, seconds(interval))

    def at(chance: float) -> datetime:
        return next_poll(before, rhythm, now=NOW, polls=polls, jitter=chance, wait=seconds(wait)).at

    assert NOW <= at(0.0) <= at(jitter) <= max(before.deadline_at, NOW)
    assert at(jitter) - NOW <= (at(0.0) - NOW) * 1.1 + SECONDS


@BOUNDED
@given(st.integers(1, 5_000), st.booleans())
def test_polls_only_grow_sparser(polls: int, expects_callback: bool) -> None:
    rhythm = PollSchedule(CADENCE)
    one, next_ = (rhythm.after(polls + n, expects_callback=expects_callback) for n in (0, 1))
    assert one <= next_


@pytest.mark.parametrize(
    ("tries", "wait", "goes_in"),
    [
        *((0, None, 0), (1, None, 2), (2, None, 4), (3, None, 8), (7, None, 120), (10_000, None, 120)),
        *((0, 30, 30), (1, 30, 30), (10_000, 300, 300)),
    ],
)
def test_how_long_a_submission_waits(tries: int, wait: int | None, goes_in: int) -> None:
    due = next_submit(job(), now=NOW, tries=tries, jitter=0.0, wait=seconds(wait))
    assert due == ScheduledWork(Work.SUBMIT, "apiframe", NOW + goes_in * SECONDS, tries)
    late = next_submit(job(), now=NOW, tries=tries, jitter=1.0, wait=seconds(wait))
    assert due.at <= late.at <= NOW + max(BACKOFF_CEILING, due.at - NOW) * 1.1


@pytest.mark.parametrize(
    ("state", "theirs", "can_poll", "polled"),
    [
        (State.QUEUED, "p1", True, True),
        (State.UNCONFIRMED, "p1", True, True),
        (State.QUEUED, None, True, False),
        (State.QUEUED, "p1", False, False),
        (State.PENDING, "p1", True, False),
    ],
)
def test_which_jobs_are_worth_asking_about(
    state: State, theirs: str | None, can_poll: bool, polled: bool
) -> None:
    assert is_polled(job(state=state, provider_job_id=theirs), can_poll=can_poll) is polled
