"""Flows of several calls: waiting for a job, and submitting one and waiting for it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Unpack

from ringback.calls import jobs
from ringback.core import Call, Pause, Result, Steps, passes
from ringback.errors import WaitTimeout
from ringback.retrying import Failure, Retry, attempts, result
from ringback.values import Job

STEP = 30.0
"""Seconds that one call waits for the job."""
PATIENCE = 600.0
"""Seconds without an answer after which a wait without a timeout fails."""
GRACE = 5.0
"""Seconds by which a wait may exceed its timeout while an answer is on its way."""
QUICK = 1.0
"""Seconds below which an answer came without the wait that was asked for, as from a stopping service."""


@dataclass(frozen=True)
class Flow(Generic[Result]):
    """Several calls that make one value. `begin` starts them."""

    begin: Callable[[Retry], Steps[Result]]


def steps(plan: Call[Result] | Flow[Result], retry: Retry) -> Steps[Result]:
    """Return the steps of a call or a flow."""
    return plan.begin(retry) if isinstance(plan, Flow) else attempts(plan, retry)


def wait(job_id: str, *, timeout: float | None = None) -> Flow[Job]:
    """Wait until a job is final, also across restarts of the service. Returns it.

    Raises `WaitTimeout` after `timeout` seconds, or up to five later where the service does not answer; the
    job goes on. Without a timeout the wait lasts as long as the job does, and fails once the service was away
    for ten minutes.
    """
    return Flow(lambda retry: until_final(job_id, timeout, retry))


def run(
    provider: str,
    input: Mapping[str, Any],  # noqa: A002  # the API's word
    *,
    timeout: float | None = None,
    **options: Unpack[jobs.JobOptions],
) -> Flow[Job]:
    """Submit a job and wait until it is final. Returns it, whether it succeeded or not.

    Takes the options of `submit`. Raises `WaitTimeout` after `timeout` seconds; the job goes on, and the
    error has it. Where the submission itself is not answered by then, its error is raised.
    """
    submission = jobs.submit(provider, input, **options)
    return Flow(lambda retry: _submitted(submission, timeout, retry))


def _submitted(submission: Call[Job], timeout: float | None, retry: Retry) -> Steps[Job]:
    began = retry.clock()
    if timeout is not None:
        submission = replace(submission, within=timeout + GRACE)
    job = yield from attempts(submission, replace(retry, total=min(retry.total, _bound(timeout))))
    if job.final:
        return job
    # The time of the submission counts: one timeout is for both.
    left = None if timeout is None else timeout - (retry.clock() - began)
    return (yield from until_final(job.id, left, retry, seen=job))


def until_final(job_id: str, timeout: float | None, retry: Retry, *, seen: Job | None = None) -> Steps[Job]:
    """Read a job until it is final. Returns it. Raises `WaitTimeout`, or an error that does not pass."""
    answered = retry.clock()
    ends = answered + _bound(timeout)
    bad = 0
    while True:
        asked = retry.clock()
        left = max(0.0, ends - asked)
        wanted = min(STEP, left)
        call = replace(jobs.show(job_id, wait=wanted), within=left + GRACE)
        found = result(call, (yield call))
        if isinstance(found, Job):
            seen = found
            if seen.final:
                return seen
            answered = retry.clock()
            # A service that is stopping answers at once, and would be asked again thousands of times.
            bad = bad + 1 if answered - asked < min(wanted, QUICK) else 0
        elif not passes(found.error) or (timeout is None and retry.clock() - answered > PATIENCE):
            raise found.error
        else:
            bad += 1
        after = found.after if isinstance(found, Failure) else 0.0
        left = ends - retry.clock()
        # Behind the call, not before it: a timeout of zero looks once.
        if left <= max(0.0, after):
            raise _over(job_id, seen, found)
        if bad:
            yield Pause(min(retry.pause(bad, after), left))


def _bound(timeout: float | None) -> float:
    """Return the seconds of a timeout; infinity without one."""
    return math.inf if timeout is None else timeout


def _over(job_id: str, seen: Job | None, found: Job | Failure) -> WaitTimeout:
    trouble = f"; the last call failed: {found.error}" if isinstance(found, Failure) else ""
    state = f" is {seen.state}" if seen else ""
    return WaitTimeout(f"the time to wait is over; job {job_id}{state} and goes on{trouble}", job=seen)
