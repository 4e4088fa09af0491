"""Leases of due work: given back by their owner, renewed for work under way, kept from other replicas."""

from dataclasses import replace

from handlers.contract import Phase
from receiver.domain.model import Work
from receiver.store.due import release
from tests.receiver.job_steps import SUBMIT, dues, out
from tests.receiver.store_fixture import StoreFixture, told, word


async def test_a_claim_is_given_back_by_its_owner_only(fixture: StoreFixture) -> None:
    """A claim that was rolled back has the fence of the one that another replica took next."""
    job, claim = await out(fixture)
    now = fixture.clock.at
    rolled_back = replace(claim, owner="rpc_other")
    assert await fixture.store.write(lambda: release([rolled_back], now)) == set()
    assert [(leased, fence) for _, _, leased, fence in await fixture.due_of(job)] == [(1, claim.fence)]
    assert await fixture.store.write(lambda: release([claim], now)) == {job.id}
    assert [(leased, fence) for _, _, leased, fence in await fixture.due_of(job)] == [(0, claim.fence + 1)]


async def test_work_under_way_is_not_claimed_again_by_its_own_worker(fixture: StoreFixture) -> None:
    job, claim = await out(fixture)
    fixture.clock.pass_(hours=1)
    fixture.busy = frozenset({job.id})
    assert await fixture.claim(Work.SUBMIT) == []
    [(_, at, leased, fence)] = await fixture.due_of(job)
    assert (at, leased, fence) == (3600.0 + 30.0, 1, claim.fence)
    await fixture.hear(word(job, fixture, told(Phase.QUEUED, "p1"), SUBMIT, claim=claim))
    assert await dues(fixture, job) == [("poll", 3600.0 + 10.0)]


async def test_a_lease_of_another_replica_is_not_ended_by_the_clock(fixture: StoreFixture) -> None:
    job, claim = await out(fixture)
    await fixture.write("update due set owner = 'rpc_other' where id = :id", id=job.id)
    fixture.clock.pass_(hours=1)
    assert await fixture.claim(Work.SUBMIT) == []
    assert await fixture.due_of(job) == [("submit", 30.0, 1, claim.fence)]


async def test_a_submission_whose_lease_ended_does_not_wait_for_itself(fixture: StoreFixture) -> None:
    await fixture.added("aiml")
    assert len(await fixture.claim(Work.SUBMIT, {"aiml": 1}, {"aiml": 1})) == 1
    assert await fixture.claim(Work.SUBMIT, {"aiml": 1}, {"aiml": 1}) == []
    fixture.clock.pass_(seconds=95)
    [again] = await fixture.claim(Work.SUBMIT, {"aiml": 1}, {"aiml": 1})
    assert again.crashed
