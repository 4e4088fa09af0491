"""The composition root: the parts of each role, the start, the stop, and the changes of other processes."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from receiver.app import App, build, running, start, stop
from receiver.config.load import Loaded, load
from receiver.delivery.leases import lease_of
from receiver.domain.clock import Wall
from receiver.domain.errors import Misconfigured, StoreUnavailable
from receiver.domain.model import MAX_IN_FLIGHT, EndpointState, ScheduledWork, Work
from receiver.events.recorder import FEED
from receiver.observability import LOGGER
from receiver.providers.circuit_breaker import PROBES
from receiver.security.tokens import hash_api_key
from receiver.store import Store, accounts, holds, open_driver
from receiver.store import endpoints as table
from receiver.store.transfer import MOVING
from receiver.work.heartbeat import Role
from receiver.work.limits import NullLimits
from tests.engines import ENGINES
from tests.receiver.store_fixture import (
    ACCOUNTS,
    START,
    ManualClock,
    StoreFixture,
    asking,
    store_fixture,
)
from tests.receiver.woken_worker import register_workers
from tests.receiver.worker_fixture import PATIENCE

FAR = 3600.0
HOUR = timedelta(hours=1)
READING = "GaugeCollector.refresh"
ALL = [
    "EndpointWatch.run",
    READING,
    "HourlyCounts.run",
    "ReplayService.run",
    "ReplicaHeartbeat.run",
    "Retention.run",
    *["Worker.run"] * 3,
    "measure",
]
API = [READING, "HourlyCounts.run", "ReplicaHeartbeat.run", "measure"]


def loaded(folder: Path, **settings: str) -> Loaded:
    """Return the settings of a service over a database in a folder."""
    environment = {
        "RINGBACK_DATABASE_URL": ENGINES.url(folder / "store.db"),
        "RINGBACK_SECRET_KEYS": json.dumps(["m" * 32]),
        "RINGBACK_ADMIN_KEY": "rb_" + "k" * 32,
        "RINGBACK_PROVIDERS": json.dumps(ACCOUNTS),
        **{f"RINGBACK_{name.upper()}": value for name, value in settings.items()},
    }
    (folder / "ringback.toml").touch()
    return load(folder / "ringback.toml", environment)


@contextlib.asynccontextmanager
async def built(
    folder: Path, role: Role = Role.ALL, *, work: bool = True, at: datetime = START
) -> AsyncIterator[App]:
    """Build a service at rest, with a clock that stands still, and stop it in the end."""
    settings = loaded(folder)
    store = Store(open_driver(settings.settings.database_url, on_fatal=print))
    await store.open(migrate=True)
    app = await build(settings, store, ManualClock(at).clock(), Wall(), role, work=work)
    try:
        yield app
    finally:
        await stop(app, [])
        await store.close()
        await app.core.client.close()


def loops(tasks: list[asyncio.Task[None]]) -> list[str]:
    """Return the names of the loops that run in these tasks."""
    return sorted(str(getattr(task.get_coro(), "__qualname__", "")) for task in tasks)


# Roles.


@pytest.mark.parametrize("role", [Role.ALL, Role.WORKER])
async def test_a_process_that_works_has_a_worker_for_each_kind_of_work(tmp_path: Path, role: Role) -> None:
    async with built(tmp_path, role) as app:
        assert set(app.workers) == {Work.SUBMIT, Work.POLL, Work.DELIVER}
        assert app.core.dispatcher.workers == app.workers
        assert app.core.recorder.context.limits is app.core.limits
        assert (app.core.role, app.api.role, app.heartbeat.role) == (role, role, role)
        [row] = await app.core.store.read(asking("select id, role from replica"))
        assert (row["id"], row["role"]) == (app.core.name, role.value)
        assert app.core.recorder.context.owner == app.core.name


async def test_a_process_that_serves_only_the_api_has_neither_workers_nor_slots(tmp_path: Path) -> None:
    async with built(tmp_path, Role.API) as app:
        assert app.workers == {}
        assert app.core.dispatcher.workers == {}
        assert isinstance(app.core.recorder.context.limits, NullLimits)
        assert [tuple(row) for row in await app.core.store.read(asking("select role from replica"))] == [
            ("api",)
        ]


async def test_a_service_whose_work_is_off_has_no_worker_and_announces_due_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with built(tmp_path, work=False) as app:
        hints: list[str] = []
        monkeypatch.setattr(app.core.dispatcher, "_tell", hints.append)
        assert app.workers == {}
        assert app.core.dispatcher.workers == {}
        assert app.core.recorder.context.limits is app.core.limits
        app.core.dispatcher.wake_at(ScheduledWork(Work.POLL, "aiml", START))
        app.core.dispatcher.wake(Work.SUBMIT)
        assert hints == ["poll", "submit"]


# Start and stop.


@pytest.mark.parametrize(("role", "names"), [(Role.ALL, ALL), (Role.WORKER, ALL), (Role.API, API)])
async def test_a_start_runs_the_loops_of_its_role_and_a_stop_ends_them(
    tmp_path: Path, role: Role, names: list[str]
) -> None:
    async with built(tmp_path, role) as app:
        tasks = start(app)
        assert loops(tasks) == names
        async with asyncio.timeout(PATIENCE):
            await stop(app, tasks)
        assert all(task.done() for task in tasks)


async def test_the_first_scrape_after_a_start_finds_what_the_start_has_read(tmp_path: Path) -> None:
    async with built(tmp_path, Role.API) as app:
        assert "ringback_replicas" not in dict(app.api.gauges.collect())
        tasks = start(app)
        [reading] = [task for task in tasks if loops([task]) == [READING]]
        async with asyncio.timeout(PATIENCE):
            await reading
        assert dict(app.api.gauges.collect())["ringback_replicas"] == {(): 1}
        await stop(app, tasks)


async def test_a_service_that_ends_ends_its_waits_and_closes_its_store(tmp_path: Path) -> None:
    async with running(loaded(tmp_path)) as app:
        assert app.workers.keys() == set(Work)
        with app.core.waiting_calls.waiting(None, "key") as call:
            await app.drain()
            async with asyncio.timeout(PATIENCE):
                await call.news(FAR)
    assert (app.core.shutdown.begun, app.core.waiting_calls.closed) == (True, True)
    with pytest.raises(StoreUnavailable):
        await app.core.store.write(lambda: asking("select 1"))


@pytest.mark.usefixtures("on_postgres")
async def test_a_service_that_ends_leaves_the_database_to_the_others(tmp_path: Path) -> None:
    async with built(tmp_path) as stays:
        async with built(tmp_path, at=START + timedelta(seconds=1)) as leaves:
            there = await stays.core.store.read(asking("select id from replica order by id"))
            assert {row["id"] for row in there} == {stays.core.name, leaves.core.name}
        there = await stays.core.store.read(asking("select id from replica"))
        assert [row["id"] for row in there] == [stays.core.name]


async def test_work_in_hand_gets_the_rest_of_the_grace(tmp_path: Path) -> None:
    async with store_fixture(tmp_path, shutdown_grace="30") as fixture:
        shutdown = fixture.services.core.shutdown
        await fixture.services.drain()
        assert shutdown.time_left == 30.0
        fixture.clock.pass_(seconds=10)
        await fixture.services.drain()
        assert shutdown.time_left == 20.0


async def test_a_database_whose_move_is_not_finished_is_refused_and_closed(tmp_path: Path) -> None:
    async with built(tmp_path) as app:
        moving = partial(asking, "insert into meta values (:key, '1')", key=MOVING)
        await app.core.store.write(moving)
    for _ in range(2):
        with pytest.raises(Misconfigured) as refused:
            async with running(loaded(tmp_path)):
                raise AssertionError
        assert refused.value.lines == [
            "database_url: a move into this database is not finished; run it again"
        ]


async def test_a_start_without_the_master_key_of_a_stored_secret_is_refused(tmp_path: Path) -> None:
    async with store_fixture(tmp_path) as fixture:
        await fixture.endpoint("ep_1")
        kid = fixture.services.core.master_keys.newest
    for _ in range(2):
        with pytest.raises(Misconfigured) as refused:
            async with running(loaded(tmp_path, secret_keys=json.dumps(["n" * 32]))):
                raise AssertionError
        assert (refused.value.setting, kid in refused.value.problem) == ("secret_keys", True)


@pytest.mark.parametrize(
    ("changed", "reason"), [({"aiml": {}}, "off: it has no api_key"), ({}, "not configured")]
)
async def test_open_jobs_whose_account_is_not_served_are_logged_at_start(
    tmp_path: Path, changed: dict[str, object], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with store_fixture(tmp_path) as fixture:
        for account in ("aiml", "aiml", "minimax"):
            await fixture.added(account)
    others = {"minimax": {"api_key": "k"}, **changed}
    caplog.set_level(logging.WARNING, LOGGER.name)
    async with running(loaded(tmp_path, providers=json.dumps(others)), work=False):
        pass
    lines = [(one.levelno, one.args) for one in caplog.records if one.name == LOGGER.name]
    assert lines == [(logging.WARNING, (2, "aiml", reason))]


async def test_a_start_takes_up_endpoints_holds_and_blocked_accounts(tmp_path: Path) -> None:
    async with store_fixture(tmp_path) as fixture:
        await fixture.endpoint("ep_1")
        until = fixture.clock.at + HOUR
        await fixture.store.write(partial(holds.hold, [("ep_1", until)]))
        await fixture.store.write(lambda: accounts.block("aiml", "no credit", START))
    configured = json.dumps([{"id": "crm", "url": "https://crm.example/"}])
    async with store_fixture(tmp_path, endpoints=configured) as fixture:
        core = fixture.services.core
        assert {one.id for one in core.endpoint_cache.all()} == {"ep_1", "crm"}
        assert core.limits.held("ep_1") == HOUR.total_seconds()
        assert core.breaker.blocked == {"aiml": (START, "no credit")}


# Limits and leases.


async def test_an_account_and_an_endpoint_have_the_slots_of_their_settings(tmp_path: Path) -> None:
    limited = json.dumps({"aiml": {"api_key": "k", "max_in_flight": 3, "rate_limit": 2.5}})
    async with store_fixture(tmp_path, providers=limited) as fixture:
        await fixture.endpoint("ep_1", max_in_flight=7)
        make = fixture.services.core.limits.make
        found = [
            (limit.max, limit.rate, limit.adaptive)
            for limit in (
                make(Work.SUBMIT, "aiml"),
                make(Work.POLL, "aiml"),
                make(Work.DELIVER, "ep_1"),
                make(Work.DELIVER, "aiml"),
                make(Work.SUBMIT, "nobody"),
            )
        ]
    assert found == [
        (3, 2.5, False),
        (3, 2.5, False),
        (7, None, True),
        (MAX_IN_FLIGHT, None, True),
        (MAX_IN_FLIGHT, None, True),
    ]


async def test_a_changed_endpoint_has_its_new_slots_at_once_and_with_a_new_url_no_hold(
    fixture: StoreFixture,
) -> None:
    await fixture.endpoint("ep_1")
    fixture.lanes.acquire(Work.DELIVER, "ep_1")
    fixture.lanes.hold(Work.DELIVER, "ep_1", FAR)
    endpoints = fixture.services.api.endpoints
    await endpoints.update("ep_1", lambda one: replace(one, max_in_flight=2))
    assert fixture.lanes.held("ep_1") > 0
    await endpoints.update("ep_1", lambda one: replace(one, url="https://moved.example/hook"))
    assert (fixture.lanes.held("ep_1"), fixture.lanes.room(Work.DELIVER, "ep_1")) == (0, 1)


async def test_a_delivery_is_recorded_under_a_lease_that_outlasts_its_attempt(tmp_path: Path) -> None:
    async with store_fixture(tmp_path, delivery_timeout="7") as fixture:
        until, until_monotonic = fixture.context.lease()
        assert until - fixture.clock.at == lease_of(7.0) == timedelta(seconds=75)
        assert until_monotonic == fixture.services.core.clock.monotonic() + 75.0


# News of other processes.


@pytest.mark.usefixtures("on_sqlite")
@pytest.mark.parametrize(
    ("word", "kinds", "feed"),
    [
        ("deliver", {Work.DELIVER}, False),
        ("submit", {Work.SUBMIT}, False),
        (FEED, set(), True),
        ("", set(Work), True),
    ],
)
async def test_news_of_another_process_wake_the_workers_and_calls_that_they_name(
    fixture: StoreFixture, word: str, kinds: set[Work], feed: bool
) -> None:
    workers = register_workers(fixture, hints=True)
    with fixture.services.core.waiting_calls.waiting(None, "key") as call:
        fixture.services.core.heard(word)
        assert call._woken is feed
    assert {kind for kind, worker in workers.items() if worker.woken} == kinds


@pytest.mark.usefixtures("on_sqlite")
async def test_a_look_takes_up_the_endpoints_keys_and_accounts_that_another_process_changed(
    fixture: StoreFixture,
) -> None:
    core, endpoints = fixture.services.core, fixture.services.api.endpoints
    await fixture.endpoint("ep_1")
    key, text = await core.api_keys.create("mine", ("jobs:read",), None)
    assert await core.api_keys.find(hash_api_key(text)) is not None
    paused = partial(table.set_state, "ep_1", "paused", None, fixture.clock.at)
    await fixture.store.write(paused)
    await fixture.store.write(lambda: accounts.block("aiml", "no credit", fixture.clock.at))
    await fixture.write("delete from api_key where id = :id", id=key.id)
    workers = register_workers(fixture, hints=True)
    assert core.endpoint_cache.served("ep_1")
    assert await core.api_keys.find(hash_api_key(text)) is not None
    await fixture.services.heartbeat.tick()
    cached = core.endpoint_cache.get("ep_1")
    assert cached == await endpoints.get("ep_1")
    assert cached is not None
    assert cached.state is EndpointState.PAUSED
    assert await core.api_keys.find(hash_api_key(text)) is None
    assert core.breaker.blocked == {"aiml": (fixture.clock.at, "no credit")}
    assert core.breaker.probe_at("aiml") == fixture.clock.at + timedelta(seconds=PROBES[0])
    assert all(worker.woken for worker in workers.values())
    for worker in workers.values():
        worker.woken.clear()
    await fixture.services.heartbeat.tick()
    assert [worker.woken for worker in workers.values()] == [[], [], []]
