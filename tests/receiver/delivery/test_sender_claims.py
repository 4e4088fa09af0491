"""The sender under claims: endpoints that change meanwhile, slots, want of sockets, a store that is away."""

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from receiver.delivery import sender as module
from receiver.delivery.leases import lease_of
from receiver.delivery.sender import SETTLE
from receiver.domain.errors import StoreUnavailable
from receiver.domain.model import LONGEST_TIMEOUT, EndpointState, Work
from receiver.metrics.exposition import registry
from receiver.store import endpoints as table
from receiver.store.deliveries import ClaimedDelivery
from receiver.store.generation import generation
from receiver.work import periodic
from receiver.work.slots import UNPROVEN
from tests.receiver.delivery_steps import BROKEN, Sending, answer, due_rows, sending, without_sockets
from tests.receiver.store_fixture import StoreFixture, write_locked
from tests.receiver.woken_worker import register_workers
from tests.receiver.worker_fixture import PATIENCE

FIRST = timedelta(seconds=5)
"""The pause after the first attempt."""


@pytest.fixture
def made(fixture: StoreFixture) -> Sending:
    """Return the steps of a service that calls no receiver."""
    return Sending(fixture, cast("Any", None), cast("Any", None))


# Endpoints that change while their answer is under way.


async def test_an_answer_of_an_old_url_disables_nothing_and_the_delivery_is_tried_again(
    tmp_path: Path,
) -> None:
    async with sending(tmp_path, answer(410)) as made:
        await made.endpoint()
        prepared = await made.delivery()
        made.receiver.gate = asyncio.Event()
        task = asyncio.create_task(made.perform(prepared))
        async with asyncio.timeout(PATIENCE):
            await made.receiver.asked.wait()
        endpoints = made.fixture.services.api.endpoints
        await endpoints.update("ep_1", lambda one: replace(one, url="https://new.example/"))
        made.receiver.gate.set()
        delivery, [attempt] = await task
        assert (attempt.status, delivery.state) == (410, "pending")
        assert delivery.next_at == made.fixture.clock.at + FIRST
        assert (await endpoints.get("ep_1")).state is EndpointState.ACTIVE


async def test_an_answer_of_an_endpoint_that_another_process_changed_disables_nothing(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(410)) as made:
        await made.endpoint()
        prepared = await made.delivery()
        resumed = partial(table.set_state, "ep_1", "active", None, made.fixture.clock.at + FIRST)
        await made.fixture.store.write(resumed)
        delivery, [attempt] = await made.perform(prepared)
        assert (attempt.status, delivery.state) == (410, "pending")
        assert (await made.fixture.services.api.endpoints.get("ep_1")).state is EndpointState.ACTIVE


async def test_an_endpoint_is_disabled_once_however_often_it_is_gone(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(410)) as made:
        await made.endpoint()
        both = [await made.delivery() for _ in range(2)]
        await asyncio.gather(*(made.fixture.services.sender.perform(one) for one in both))
        states = [(await made.stored(one.delivery.id))[0].state for one in both]
        assert states == ["canceled", "canceled"]
        assert len(await made.fixture.column("select id from event where type = 'endpoint.disabled'")) == 1


# Slots that are earned and lost.


async def test_an_endpoint_earns_a_slot_with_each_success_and_loses_them_with_a_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ringback.fanout")
    async with sending(tmp_path, answer(204), answer(500), BROKEN, BROKEN, answer(204)) as made:
        await made.endpoint()
        allowed = []
        for _ in range(4):
            prepared = await made.delivery()
            await made.perform(prepared)
            made.fixture.lanes.release("ep_1")
            allowed.append(made.fixture.lanes.room(Work.DELIVER, "ep_1"))
    assert allowed == [UNPROVEN + 1, UNPROVEN, UNPROVEN, UNPROVEN + 1]
    lines = [one.getMessage() for one in caplog.records if one.name == "ringback.fanout"]
    assert lines == [
        "endpoint ep_1 begins to fail: it answered 500",
        "endpoint ep_1 takes deliveries again",
    ]


async def test_attempts_are_counted_by_their_outcome(tmp_path: Path) -> None:
    answers = (answer(204), answer(410), answer(500), BROKEN)
    async with sending(tmp_path, *answers, retry_schedule="[5]") as made:
        counted: list[str] = []
        sender = replace(made.fixture.services.sender, attempted=counted.append)
        for _ in range(3):
            await sender.perform(await made.delivery(**await made.one_off()))
        made.fixture.clock.pass_(seconds=5)
        [again] = await made.due()
        await sender.perform(again)
    assert counted == ["delivered", "canceled", "failed", "exhausted"]


# Attempts that are not made, or not stored at once.


async def test_want_of_sockets_leaves_the_delivery_as_it_was_for_a_moment(
    fixture: StoreFixture, made: Sending, caplog: pytest.LogCaptureFixture
) -> None:
    await fixture.endpoint("ep_1", "job.succeeded")
    prepared, workers = await made.delivery(), register_workers(fixture)
    again = fixture.clock.at + module.SHORT_OF_SOCKETS
    await without_sockets(fixture.services.sender).perform(prepared)
    delivery, attempts = await made.stored(prepared.delivery.id)
    assert (delivery.state, attempts, delivery.next_at) == ("pending", [], again)
    assert await due_rows(fixture) == [("ep_1", 0, 0)]
    assert (workers[Work.DELIVER].woken, fixture.lanes.held("ep_1")) == ([again], 1.0)
    said = [one.getMessage() for one in caplog.records if one.name == "ringback.fanout"]
    assert said == ["deliveries wait for a connection: connect: too many open files"]


async def test_want_of_sockets_wakes_none_where_the_claim_is_another_s_by_now(
    fixture: StoreFixture, made: Sending
) -> None:
    await fixture.endpoint("ep_1", "job.succeeded")
    prepared, workers = await made.delivery(), register_workers(fixture)
    await fixture.write("update due set fence = fence + 1, owner = 'rpc_other' where work = 'deliver'")
    await without_sockets(fixture.services.sender).perform(prepared)
    assert await due_rows(fixture) == [("ep_1", 1, 0)]
    assert workers[Work.DELIVER].woken == []


@pytest.mark.usefixtures("on_sqlite", "impatient")
async def test_an_attempt_that_waited_for_the_store_is_stored_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(periodic, "PAUSE", 0.0)
    delayed = asyncio.Event()

    class Telling(logging.Handler):
        """A handler that notices the line about an outcome that waits."""

        def emit(self, record: logging.LogRecord) -> None:
            if "waits for the store" in record.getMessage():
                delayed.set()

    caplog.set_level(logging.DEBUG, "ringback.fanout")
    monkeypatch.setattr(module.LOGGER, "handlers", [Telling()])
    async with sending(tmp_path, answer(204)) as made:
        await made.endpoint()
        prepared = await made.delivery()
        with write_locked(made.fixture.path):
            task = asyncio.create_task(made.perform(prepared))
            async with asyncio.timeout(PATIENCE):
                await delayed.wait()
        async with asyncio.timeout(PATIENCE):
            delivery, [attempt] = await task
    assert (delivery.state, attempt.status, len(made.receiver.requests)) == ("delivered", 204, 1)


async def test_an_attempt_whose_commit_was_not_acknowledged_is_stored_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(periodic, "PAUSE", 0.0)
    async with sending(tmp_path, answer(204)) as made:
        await made.endpoint()
        prepared, commits = await made.delivery(), made.fixture.store._commit
        write, cuts = commits._write, 0

        async def unacknowledged(transaction: Any) -> Any:
            nonlocal cuts
            result = await write(transaction)
            cuts += 1
            if cuts == 1:
                raise StoreUnavailable
            return result

        monkeypatch.setattr(commits, "_write", unacknowledged)
        delivery, [attempt] = await made.perform(prepared)
        assert (delivery.state, attempt.status, cuts) == ("delivered", 204, 2)


@pytest.mark.parametrize(
    ("given", "freed"), [(answer(204), True), (answer(500), False), (answer(410), False), (BROKEN, False)]
)
async def test_a_slot_is_free_before_the_outcome_is_stored_where_the_endpoint_took_the_delivery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bytes, freed: bool
) -> None:
    async with sending(tmp_path, given) as made:
        await made.endpoint()
        prepared, commits = await made.delivery(), made.fixture.store._commit
        workers, write = register_workers(made.fixture), commits._write
        then: list[list[Any]] = []

        async def noted(transaction: Any) -> Any:
            then.append(list(workers[Work.DELIVER].freed))
            return await write(transaction)

        monkeypatch.setattr(commits, "_write", noted)
        _, [attempt] = await made.perform(prepared)
    assert (attempt.delivery_id, then[0]) == (prepared.claim.id, [prepared.claim] if freed else [])
    assert workers[Work.DELIVER].freed == then[0]


@pytest.mark.parametrize(
    ("given", "last", "patient"),
    [
        (answer(204), False, True),
        (answer(204), True, False),
        (answer(500), False, False),
        (answer(410), False, False),
        (BROKEN, False, False),
    ],
)
async def test_only_the_outcome_of_a_delivery_that_was_taken_waits_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bytes, last: bool, patient: bool
) -> None:
    asked: list[bool] = []
    async with sending(tmp_path, given) as made:
        await made.endpoint()
        prepared, store = await made.delivery(), made.fixture.store
        do = store.do

        async def noted(verb: Any, item: Any, **options: Any) -> Any:
            if verb is SETTLE:
                asked.append(options.get("patient", False))
            return await do(verb, item, **options)

        monkeypatch.setattr(store, "do", noted)
        await made.fixture.services.sender.attempt(prepared.claim, prepared.delivery, last=last)
    assert asked == [patient]


async def test_an_attempt_keeps_the_time_until_its_answer(tmp_path: Path) -> None:
    async with sending(tmp_path, answer(204)) as made:
        await made.endpoint()
        prepared, sent_at = await made.delivery(), made.fixture.clock.at
        made.receiver.gate = asyncio.Event()
        task = asyncio.create_task(made.perform(prepared))
        async with asyncio.timeout(PATIENCE):
            await made.receiver.asked.wait()
        made.fixture.clock.pass_(seconds=1.25)
        made.receiver.gate.set()
        _, [attempt] = await task
    assert (attempt.at, attempt.latency_ms) == (sent_at, 1250.0)


@pytest.mark.parametrize(("given", "slots"), [(204, UNPROVEN + 1), (500, UNPROVEN)])
async def test_an_attempt_under_a_lost_lease_is_stored_and_leaves_the_delivery_as_it_is(
    tmp_path: Path, given: int, slots: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with sending(tmp_path, answer(given, body=b""), retry_schedule="[]") as made:
        await made.endpoint()
        prepared = await made.delivery()
        await made.fixture.write("update due set fence = fence + 1 where work = 'deliver'")
        delivery, [attempt] = await made.perform(prepared)
        assert (delivery.state, delivery.leased, attempt.status) == ("pending", True, given)
        told = registry(made.fixture.services.core.metrics)
        assert told.get_sample_value("ringback_leases_lost_total") == 1
        made.fixture.lanes.release("ep_1")
        assert made.fixture.lanes.room(Work.DELIVER, "ep_1") == slots
    assert "is exhausted" not in caplog.text


# The interface to the worker.


def test_a_claim_lasts_longer_than_an_attempt(fixture: StoreFixture) -> None:
    sender = replace(fixture.services.sender, timeout=7.0)
    assert sender.lease == lease_of(7.0) == timedelta(seconds=LONGEST_TIMEOUT + 15)
    assert lease_of(90.0) == timedelta(seconds=105)
    assert (sender.work, sender.job_limits()) == (Work.DELIVER, {})


async def test_callback_origins_and_active_endpoints_are_served_in_all_their_lanes(
    fixture: StoreFixture,
) -> None:
    await fixture.endpoint("ep_1")
    await fixture.endpoint("ep_2", state=EndpointState.PAUSED)
    serves = fixture.services.sender.serves
    lanes = (
        "ep_1",
        "ep_1~now",
        "ep_1~hand",
        "ep_2",
        "ep_2~now",
        "ep_3",
        "https://me.example",
        "http://a~now",
    )
    assert [lane for lane in lanes if serves(lane)] == [
        "ep_1",
        "ep_1~now",
        "ep_1~hand",
        "https://me.example",
        "http://a~now",
    ]


async def test_claiming_takes_up_the_endpoints_as_they_are_stored_now(
    fixture: StoreFixture, made: Sending
) -> None:
    await fixture.endpoint("ep_1", "job.succeeded")
    prepared, sender = await made.delivery(), fixture.services.sender
    paused = partial(table.set_state, "ep_1", "paused", None, fixture.clock.at)
    await fixture.store.write(paused)
    assert sender.serves("ep_1")
    [loaded] = await fixture.store.write(lambda: sender.prepare([prepared.claim]))
    assert isinstance(loaded, ClaimedDelivery)
    assert (loaded.claim, loaded.delivery) == (prepared.claim, prepared.delivery)
    assert not sender.serves("ep_1")
    assert await fixture.store.write(lambda: sender.prepare([])) == []
    assert sender.endpoints.are_of(await fixture.store.read(generation()))


async def test_a_delivery_that_is_given_back_is_due_at_once(fixture: StoreFixture, made: Sending) -> None:
    await fixture.endpoint("ep_1", "job.succeeded")
    prepared, sender = await made.delivery(), fixture.services.sender
    await fixture.store.write(lambda: sender.give_back([prepared], fixture.clock.at))
    [again] = await made.due()
    assert again.delivery == prepared.delivery
    assert (again.claim.tries, again.claim.fence) == (0, prepared.claim.fence + 2)
