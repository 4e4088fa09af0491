"""Steps that the tests of due work share: a job on its way, one with a lost answer, a hint."""

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
    """Return a job that lost its submission's answer, and the claim it had."""
    job, claim = await out(fixture, account)
    await fixture.hear(word(job, fixture, source=SUBMIT, verdict=FailureKind.LOST, claim=claim))
    return job, claim


async def dues(fixture: StoreFixture, job: Job) -> list[tuple[str, float]]:
    """Return the work that is due for a job, and when."""
    return [(work, at) for work, at, _, _ in await fixture.due_of(job)]


def hint(job: Job, fixture: StoreFixture, theirs: str | None = None, **others: Any) -> Any:
    """Return a callback that proves nothing and tells of success."""
    return word(job, fixture, told(Phase.SUCCEEDED, theirs), proof=Proof.UNPROVED, **others)
