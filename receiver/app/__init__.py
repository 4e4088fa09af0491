"""The composition root: builds every part of a service once, starts it, and stops it in order. No globals."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from receiver.api.services import Services
from receiver.app.core import Core, build_core
from receiver.app.parts import delivery, retention, services, workers
from receiver.config.load import Loaded
from receiver.delivery.endpoint_service import EndpointService
from receiver.delivery.ping import Pinger
from receiver.delivery.sender import DeliverySender
from receiver.domain.clock import Clock, Wall
from receiver.domain.errors import Misconfigured, StoreUnavailable
from receiver.domain.model import Work
from receiver.jobs.retention import Retention
from receiver.metrics import Metrics, loop_lag
from receiver.observability import LOGGER
from receiver.providers.accounts import Accounts
from receiver.providers.circuit_breaker import PROBES
from receiver.store import Store, jobs, open_driver
from receiver.store.transfer import unfinished
from receiver.work.heartbeat import ReplicaHeartbeat, Role
from receiver.work.worker import AT_LAST, Worker


@dataclass(slots=True, kw_only=True)
class App:
    """A running service: its parts, and how they stop."""

    core: Core
    api: Services
    sender: DeliverySender
    pinger: Pinger
    heartbeat: ReplicaHeartbeat
    retention: Retention
    workers: Mapping[Work, Worker[Any]] = field(default_factory=dict)

    async def drain(self) -> None:
        """Begin to stop: end every wait, and give work under way the rest of the grace period."""
        shutdown = self.core.shutdown
        shutdown.hurry(self.core.settings.shutdown_grace)
        self.core.waiting_calls.close()
        await asyncio.gather(*(worker.stop(shutdown.time_left) for worker in self.workers.values()))


@contextlib.asynccontextmanager
async def running(
    loaded: Loaded,
    *,
    clock: Clock | None = None,
    on_fatal: Callable[[str], None] = LOGGER.critical,
    work: bool = True,
    role: Role = Role.ALL,
) -> AsyncIterator[App]:
    """Run a service as long as the context lasts. With `work` off, due work is left alone."""
    wall = Wall()
    clock = clock or Clock(now=wall.now, real=wall.real)
    metrics = Metrics()
    store = Store(open_driver(loaded.settings.database_url, on_fatal=on_fatal), metrics.committed)
    await store.open(migrate=loaded.settings.migrate_on_start)
    app = None
    try:
        if await store.read(unfinished()):
            raise Misconfigured("database_url", "a move into this database is not finished; run it again")
        app = await build(loaded, store, clock, wall, role, work=work, metrics=metrics)
        await _warn_of_stranded_jobs(store, app.core.accounts)
        tasks = start(app) if work else []
        try:
            yield app
        finally:
            await stop(app, tasks)
    finally:
        with contextlib.suppress(TimeoutError):
            # Bounded, so that a database that hangs does not keep the process from ending.
            async with asyncio.timeout(None if app is None else app.core.shutdown.time_left + AT_LAST):
                await store.close()
        if app is not None:
            await app.core.client.close()
            await asyncio.to_thread(app.core.spans.tracing.close)


async def build(
    loaded: Loaded,
    store: Store,
    clock: Clock,
    wall: Wall,
    role: Role,
    *,
    work: bool = True,
    metrics: Metrics | None = None,
) -> App:
    """Build a service over an open store, and join the processes that serve its database."""
    core = await build_core(loaded, store, clock, role, metrics or Metrics())
    sender, pinger, endpoints = delivery(core)
    heartbeat = ReplicaHeartbeat(
        store,
        clock,
        wall,
        core.limits,
        name=core.name,
        role=role,
        kids=core.master_keys.kids,
        on_change=functools.partial(_take_up, core, endpoints),
        on_reclaim=functools.partial(core.heard, ""),
    )
    app = App(
        core=core,
        api=services(core, endpoints),
        sender=sender,
        pinger=pinger,
        heartbeat=heartbeat,
        retention=retention(core),
        workers=workers(core, sender, heartbeat) if work and role is not Role.API else {},
    )
    await _join(app, endpoints)
    return app


async def _join(app: App, endpoints: EndpointService) -> None:
    """Join the processes that serve the database."""
    core = app.core
    await endpoints.sync_configured(core.settings.endpoints)
    await app.heartbeat.join()
    await endpoints.refresh()
    # Holds and partitions are in place before the first delivery is sent or event stored.
    await app.retention.begin()
    await core.breaker.load()
    core.store.listen(core.heard)


async def _take_up(core: Core, endpoints: EndpointService) -> None:
    """Load the endpoints, keys and blocked accounts that another process changed."""
    core.api_keys.forget()
    await endpoints.refresh()
    # The replica that met the refusal waits as long, so it probes first.
    await core.breaker.load(PROBES[0])
    core.heard("")


async def _warn_of_stranded_jobs(store: Store, accounts: Accounts) -> None:
    """Log the open jobs of accounts that are off or not configured."""
    for account, count in (await store.read(jobs.open_by_account())).items():
        if not accounts.serves(account):
            why = "off: it has no api_key" if account in accounts.setups else "not configured"
            LOGGER.warning("%d open jobs belong to account %s, which is %s", count, account, why)


def start(app: App) -> list[asyncio.Task[None]]:
    """Start the loops of a service. Returns their tasks."""
    runs = [worker.run() for worker in app.workers.values()]
    if app.workers:
        runs += [app.retention.run(), app.api.replays.run(), app.sender.watch.run()]
    lag = functools.partial(app.core.metrics.observe, "ringback_loop_lag_seconds")
    runs += [app.heartbeat.run(), app.core.counts.run(), loop_lag.measure(lag)]
    # The first scrape need not wait for the count of the deliveries that are owed.
    runs.append(app.api.gauges.refresh())
    return [asyncio.create_task(run) for run in runs]


async def stop(app: App, tasks: Sequence[asyncio.Task[None]]) -> None:
    """Stop a service: drain it, end its loops, and leave the database to the other processes."""
    await app.drain()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    with contextlib.suppress(StoreUnavailable, TimeoutError):
        async with asyncio.timeout(app.core.shutdown.time_left + AT_LAST):
            await app.core.counts.flush()
            await app.sender.watch.flush()
            await app.heartbeat.leave()
