"""The use cases of replays: planned, started once, followed and canceled."""

from datetime import timedelta

import pytest

from handlers.contract import Phase
from receiver.delivery.replay_service import ReplayService
from receiver.domain.errors import Conflict, Gone, NotFound
from receiver.store import events
from receiver.store.replays import ReplayProgress, ReplayState, Which
from tests.receiver.store_fixture import START, StoreFixture, told, word


@pytest.fixture
def service(fixture: StoreFixture) -> ReplayService:
    """Return its use cases of replays."""
    return fixture.services.api.replays


async def failed_jobs(fixture: StoreFixture, count: int) -> None:
    """Record the failures of so many jobs, a minute apart."""
    for _ in range(count):
        job = await fixture.submitted()
        await fixture.hear(word(job, fixture, told(Phase.FAILED)))
        fixture.clock.pass_(minutes=1)


async def test_a_plan_counts_and_stores_nothing(fixture: StoreFixture, service: ReplayService) -> None:
    await failed_jobs(fixture, 3)
    endpoint = await fixture.endpoint("ep_1", "job.*")
    planned = await service.plan(endpoint, Which.MISSING, START + timedelta(seconds=30), None, None)
    assert (planned.total, planned.state) == (2, ReplayState.RUNNING)
    other = await service.plan(endpoint, Which.MISSING, None, None, ["job.canceled"])
    assert other.total == 0
    assert await service.page("rpl_g", 9) == []


async def test_a_started_replay_is_stepped_to_its_end(fixture: StoreFixture, service: ReplayService) -> None:
    await failed_jobs(fixture, 3)
    endpoint = await fixture.endpoint("ep_1", "job.*")
    planned = await service.plan(endpoint, Which.ALL, None, None, None)
    await service.start(planned)
    with pytest.raises(Conflict, match="has a replay that is running"):
        await service.start(await service.plan(endpoint, Which.ALL, None, None, None))
    assert [await service.step(planned) for _ in range(2)] == [3, 0]
    assert (await service.get(planned.id))[1] == ReplayProgress(pending=3, delivered=0, failed=0, canceled=0)
    await fixture.write("update delivery set state = 'delivered'")
    await service.look()
    replay, progress = await service.get(planned.id)
    assert (replay.state, progress.delivered) == (ReplayState.DONE, 3)
    with pytest.raises(Conflict, match="the replay is already done"):
        await service.cancel(planned.id)


async def test_a_canceled_replay_stays_canceled(fixture: StoreFixture, service: ReplayService) -> None:
    await failed_jobs(fixture, 2)
    planned = await service.plan(await fixture.endpoint("ep_1", "job.*"), Which.ALL, None, None, None)
    await service.start(planned)
    await service.step(planned)
    for _ in range(2):
        replay, progress = await service.cancel(planned.id)
        assert replay.state is ReplayState.CANCELED
        assert progress == ReplayProgress(pending=0, delivered=0, failed=0, canceled=2)


async def test_a_lost_time_names_the_oldest_event(fixture: StoreFixture, service: ReplayService) -> None:
    await failed_jobs(fixture, 2)
    endpoint = await fixture.endpoint("ep_1", "job.*")
    ids = [row["id"] for row in await fixture.query("select id from event order by seq")]
    await fixture.store.write(lambda: events.remove(ids[:1]))
    with pytest.raises(Gone, match="/since: retention removed events of this time") as raised:
        await service.plan(endpoint, Which.ALL, START, None, None)
    assert raised.value.extra == {"oldest": ids[1]}


async def test_an_unknown_replay_is_not_found(service: ReplayService) -> None:
    with pytest.raises(NotFound, match="no such replay"):
        await service.get("rpl_none")
