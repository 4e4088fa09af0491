"""Variants of the service without the fix of one fault, to show that the simulation finds each fault."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from unittest.mock import patch

from receiver.domain import lifecycle
from receiver.domain.lifecycle import Change
from receiver.domain.model import Claim, Job, Work
from receiver.domain.reports import FailureKind, ProviderFailure, Report, meaning_of
from receiver.events import next_work
from receiver.events.interpreter import Interpreter
from receiver.events.next_work import NextWork
from receiver.events.recorder import Recorder
from receiver.store import due, jobs, record
from receiver.store.statements import Transaction, ms, query
from receiver.work.limits import ConcurrencyLimits
from receiver.work.slots import Lane


@dataclass(frozen=True)
class Mutant:
    """A fix taken out: the damage without it, the rule that breaks, and the replacements of its parts."""

    fault: str
    rule: str
    changes: tuple[tuple[Any, str, Any], ...]


_lose, _cancel, _ended, _release = (
    Interpreter._lose,
    lifecycle.cancel,
    NextWork._ended,
    ConcurrencyLimits.release,
)


def _lose_once(self: Interpreter, job: Job, word: ProviderFailure) -> Change:
    return lifecycle.lose(job, now=word.at) if word.kept_as is not None else _lose(self, job, word)


def _release_in_one_order(self: ConcurrencyLimits, name: str, work: Work = Work.DELIVER) -> Sequence[Work]:
    return sorted(_release(self, name, work))


def _cancel_if_known(job: Job, *, now: datetime, ask: bool = False) -> Change:
    return _cancel(job, now=now, ask=ask and job.provider_job_id is not None)


def _ended_with_one_poll(self: NextWork, before: Job, change: Change, word: Report) -> Any:
    once = before.state.final and meaning_of(word) is FailureKind.TRANSIENT
    return next_work.NOTHING if once else _ended(self, before, change, word)


def _release_of_anybody(claims: Sequence[Claim], now: datetime) -> Transaction[set[str]]:
    ours: set[str] = set()
    for claim in claims:
        found = yield query(
            "update due set at = :now, leased = 0, fence = fence + 1 where id = :id and fence = :fence "
            "returning id",
            now=ms(now),
            id=claim.id,
            fence=claim.fence,
        )
        ours.update(row["id"] for row in found)
    return ours


MUTANTS: Mapping[str, Mutant] = {
    "kept-answers": Mutant(
        "a provider's answer is dropped when the store is away for a moment",
        "answer-dropped",
        ((Recorder, "settle", Recorder.record),),
    ),
    "due-of-late-answers": Mutant(
        "an answer under a lost lease leaves its job with nothing due",
        "nothing-due",
        ((record, "_gives_way", lambda _row, _due, _job: False),),
    ),
    "one-resubmission": Mutant(
        "two requests to resubmit pay twice",
        "paid-twice",
        ((lifecycle, "resubmit", lifecycle.restore),),
    ),
    "owned-claims": Mutant(
        "a claim that was rolled back gives back the claim of another replica",
        "paid-twice",
        ((due, "release", _release_of_anybody), (jobs, "release", _release_of_anybody)),
    ),
    "eight-tries": Mutant(
        "a lost answer is asked for once under the provider's own key, not eight times",
        "asked-too-seldom",
        ((Interpreter, "_lose", _lose_once),),
    ),
    "fair-turns": Mutant(
        "polls that fill an account's slots starve its submissions",
        "starved",
        (
            (Lane, "wants", lambda _self, _now: False),
            (ConcurrencyLimits, "release", _release_in_one_order),
            (ConcurrencyLimits, "others", lambda _self, _work, _name: ()),
        ),
    ),
    "cancel-asked": Mutant(
        "a job that is canceled while its submission is out runs on at the provider",
        "runs-on",
        ((lifecycle, "cancel", _cancel_if_known),),
    ),
    "late-results": Mutant(
        "the one poll that confirms a late result is not repeated after a failure",
        "late-result-lost",
        ((NextWork, "_ended", _ended_with_one_poll),),
    ),
}


@contextmanager
def without(name: str) -> Iterator[None]:
    """Take one fix out as long as the context lasts."""
    patches = [patch.object(where, what, instead) for where, what, instead in MUTANTS[name].changes]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()
