"""States of a job: the change by each phase as a table, and rules that hold in any order of reports."""

import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.contract import Asset, Failure, FailureCode, Kind, Phase, Update
from receiver.domain import lifecycle
from receiver.domain.event_types import JOB_FINAL, TYPES
from receiver.domain.lifecycle import ABANDONED, ANNOUNCED, RANK, Change
from receiver.domain.model import FINAL, By, Job, JobError, Outcome, State
from tests.receiver.raw_server import BOUNDED

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
FILE = Asset(kind=Kind.VIDEO, url="https://cdn.example/1.mp4")
OTHER_FILE = Asset(kind=Kind.VIDEO, url="https://cdn.example/2.mp4")
BECOMES = """
                queued    running   succeeded  failed   canceled  unknown
    pending     queued    running   succeeded  failed   canceled  queued
    submitting  queued    running   succeeded  failed   canceled  queued
    unconfirmed queued    running   succeeded  failed   canceled  queued
    queued      queued    running   succeeded  failed   canceled  queued
    running     running   running   succeeded  failed   canceled  running
    succeeded   succeeded succeeded succeeded  succeeded succeeded succeeded
    failed      failed    failed    failed     failed   failed    failed
    canceled    canceled  canceled  canceled   canceled canceled  canceled
    expired     expired   expired   expired    expired  expired   expired
"""
FILED = """
                queued    running   succeeded     failed        canceled      unknown
    pending     applied   applied   applied       applied       applied       unknown-word
    submitting  applied   applied   applied       applied       applied       unknown-word
    unconfirmed applied   applied   applied       applied       applied       unknown-word
    queued      unchanged applied   applied       applied       applied       unknown-word
    running     unchanged unchanged applied       applied       applied       unknown-word
    succeeded   late      late      duplicate     contradiction contradiction late
    failed      late      late      contradiction duplicate     contradiction late
    canceled    late      late      late          late          duplicate     late
    expired     late      late      late          late          late          late
"""
MOVES = """
                expire  cancel   fail   reject lose        restore bind   miss        hint
    pending     expired canceled failed failed unconfirmed -       -      pending     pending
    submitting  expired canceled failed failed unconfirmed pending -      submitting  submitting
    unconfirmed expired canceled failed failed -           pending queued unconfirmed unconfirmed
    queued      expired canceled failed !      -           -       -      queued      queued
    running     expired canceled failed !      -           -       -      running     running
    succeeded   -       -        -      -      -           -       -      -           -
    failed      -       -        -      -      -           -       -      -           -
    canceled    -       -        -      -      -           -       -      -           canceled
    expired     -       -        -      -      -           -       -      -           expired
"""
DECIDED = """
                resubmit give-up
    pending     -        -
    submitting  -        -
    unconfirmed pending  failed
    queued      -        -
    running     -        -
    succeeded   -        -
    failed      -        -
    canceled    -        -
    expired     -        -
"""
UNMOVED = {"-": Outcome.LATE, "!": Outcome.CONTRADICTION}
ERROR = JobError(FailureCode.REJECTED, "no")
MOVERS: dict[str, Callable[[Job], Change]] = {
    "expire": lambda job: lifecycle.expire(job, now=NOW),
    "cancel": lambda job: lifecycle.cancel(job, now=NOW),
    "fail": lambda job: lifecycle.fail(job, ERROR, now=NOW, by=By.POLL),
    "reject": lambda job: lifecycle.fail(job, ERROR, now=NOW, by=By.SUBMIT),
    "lose": lambda job: lifecycle.lose(job, now=NOW),
    "restore": lambda job: lifecycle.restore(job, now=NOW),
    "resubmit": lambda job: lifecycle.resubmit(job, now=NOW),
    "give-up": lambda job: lifecycle.give_up(job, ERROR, now=NOW, by=By.OPERATOR),
    "bind": lambda job: lifecycle.bind(job, "p2", now=NOW),
    "miss": lambda job: lifecycle.miss(job, now=NOW, by=By.POLL),
    "hint": lambda job: lifecycle.hint(job, says(Phase.SUCCEEDED), now=NOW),
}


def table(text: str) -> list[tuple[str, str, str]]:
    """Return row, column and cell for each cell of a table."""
    head, *lines = text.strip().splitlines()
    names = head.split()
    split = [line.split() for line in lines]
    return [(row, name, cell) for row, *cells in split for name, cell in zip(names, cells, strict=True)]


def job(state: State | str = State.QUEUED, **others: object) -> Job:
    """Return a job with these fields."""
    made = Job(
        id="job_1",
        account="apiframe",
        operation="imagine",
        state=State(state),
        created_at=NOW,
        updated_at=NOW,
        deadline_at=NOW + timedelta(hours=2),
    )
    return made.but(**others)


def says(phase: Phase | str, theirs: str | None = None, **others: object) -> Update:
    """Return an update; a success names a file unless `assets` says otherwise."""
    phase = Phase(phase)
    if phase is Phase.SUCCEEDED:
        others.setdefault("assets", (FILE,))
    if phase is Phase.FAILED:
        others.setdefault("failure", Failure("E7", "it did not work"))
    return Update(provider_job_id=theirs, phase=phase, **others)  # type: ignore[arg-type]  # a test's shorthand


def advance(before: Job, update: Update, **others: object) -> Change:
    """Return the change that an update makes now, as the answer to a poll."""
    named = {"now": NOW, "by": By.POLL} | others
    return lifecycle.advance(before, update, **named)  # type: ignore[arg-type]  # a test's shorthand


def fold(start: Job, updates: Sequence[Update], **others: object) -> tuple[Job, list[str]]:
    """Return the job after these reports, a second apart, and the events on the way."""
    found, events = start, list[str]()
    for number, update in enumerate(updates):
        change = advance(found, update, now=NOW + timedelta(seconds=number), **others)
        assert RANK[change.job.state] >= RANK[found.state]
        answer = update.provider_job_id if others.get("by") is By.SUBMIT else None
        named = found.but(provider_job_id=found.provider_job_id or answer)
        assert change.job == named or not found.state.final or "job.late_result" in change.events
        found, events = change.job, [*events, *change.events]
    return found, events


def test_the_tables_name_every_state_and_phase() -> None:
    assert {(row, name) for row, name, _ in table(BECOMES)} == set(itertools.product(State, Phase))
    assert {(row, name) for row, name, _ in table(FILED)} == set(itertools.product(State, Phase))
    assert {row for row, _, _ in table(MOVES)} == set(State)


@pytest.mark.parametrize(("state", "phase", "becomes"), table(BECOMES))
def test_what_a_phase_makes_of_a_state(state: str, phase: str, becomes: str) -> None:
    change = advance(job(state), says(phase))
    assert change.job.state == becomes
    announced = ANNOUNCED.get(State(becomes)) if becomes != state else None
    expected = [announced] if announced else []
    late = state in ABANDONED and phase == Phase.SUCCEEDED
    assert list(change.events) == (["job.late_result"] if late else expected)


@pytest.mark.parametrize(("state", "phase", "outcome"), table(FILED))
def test_how_a_word_is_filed(state: str, phase: str, outcome: str) -> None:
    assert advance(job(state), says(phase)).outcome == outcome


@pytest.mark.parametrize(("state", "move", "becomes"), [*table(MOVES), *table(DECIDED)])
def test_what_a_move_makes_of_a_state(state: str, move: str, becomes: str) -> None:
    before = job(state)
    change = MOVERS[move](before)
    if becomes in UNMOVED:
        assert (change.job, change.events, change.outcome) == (before, (), UNMOVED[becomes])
        return
    assert change.job.state == becomes
    announced = ANNOUNCED.get(State(becomes)) if becomes != state else None
    assert change.events == ((announced,) if announced else ())


@pytest.mark.parametrize("state", [state for state in State if not state.final])
def test_an_end_says_when_by_whom_and_why(state: State) -> None:
    failed = advance(job(state, quiet_poll="evd_1"), says("failed"), by=By.CALLBACK).job
    assert (failed.completed_at, failed.completed_by, failed.quiet_poll) == (NOW, By.CALLBACK, None)
    assert failed.error == JobError(FailureCode.GENERATION_FAILED, "it did not work", "E7")
    canceled = advance(job(state), says("canceled")).job
    assert canceled.error is not None
    assert canceled.error.code is FailureCode.CANCELED_BY_PROVIDER
    expired = lifecycle.expire(job(state), now=NOW).job
    assert expired.error is not None
    assert (expired.error.code, expired.completed_by) == (FailureCode.DEADLINE, By.DEADLINE)
    assert lifecycle.cancel(job(state), now=NOW).job.completed_by is By.CANCEL


def test_every_announcement_is_an_event_type() -> None:
    assert set(ANNOUNCED.values()) <= set(TYPES)
    assert {ANNOUNCED[state] for state in FINAL} == set(JOB_FINAL)


@pytest.mark.parametrize(
    ("ours", "theirs", "bound"),
    [(None, "p1", "p1"), ("p1", "p1", "p1"), ("p1", None, "p1"), (None, None, None)],
)
def test_a_word_may_tell_the_providers_id(ours: str | None, theirs: str | None, bound: str | None) -> None:
    before = job(State.SUBMITTING, provider_job_id=ours)
    assert advance(before, says("queued", theirs)).job.provider_job_id == bound
    hinted = lifecycle.hint(before, says("succeeded", theirs), now=NOW)
    assert (hinted.job, hinted.outcome) == (before, Outcome.HINT)
    guessed = lifecycle.hint(before, says("succeeded", theirs), now=NOW, guess=True)
    assert (guessed.job.provider_job_id, guessed.job.state) == (ours, State.SUBMITTING)
    assert guessed.job.guessed_id == (theirs if ours is None else None)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("state", State)
def test_a_word_about_another_job_changes_nothing(state: State, phase: Phase) -> None:
    before = job(state, provider_job_id="p1")
    expected = Change(before, outcome=Outcome.MISMATCH)
    assert advance(before, says(phase, "p2")) == expected
    assert lifecycle.hint(before, says(phase, "p2"), now=NOW) == expected


def test_a_lost_answer_is_no_riddle_once_a_callback_named_the_job() -> None:
    change = lifecycle.lose(job(State.SUBMITTING, provider_job_id="p1"), now=NOW)
    assert (change.job.state, change.events) == (State.QUEUED, ())


@pytest.mark.parametrize("state", sorted(ABANDONED))
def test_a_late_result_is_added_once(state: State) -> None:
    before = job(state, error=ERROR)
    first = advance(before, says("succeeded", usage={"credits": 1}))
    assert (first.job.state, first.job.assets, first.events) == (state, (FILE,), ("job.late_result",))
    assert (first.job.error, first.job.usage) == (ERROR, {"credits": 1})
    second = advance(first.job, says("succeeded", assets=(OTHER_FILE,)))
    assert (second.job, second.events, second.outcome) == (first.job, (), Outcome.LATE)
    without = advance(before, says("succeeded", assets=()))
    assert (without.job, without.events) == (before, ())


@pytest.mark.parametrize("state", sorted(FINAL - ABANDONED))
def test_no_result_is_added_to_a_job_that_the_provider_ended(state: State) -> None:
    before = job(state)
    assert advance(before, says("succeeded", assets=(OTHER_FILE,))).job is before


@pytest.mark.parametrize(("after", "announced"), [(0.0, False), (0.999, False), (1.0, True), (60.0, True)])
def test_progress_is_announced_at_most_once_a_second(after: float, *, announced: bool) -> None:
    running = advance(job(), says("running", progress=1.0))
    assert running.events == ("job.running",)
    later = NOW + timedelta(seconds=after)
    change = advance(running.job, says("running", progress=2.0), now=later)
    assert change.job.progress == 2.0
    assert change.events == (("job.progressed",) if announced else ())


PHASES = st.sampled_from(Phase)
PROGRESS = st.none() | st.floats(0, 100)
UPDATES = st.builds(
    lambda phase, progress, file: says(phase, "p1", progress=progress, assets=(FILE,) if file else ()),
    PHASES,
    PROGRESS,
    st.booleans(),
)


@BOUNDED
@given(st.lists(PROGRESS, max_size=12))
def test_progress_never_falls(told: list[float | None]) -> None:
    found, highest = job(State.RUNNING), None
    for progress in told:
        highest = max((p for p in (highest, progress) if p is not None), default=None)
        found = advance(found, says("running", progress=progress)).job
        assert found.progress == highest
    done = advance(found, says("succeeded")).job
    assert done.progress == (None if highest is None else 100.0)


@BOUNDED
@given(
    st.sampled_from(State),
    st.lists(UPDATES, max_size=12),
    st.sampled_from([By.CALLBACK, By.POLL]),
    st.booleans(),
)
def test_no_row_of_words_steps_back_or_ends_a_job_twice(
    state: State, updates: list[Update], by: By, can_poll: bool
) -> None:
    found, events = fold(job(state), updates, by=by, can_poll=can_poll)
    ended = [event for event in events if event in JOB_FINAL]
    assert len(ended) == (1 if found.state.final and not state.final else 0)
    assert events.count("job.running") <= 1
    assert events.count("job.late_result") <= 1
    assert not ended or ended == [ANNOUNCED[found.state]]


@BOUNDED
@given(st.lists(UPDATES, min_size=1, max_size=6))
def test_a_word_said_twice_is_told_once(updates: list[Update]) -> None:
    once = fold(job(), updates)[0]
    twice, events = fold(job(), [update for update in updates for _ in range(2)])
    final = [event for event in events if event in JOB_FINAL]
    assert len(final) <= 1
    assert not once.state.final or twice.state.final


def test_every_order_of_a_story_ends_the_same() -> None:
    story = [
        says("queued", "p1"),
        says("running", "p1", progress=10.0),
        says("running", "p1", progress=40.0),
        says("unknown", "p1", progress=60.0),
        says("running", progress=80.0),
        says("succeeded", "p1"),
    ]
    ends = set()
    for order in itertools.permutations(story):
        found, events = fold(job(State.SUBMITTING), order)
        assert [event for event in events if event in JOB_FINAL] == ["job.succeeded"]
        ends.add((found.state, found.assets, found.provider_job_id, found.completed_by))
    assert ends == {(State.SUCCEEDED, (FILE,), "p1", By.POLL)}


def test_of_two_ends_the_first_wins() -> None:
    ends: list[Phase | str] = ["succeeded", "failed", "canceled"]
    for first, second in itertools.permutations(ends, 2):
        found, events = fold(job(), [says(first), says(second)])
        assert found.state == first
        assert [event for event in events if event in JOB_FINAL] == [f"job.{first}"]
