"""Steps shared by the tests of due work: a job on its way, one with a lost answer, a hint."""

from typing import Any

from handlers.contract import Phase, Proof
from receiver.domain.model import Job, Source, Work
from receiver.domain.reports import FailureKind
from tests.receiver.store_fixture import StoreFixture, told, word

SUBMIT, POLL, NOTE, CALLBACK = Source.SUBMISSION, Source.POLL, Source.NOTE, Source.CALLBACK


async def out(fixture: StoreFixture, account: str = "aiml") -> tuple[Job, Any]:
    """Return a job with its submission under way, and its claim."""
    await fixture.added(account)
    [chosen] = await fixture.claim(Work.SUBMIT, {account: 1})
    return chosen.job, chosen.claim


async def unconfirmed(fixture: StoreFixture, account: str = "aiml") -> tuple[Job, Any]:
    """Return a job with a lost answer to its submission, and the claim of that submission."""
    job, claim = await out(fixture, account)
    await fixture.hear(word(job, fixture, source=SUBMIT, verdict=FailureKind.LOST, claim=claim))
    return job, claim


async def dues(fixture: StoreFixture, job: Job) -> list[tuple[str, float]]:
    """Return the due work of a job: each kind with its moment, in seconds from the start."""
    return [(work, at) for work, at, _, _ in await fixture.due_of(job)]


def hint(job: Job, fixture: StoreFixture, theirs: str | None = None, **others: Any) -> Any:
    """Return an unproved callback that reports success."""
    return word(job, fixture, told(Phase.SUCCEEDED, theirs), proof=Proof.UNPROVED, **others)
