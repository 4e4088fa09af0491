"""What a job becomes: the state machine, as tables and pure functions.

Forward only, but for `submitting -> pending` when nothing was accepted. Final states absorb: a later word
is kept as evidence. `receiver/README.md` draws this.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from handlers import json
from handlers.contract import Failure, FailureCode, Phase, Update
from handlers.values import immutable
from receiver.model import By, Job, JobError, Outcome, State

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
ANNOUNCED = {
    State.RUNNING: "job.running",
    State.UNCONFIRMED: "job.unconfirmed",
    State.SUCCEEDED: "job.succeeded",
    State.FAILED: "job.failed",
    State.CANCELED: "job.canceled",
    State.EXPIRED: "job.expired",
}
ABANDONED = frozenset({State.EXPIRED, State.CANCELED})
RESULT_MISSES = 5
"""Polls that may say "succeeded" without a file before we call the result missing."""
LOST_MISSES = 10
LOST_AFTER = timedelta(minutes=1)
"""A poll that does not know the job must say so this often, over this long, before the job is lost."""
PROGRESS_GAP = timedelta(seconds=1)
RESULT_LIMIT = 64 * 1024
USAGE_LIMIT = 8 * 1024
"""Bytes of JSON; what is longer stays with the provider."""


@immutable
class Change:
    """What a word did: the job as it is now, the types of the events to emit, and how to file the word."""

    job: Job
    events: tuple[str, ...] = ()
    outcome: Outcome = Outcome.APPLIED


def advance(
    job: Job, update: Update, *, now: datetime, by: By, needs_file: bool = True, can_poll: bool = True
) -> Change:
    """Fold what the provider said into the job."""
    bound = _answered(job, update) if by is By.SUBMIT else _bind(job, update)
    if _mismatch(bound, update):
        return Change(job, outcome=Outcome.MISMATCH)
    if job.state.final:
        return _after_the_end(bound if by is By.SUBMIT else job, update, now)
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
    """The job ends in `state` with exactly one event."""
    ended = job.but(
        state=state,
        error=error,
        usage=usage if _fitting(usage, USAGE_LIMIT) else job.usage,
        completed_by=by,
        completed_at=now,
        updated_at=now,
        quiet_poll=None,
    )
    return Change(ended, (ANNOUNCED[state],))


def _fitting(value: Mapping[str, Any] | None, limit: int) -> bytes | None:
    """`value` as JSON, unless there is none or it is longer than `limit` bytes."""
    if value is None:
        return None
    text = json.write(value)
    return text if len(text) <= limit else None


def expire(job: Job, *, now: datetime) -> Change:
    """The deadline passed."""
    if job.state.final:
        return Change(job, outcome=Outcome.LATE)
    error = JobError(FailureCode.DEADLINE, "the deadline passed before the provider finished")
    return finish(job, State.EXPIRED, now=now, by=By.DEADLINE, error=error)


def cancel(job: Job, *, now: datetime) -> Change:
    """Somebody asked to cancel it."""
    if job.state.final:
        return Change(job, outcome=Outcome.LATE)
    return finish(job, State.CANCELED, now=now, by=By.CANCEL)


def fail(job: Job, error: JobError, *, now: datetime, by: By) -> Change:
    """It cannot succeed any more."""
    if job.state.final:
        return Change(job, outcome=Outcome.LATE)
    return finish(job, State.FAILED, now=now, by=by, error=error)


def lose(job: Job, *, now: datetime) -> Change:
    """The submit's answer never came; unless a callback named the job already, nobody knows its fate."""
    if job.state not in {State.SUBMITTING, State.PENDING}:
        return Change(job, outcome=Outcome.LATE)
    if job.provider_job_id is not None:
        return Change(job.but(state=State.QUEUED, updated_at=now))
    lost = job.but(state=State.UNCONFIRMED, updated_at=now)
    return Change(lost, (ANNOUNCED[State.UNCONFIRMED],))


def restore(job: Job, *, now: datetime) -> Change:
    """Nothing was accepted: the one way back. An unconfirmed job goes it only when told to resubmit."""
    if job.state not in {State.SUBMITTING, State.UNCONFIRMED}:
        return Change(job, outcome=Outcome.LATE)
    return Change(job.but(state=State.PENDING, updated_at=now))


def bind(job: Job, provider_job_id: str, *, now: datetime) -> Change:
    """Somebody knows the provider's id of an unconfirmed job."""
    if job.state is not State.UNCONFIRMED:
        return Change(job, outcome=Outcome.LATE)
    return Change(job.but(state=State.QUEUED, provider_job_id=provider_job_id, updated_at=now))


def hint(job: Job, update: Update, *, now: datetime) -> Change:
    """A word that proves nothing: it may tell us the provider's id, and asks for one poll."""
    if _mismatch(job, update):
        return Change(job, outcome=Outcome.MISMATCH)
    if job.state.final:
        late = update.phase is Phase.SUCCEEDED and job.state in ABANDONED and not job.assets
        return Change(job, outcome=Outcome.HINT if late else Outcome.LATE)
    bound = _bind(job, update)
    return Change(bound.but(updated_at=now) if bound is not job else job, outcome=Outcome.HINT)


def miss(job: Job, *, now: datetime, by: By) -> Change:
    """The provider says that it does not know the job; lost only when it keeps saying so."""
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
    if job.provider_job_id is not None or update.provider_job_id is None:
        return job
    return job.but(provider_job_id=update.provider_job_id)


def _at_least(floor: State, state: State) -> State:
    """`state`, unless it lies before `floor`: whoever speaks of a job has accepted it, and none goes back."""
    return state if RANK[state] >= RANK[floor] else floor


def _answered(job: Job, update: Update) -> Job:
    """The submission's own answer outranks an id that a hint named while it was out."""
    if job.state is State.SUBMITTING and update.provider_job_id is not None:
        return job.but(provider_job_id=update.provider_job_id)
    return _bind(job, update)


def _after_the_end(job: Job, update: Update, now: datetime) -> Change:
    state = BECOMES.get(update.phase)
    if state is State.SUCCEEDED and job.state in ABANDONED and update.assets and not job.assets:
        late = job.but(assets=update.assets, usage=update.usage or job.usage, updated_at=now)
        return Change(late, ("job.late_result",), Outcome.LATE)
    if state is job.state:
        return Change(job, outcome=Outcome.DUPLICATE)
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
    if by is By.CALLBACK and can_poll:
        return Change(job, outcome=Outcome.INCOMPLETE)
    before = job.misses if job.missing_since is None else 0
    state = _at_least(State.QUEUED, job.state)
    missed = job.but(state=state, misses=before + 1, missing_since=None, updated_at=now)
    if can_poll and update.failure is None and missed.misses < RESULT_MISSES:
        return Change(missed, outcome=Outcome.INCOMPLETE)
    failure = update.failure or Failure(None, "the provider says succeeded and names no file")
    error = JobError(FailureCode.RESULT_MISSING, failure.message, failure.provider_code)
    return finish(missed, State.FAILED, now=now, by=by, error=error, usage=update.usage)


def _move_on(before: Job, bound: Job, state: State, update: Update, now: datetime) -> Change:
    progress = max((p for p in (bound.progress, update.progress) if p is not None), default=None)
    changed = state is not before.state or progress != before.progress or bound is not before
    unknown = update.phase is Phase.UNKNOWN
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
