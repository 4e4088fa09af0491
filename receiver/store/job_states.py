"""The news that calls wait for, in one read for all of them."""

from collections.abc import Sequence

from receiver.domain.model import State
from receiver.store.statements import Transaction, chunks, query

AT_ONCE = 500


def watched(job_ids: Sequence[str]) -> Transaction[tuple[int, dict[str, State]]]:
    """Returns the newest place of the feed, and the state of each of these jobs that is there."""
    last = yield query("select max(seq) as last from event")
    states: dict[str, State] = {}
    for some in chunks(job_ids, AT_ONCE):
        found = yield query("select id, state from job where id in (:ids)", ids=list(some))
        states |= {row["id"]: State(row["state"]) for row in found}
    return last[0]["last"] or 0, states
