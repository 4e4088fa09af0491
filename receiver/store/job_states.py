"""The states of jobs for which API calls wait, in one read for all calls."""

from collections.abc import Sequence

from receiver.domain.model import State
from receiver.store.statements import Transaction, chunks, one_or_none, query

AT_ONCE = 500
"""Maximum number of jobs that one statement reads."""


def watched(job_ids: Sequence[str]) -> Transaction[tuple[int, dict[str, State]]]:
    """Return the newest feed position (0 if there is none), and the state of each job that exists."""
    last = yield query("select max(seq) as last from event")
    states: dict[str, State] = {}
    for some in chunks(job_ids, AT_ONCE):
        found = yield query("select id, state from job where id in (:ids)", ids=list(some))
        states |= {row["id"]: State(row["state"]) for row in found}
    return last[0]["last"] or 0, states


def state_of(job_id: str) -> Transaction[State | None]:
    """Return the state of a job, None if it does not exist."""
    found = one_or_none((yield query("select state from job where id = :id", id=job_id)))
    return None if found is None else State(found["state"])
