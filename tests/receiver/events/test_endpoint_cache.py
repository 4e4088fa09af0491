"""The cache of endpoints: adopted by generation, left alone while held, or with an unreadable secret."""

import threading
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from handlers.contract import Phase
from receiver.domain.model import Endpoint, Work
from receiver.events.endpoint_cache import EndpointCache
from receiver.store import deliveries, holds, replicas
from receiver.store.deliveries import ClaimedDelivery
from receiver.store.schema import TABLES
from receiver.store.sealing import EndpointSealer
from tests.receiver.master_keys import MASTERS, both
from tests.receiver.store_fixture import SECRET, START, StoreFixture, store_fixture, told, word


def row_of(name: str, **others: object) -> dict[str, object]:
    """Return an endpoint as a stored row."""
    made = Endpoint(
        id=name,
        url="https://a.example/",
        events=("job.*",),
        created_at=START,
        updated_at=START,
        secrets=(SECRET,),
    )
    row = EndpointSealer(MASTERS).row(replace(made, **others))  # type: ignore[arg-type]  # fields of an endpoint
    return dict(zip(TABLES["endpoint"], row, strict=True))


class Counted(dict[str, object]):
    """A row that iterates over its values, as those of a database do."""

    def __iter__(self):  # type: ignore[no-untyped-def]  # a row iterates over its values
        return iter(self.values())


# Adopted.


def test_only_what_is_new_or_changed_is_opened_again() -> None:
    opened: list[str] = []
    held = EndpointCache(EndpointSealer(MASTERS))
    held.subscribe(lambda endpoint: opened.append(endpoint.id))
    rows = [Counted(row_of(f"ep_{number}")) for number in range(5)]
    held.adopt("1", rows)
    held.adopt("2", [*rows, Counted(row_of("ep_5"))])
    held.adopt("3", [Counted(rows[0] | {"max_in_flight": 3}), *rows[1:]])
    assert opened == [*(f"ep_{number}" for number in range(6)), "ep_0"]
    found = held.get("ep_0")
    assert found is not None
    assert (found.max_in_flight, held.get("ep_5")) == (3, None)


def test_a_generation_and_its_endpoints_are_taken_together() -> None:
    held = EndpointCache(EndpointSealer(MASTERS))
    old = [Counted(row_of(f"ep_{number}")) for number in range(3)]
    new = [*old, Counted(row_of("ep_3"))]
    for _ in range(50):
        threads = [threading.Thread(target=held.adopt, args=args) for args in (("1", old), ("2", new))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sizes = {"1": 3, "2": 4}
        found = {generation: held.as_of(generation) for generation in sizes}
        assert [len(one) for name, one in found.items() if one is not None and len(one) != sizes[name]] == []
        assert sum(one is not None for one in found.values()) == 1


async def test_a_lane_that_was_met_before_its_endpoint_is_not_served_and_takes_its_cap(
    fixture: StoreFixture,
) -> None:
    serves = fixture.services.pinger.sender.serves
    fixture.lanes.mark_waiting(Work.DELIVER, "ep_new")
    assert not serves("ep_new")
    await fixture.endpoint("ep_new", max_in_flight=1)
    for _ in range(10):
        fixture.lanes.succeeded("ep_new")
    assert (serves("ep_new"), fixture.lanes.room(Work.DELIVER, "ep_new")) == (True, 1)


# Unreadable.


async def test_a_callback_whose_secret_cannot_be_read_waits(
    fixture: StoreFixture, caplog: pytest.LogCaptureFixture
) -> None:
    job = await fixture.submitted(callback_url="https://me.example/", callback_secret=b"0badc0de" + b"x" * 40)
    [recorded] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
    [born] = recorded.deliveries
    assert born.claim is not None
    until = fixture.services.core.clock.monotonic() + 60
    await fixture.services.pinger.sender.perform(
        ClaimedDelivery(replace(born.claim, until=until), born.delivery)
    )
    found = await fixture.store.read(deliveries.get(born.delivery.id))
    assert found is not None
    assert (found[0].state, found[1]) == ("pending", [])
    assert found[0].next_at == fixture.clock.at + timedelta(minutes=1)
    assert "needs a master key that is not configured" in caplog.text
    assert await fixture.claim(Work.DELIVER) == []
    fixture.clock.pass_(minutes=1)
    assert len(await fixture.claim(Work.DELIVER)) == 1


async def test_a_replica_tells_its_keys(fixture: StoreFixture) -> None:
    since = fixture.clock.at - timedelta(seconds=20)
    kid, other = MASTERS.newest, both().newest
    assert await fixture.store.read(replicas.without_key(kid, since)) == []
    assert await fixture.store.read(replicas.without_key(other, since)) == [fixture.services.heartbeat.name]
    later = fixture.clock.at + timedelta(seconds=1)
    assert await fixture.store.read(replicas.without_key(other, later)) == []


# Left alone.


async def test_a_hold_is_kept_over_a_restart_and_ended_by_hand(tmp_path: Path) -> None:
    async with store_fixture(tmp_path) as fixture:
        await fixture.endpoint("ep_1")
        job = await fixture.submitted()
        [recorded] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
        [born] = recorded.deliveries
        assert born.claim is not None
        until = fixture.clock.at + timedelta(hours=1)
        await fixture.settle(born.claim, "pending", next_at=until, hold=("ep_1", until))
    async with store_fixture(tmp_path) as fixture:
        assert fixture.lanes.held("ep_1") == 3600
        assert fixture.lanes.room(Work.DELIVER, "ep_1") == 0
        await fixture.store.write(partial(deliveries.retry, born.delivery.id, "ep_1", fixture.clock.at))
        await fixture.services.retention.look()
        assert (fixture.lanes.held("ep_1"), fixture.lanes.room(Work.DELIVER, "ep_1")) == (0, 4)


async def test_of_two_holds_the_longer_counts_and_both_are_forgotten(fixture: StoreFixture) -> None:
    now = fixture.clock.at
    ends = [now + timedelta(seconds=seconds) for seconds in (60, 30)]
    for until in ends:
        await fixture.store.write(partial(holds.hold, [("ep_1", until)]))
    await fixture.store.write(partial(holds.hold, [("ep_2", ends[1])]))
    assert await fixture.store.read(holds.held(now, 10)) == {"ep_1": ends[0], "ep_2": ends[1]}
    assert await fixture.store.read(holds.held(now, 1)) == {"ep_1": ends[0]}
    await fixture.store.write(partial(holds.forget, ends[1]))
    assert await fixture.column("select lane from hold") == ["ep_1"]
