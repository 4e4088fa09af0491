"""The state machine of a job, as tables and pure functions.

States only move forward, except back to `pending`, when nothing was accepted or on a resubmission. Final
states absorb: a later report is kept as evidence. `receiver/README.md` draws the picture.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from handlers import json
from handlers.contract import Failure, FailureCode, Phase, Update
from handlers.values import immutable
from receiver.domain.model import By, Job, JobError, Outcome, State

BECOMES = {
    Phase.QUEUED: State.QUEUED,
    Phase.RUNNING: State.RUNNING,
    Phase.SUCCEEDED: State.SUCCEEDED,
    Phase.FAILED: State.FAILED,
    Phase.CANCELED: State.CANCELED,
}
RANK = {
    State.PENDING: 0,
    State.SUBMITTING: 1,
    State.UNCONFIRMED: 2,
    State.QUEUED: 3,
    State.RUNNING: 4,
    State.SUCCEEDED: 9,
    State.FAILED: 9,
    State.CANCELED: 9,
    State.EXPIRED: 9,
}
"""The order of the states: only `restore` moves a job to a lower one."""
ANNOUNCED = {
    State.RUNNING: "job.running",
    State.UNCONFIRMED: "job.unconfirmed",
    State.SUCCEEDED: "job.succeeded",
    State.FAILED: "job.failed",
    State.CANCELED: "job.canceled",
    State.EXPIRED: "job.expired",
}
ABANDONED = frozenset({State.EXPIRED, State.CANCELED})
"""The final states that the service itself decides: the provider may still finish such a job."""
RESULT_MISSES = 5
"""The number of answers that may say "succeeded" without a file before the result counts as missing."""
RESULT_GAP = timedelta(seconds=4)
"""The least time between two of these answers: a file may come a moment later, and hints may cause polls at
short intervals.
"""
LOST_MISSES = 10
"""The number of polls in a row that do not know a job after which it is lost."""
LOST_AFTER = timedelta(minutes=1)
"""The least time from the first of these polls to the last, so that a short fault loses no job."""
PROGRESS_GAP = timedelta(seconds=1)
"""The least time between two `job.progressed` events of a job."""
RESULT_LIMIT = 64 * 1024
"""The bytes of a result's JSON, at most; a longer one stays with the provider."""
USAGE_LIMIT = 8 * 1024
"""The bytes of a usage's JSON, at most; a longer one stays with the provider."""


@immutable
class Change:
    """The effect of a report: the job after it, the types of the events to emit, and the outcome."""

    job: Job
    events: tuple[str, ...] = ()
    outcome: Outcome = Outcome.APPLIED


def advance(
    job: Job, update: Update, *, now: datetime, by: By, needs_file: bool = True, can_poll: bool = True
) -> Change:
    """Fold an update of the provider into the job."""
    bound = _bind(job, update)
    if _mismatch(bound, update):
        return Change(job, outcome=Outcome.MISMATCH)
    if job.state.final:
        # A late answer still names an ended job, so that the provider can be asked to
        # cancel it. Why: receiver/README.md#a-guess-is-not-knowledge
        named = by is By.SUBMIT or job.cancel_wanted
        return _after_the_end(bound if named else job, update, now, needs_file=needs_file)
    state = _at_least(State.QUEUED, BECOMES.get(update.phase, job.state))
    if state is State.SUCCEEDED:
        return _succeed(bound, update, now=now, by=by, needs_file=needs_file, can_poll=can_poll)
    if state.final:
        return finish(bound, state, now=now, by=by, error=_error(update), usage=update.usage)
    return _move_on(job, bound, _at_least(job.state, state), update, now)


def finish(
    job: Job,
    state: State,
    *,
    now: datetime,
    by: By,
    error: JobError | None = None,
    usage: Mapping[str, Any] | None = None,
) -> Change:
    """End the job in `state`, with exactly one event."""
    ended = job.but(
        state=state,
        error=error,
        usage=usage if _fitting(usage, USAGE_LIMIT) else job.usage,
        completed_by=by,
        completed_at=now,
        updated_at=now,
        quiet_poll=None,
        poll_wanted=False,
        hinted_polls=0,
        hint_after=None,
        waiting=None,
    )
    return Change(ended, (ANNOUNCED[state],))


def _fitting(value: Mapping[str, Any] | None, limit: int) -> bytes | None:
    """Return `value` as JSON, None where there is none or it is longer than `limit` bytes."""
    if value is None:
        return None
    text = json.write(value)
    return text if len(text) <= limit else None


def expire(job: Job, *, now: datetime) -> Change:
    """End the job because its deadline has passed."""
    if job.state.final:
        return Change(job, outcome=Outcome.LATE)
    error = JobError(FailureCode.DEADLINE, "the deadline passed before the provider finished")
    return finish(job, State.EXPIRED, now=now, by=By.DEADLINE, error=error)


def cancel(job: Job, *, now: datetime, ask: bool = False) -> Change:
    """Cancel the job. With `ask`, the provider is asked to cancel as soon as its id is known."""
    if job.state.final:
        return Change(job, outcome=Outcome.LATE)
    # A pending job was never sent, so the provider has nothing to cancel.
    wanted = ask and job.state is not State.PENDING
    return finish(job.but(cancel_wanted=wanted), State.CANCELED, now=now, by=By.CANCEL)


def cancel_failed(job: Job, *, last: bool) -> Change:
    """Note that the provider did not cancel the job; after the last try it is asked no more."""
    return Change(job.but(cancel_wanted=False) if last else job, outcome=Outcome.ERROR)


def fail(job: Job, error: JobError, *, now: datetime, by: By) -> Change:
    """Fail a job that the provider refuses.

    A refused submission fails only a job without other reports: a callback or a poll about the job shows that
    the provider did accept it.
    """
    if job.state.final:
        return Change(job, outcome=Outcome.LATE)
    if by is By.SUBMIT and RANK[job.state] >= RANK[State.QUEUED]:
        return Change(job, outcome=Outcome.CONTRADICTION)
    return finish(job, State.FAILED, now=now, by=by, error=error)


def give_up(job: Job, error: JobError, *, now: datetime, by: By) -> Change:
    """Fail a job that is still unconfirmed."""
    if job.state is not State.UNCONFIRMED:
        return Change(job, outcome=Outcome.LATE)
    return finish(job, State.FAILED, now=now, by=by, error=error)


def lose(job: Job, *, now: datetime) -> Change:
    """Make a job unconfirmed: its submission's answer was lost. A job that a callback has named is queued."""
    if job.state not in {State.SUBMITTING, State.PENDING}:
        return Change(job, outcome=Outcome.LATE)
    if job.provider_job_id is not None:
        return Change(job.but(state=State.QUEUED, updated_at=now))
    lost = job.but(state=State.UNCONFIRMED, updated_at=now)
    return Change(lost, (ANNOUNCED[State.UNCONFIRMED],))


def restore(job: Job, *, now: datetime) -> Change:
    """Move a job back to `pending`: its submission provably reached nothing.

    An unconfirmed job goes back, too: the proof may come after the submission was taken for lost.
    """
    if job.state not in {State.SUBMITTING, State.UNCONFIRMED}:
        return Change(job, outcome=Outcome.LATE)
    return Change(job.but(state=State.PENDING, guessed_id=None, updated_at=now))


def resubmit(job: Job, *, now: datetime) -> Change:
    """Move an unconfirmed job back to `pending` on request.

    Only that state allows it, so that one request pays for one submission.
    """
    if job.state is not State.UNCONFIRMED:
        return Change(job, outcome=Outcome.LATE)
    return restore(job, now=now)


def bind(job: Job, provider_job_id: str, *, now: datetime) -> Change:
    """Set the provider's id of an unconfirmed job on request."""
    if job.state is not State.UNCONFIRMED:
        return Change(job, outcome=Outcome.LATE)
    known = {"provider_job_id": provider_job_id, "guessed_id": None}
    return Change(job.but(state=State.QUEUED, updated_at=now, **known))


def hint(job: Job, update: Update, *, now: datetime, guess: bool = False) -> Change:
    """Fold an unproved callback: it may cause a poll and changes no state.

    With `guess`, an id that it names is kept as a guess. A poll that answers for it makes it the provider's
    id, and every proved id replaces it.
    """
    if _mismatch(job, update):
        return Change(job, outcome=Outcome.MISMATCH)
    if job.state.final:
        late = update.phase is Phase.SUCCEEDED and _awaits_result(job)
        return Change(job, outcome=Outcome.HINT if late else Outcome.LATE)
    named = update.provider_job_id
    if not guess or job.provider_job_id is not None or named is None or named == job.guessed_id:
        return Change(job, outcome=Outcome.HINT)
    return Change(job.but(guessed_id=named, updated_at=now), outcome=Outcome.HINT)


def miss(job: Job, *, now: datetime, by: By) -> Change:
    """Count an answer by which the provider does not know the job. After enough of them the job is lost."""
    if job.state.final:
        return Change(job, outcome=Outcome.LATE)
    since, before = job.missing_since or now, job.misses if job.missing_since else 0
    missed = job.but(misses=before + 1, missing_since=since)
    if missed.misses >= LOST_MISSES and now - since >= LOST_AFTER:
        error = JobError(FailureCode.LOST, "the provider no longer knows the job")
        return finish(missed, State.FAILED, now=now, by=by, error=error)
    return Change(missed, outcome=Outcome.ERROR)


def _mismatch(job: Job, update: Update) -> bool:
    ours, theirs = job.provider_job_id, update.provider_job_id
    return ours is not None and theirs is not None and ours != theirs


def _bind(job: Job, update: Update) -> Job:
    if update.kept_url is not None and job.kept_url is None:
        job = job.but(kept_url=update.kept_url)
    if job.provider_job_id is not None or update.provider_job_id is None:
        return job
    return job.but(provider_job_id=update.provider_job_id, guessed_id=None)


def _awaits_result(job: Job) -> bool:
    """Return whether the job ended without its result, which may still come."""
    return job.state in ABANDONED and not job.assets and job.result is None


def _at_least(floor: State, state: State) -> State:
    """Return `state`, or `floor` where it lies before that: a known job was accepted, and none goes back."""
    return state if RANK[state] >= RANK[floor] else floor


def _after_the_end(job: Job, update: Update, now: datetime, *, needs_file: bool) -> Change:
    state = BECOMES.get(update.phase)
    if state is State.SUCCEEDED and _awaits_result(job) and update.failure is None:
        result = _fitting(update.result, RESULT_LIMIT)
        if needs_file and not update.assets:
            return Change(job, outcome=Outcome.INCOMPLETE)
        if update.assets or result is not None:
            late = job.but(assets=update.assets, result=result, usage=update.usage or job.usage)
            return Change(late.but(updated_at=now), ("job.late_result",), Outcome.LATE)
    if state is job.state:
        return Change(job, outcome=Outcome.DUPLICATE)
    # An expired or canceled job may go on at the provider: another end there comes late but contradicts
    # nothing.
    contradicts = state is not None and state.final and job.state not in ABANDONED
    return Change(job, outcome=Outcome.CONTRADICTION if contradicts else Outcome.LATE)


def _succeed(job: Job, update: Update, *, now: datetime, by: By, needs_file: bool, can_poll: bool) -> Change:
    if update.failure is None and (update.assets or not needs_file):
        done = job.but(
            assets=update.assets,
            result=_fitting(update.result, RESULT_LIMIT),
            progress=100.0 if job.progress is not None or update.progress is not None else None,
        )
        return finish(done, State.SUCCEEDED, now=now, by=by, usage=update.usage)
    # A poll may find the file that the callback lacks, and its answers can be counted and spaced.
    if by is By.CALLBACK and can_poll:
        return Change(job, outcome=Outcome.INCOMPLETE)
    # With `missing_since`, `misses` counts answers that did not know the job: another series.
    before = job.misses if job.missing_since is None else 0
    state = _at_least(State.QUEUED, job.state)
    if can_poll and before and update.failure is None and now - job.updated_at < RESULT_GAP:
        return Change(job, outcome=Outcome.INCOMPLETE)
    missed = job.but(state=state, misses=before + 1, missing_since=None, updated_at=now)
    if can_poll and update.failure is None and missed.misses < RESULT_MISSES:
        return Change(missed, outcome=Outcome.INCOMPLETE)
    failure = update.failure or Failure(None, "the provider says succeeded and names no file")
    refused = failure.code is FailureCode.CONTENT_POLICY
    code = failure.code if refused else FailureCode.RESULT_MISSING
    error = JobError(code, failure.message, failure.provider_code)
    # The last body shows what the provider said in place of a file.
    kept = missed.but(result=_fitting(update.result, RESULT_LIMIT))
    return finish(kept, State.FAILED, now=now, by=by, error=error, usage=update.usage)


def _move_on(before: Job, bound: Job, state: State, update: Update, now: datetime) -> Change:
    # Reports may arrive out of order, so progress never goes back.
    progress = max((p for p in (bound.progress, update.progress) if p is not None), default=None)
    changed = state is not before.state or progress != before.progress or bound is not before
    unknown = update.phase is Phase.UNKNOWN
    # An answer that knows the job ends a series of misses.
    settled = bound.but(misses=0, missing_since=None) if bound.misses else bound
    if not changed:
        return Change(settled, outcome=Outcome.UNKNOWN_WORD if unknown else Outcome.UNCHANGED)
    events: tuple[str, ...] = ()
    progressed_at = before.progressed_at
    if state is State.RUNNING and before.state is not State.RUNNING:
        events, progressed_at = (ANNOUNCED[state],), now
    elif progress != before.progress and (progressed_at is None or now - progressed_at >= PROGRESS_GAP):
        events, progressed_at = ("job.progressed",), now
    moved = settled.but(
        state=state,
        progress=progress,
        progressed_at=progressed_at,
        updated_at=now,
        quiet_poll=None,
    )
    return Change(moved, events, Outcome.UNKNOWN_WORD if unknown else Outcome.APPLIED)


def _error(update: Update) -> JobError:
    if update.phase is Phase.CANCELED:
        failure = update.failure or Failure(None, "the provider canceled it")
        return JobError(FailureCode.CANCELED_BY_PROVIDER, failure.message, failure.provider_code)
    failure = update.failure or Failure(None, "generation failed")
    return JobError(failure.code, failure.message, failure.provider_code)
