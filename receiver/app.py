"""The composition root: builds every part of a service once, starts it, and stops it in order. No globals."""

import asyncio
import contextlib
import functools
import ipaddress
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from receiver.api.access_log import AccessLog
from receiver.api.api_keys import ApiKeyStore, open_api_keys
from receiver.api.readiness import Readiness
from receiver.api.services import Services
from receiver.config.load import AccountSetup, Loaded
from receiver.config.settings import Settings
from receiver.config.startup import check_master_keys, client_of, master_keys_of
from receiver.delivery.delivery_service import DeliveryService
from receiver.delivery.endpoint_service import EndpointService
from receiver.delivery.endpoint_watch import EndpointWatch
from receiver.delivery.ping import Pinger
from receiver.delivery.replay_service import ReplayService
from receiver.delivery.sender import DeliverySender, leases
from receiver.domain.clock import Clock, Wall
from receiver.domain.errors import Misconfigured, StoreUnavailable
from receiver.domain.model import Work
from receiver.egress.client import HttpClient
from receiver.events.endpoint_cache import EndpointCache
from receiver.events.interpreter import Interpreter
from receiver.events.long_polling import WaitingCalls
from receiver.events.next_work import JobPolicy
from receiver.events.recorder import FEED, Recorder
from receiver.jobs.retention import Retention
from receiver.jobs.service import JobService
from receiver.jobs.wait_reasons import WaitReasons
from receiver.observability import LOGGER
from receiver.providers.accounts import Accounts
from receiver.providers.asset_links import AssetLinks
from receiver.providers.callbacks import CallbackReceiver
from receiver.providers.circuit_breaker import PROBES, CircuitBreaker
from receiver.providers.hourly_counts import HourlyCounts
from receiver.providers.polling import Poller
from receiver.providers.status import ProviderStatus
from receiver.providers.submission import Submitter
from receiver.security.ids import IdGenerator
from receiver.security.tokens import MasterKeys
from receiver.store import Store, jobs, open_driver, probe
from receiver.store.record import RecordContext
from receiver.store.sealing import EndpointSealer
from receiver.store.transfer import unfinished
from receiver.work.dispatcher import Dispatcher
from receiver.work.heartbeat import ReplicaHeartbeat, Role
from receiver.work.limits import ConcurrencyLimits, NullLimits
from receiver.work.shutdown import Shutdown
from receiver.work.slots import ConcurrencyLimit, limit_of
from receiver.work.worker import AT_LAST, Worker


@dataclass(slots=True, kw_only=True)
class Core:
    """The parts on which the others are built: store, HTTP client, limits, counts and recorder."""

    settings: Settings
    role: Role
    name: str
    clock: Clock
    store: Store
    ids: IdGenerator
    master_keys: MasterKeys
    client: HttpClient
    sealer: EndpointSealer
    endpoint_cache: EndpointCache
    limits: ConcurrencyLimits
    dispatcher: Dispatcher
    waiting_calls: WaitingCalls
    interpreter: Interpreter
    recorder: Recorder
    counts: HourlyCounts
    accounts: Accounts
    breaker: CircuitBreaker
    api_keys: ApiKeyStore
    shutdown: Shutdown

    def heard(self, word: str) -> None:
        """Pass on a notification of another process; an empty one stands for any that were missed."""
        if word in {"", FEED}:
            self.waiting_calls.tell([], events=True)
        self.dispatcher.heard(word)


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
    store = Store(open_driver(loaded.settings.database_url, on_fatal=on_fatal))
    await store.open(migrate=loaded.settings.migrate_on_start)
    app = None
    try:
        if await store.read(unfinished()):
            raise Misconfigured("database_url", "a move into this database is not finished; run it again")
        app = await build(loaded, store, clock, wall, role, work=work)
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


async def build(
    loaded: Loaded, store: Store, clock: Clock, wall: Wall, role: Role, *, work: bool = True
) -> App:
    """Build a service over an open store, and join the processes that serve its database."""
    core = await _core(loaded, store, clock, role)
    sender, pinger, endpoints = _delivery(core)
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
        api=_services(core, endpoints),
        sender=sender,
        pinger=pinger,
        heartbeat=heartbeat,
        retention=_retention(core),
        workers=_workers(core, sender, heartbeat) if work and role is not Role.API else {},
    )
    await endpoints.sync_configured(core.settings.endpoints)
    await heartbeat.join()
    await endpoints.refresh()
    # Holds and partitions are in place before the first delivery is sent or event stored.
    await app.retention.begin()
    await core.breaker.load()
    store.listen(core.heard)
    return app


async def _core(loaded: Loaded, store: Store, clock: Clock, role: Role) -> Core:
    settings = loaded.settings
    master_keys = master_keys_of(settings, clock)
    await check_master_keys(store, master_keys)
    ids = IdGenerator(clock.now, clock.entropy)
    client, sealer = client_of(settings), EndpointSealer(master_keys)
    cache = EndpointCache(sealer)
    limits = ConcurrencyLimits(functools.partial(_limit, loaded.accounts, cache), clock.monotonic)
    cache.subscribe(limits.change)
    interpreter = Interpreter(loaded.accounts, master_keys, _policy(settings), clock.chance)
    name, dispatcher, waiting_calls = ids.new("rpc"), Dispatcher(store.tell), WaitingCalls(store)
    slots, lease = NullLimits() if role is Role.API else limits, leases(settings.delivery_timeout, clock)
    context = RecordContext(
        rules=interpreter, endpoints=cache, limits=slots, ids=ids, now=clock.now, lease=lease, owner=name
    )
    recorder = Recorder(store, context, waiting_calls, dispatcher)
    counts = HourlyCounts(store, clock)
    accounts = Accounts(loaded.accounts, client, master_keys, clock, settings.public_url, counts.count)
    return Core(
        settings=settings,
        role=role,
        name=name,
        clock=clock,
        store=store,
        ids=ids,
        master_keys=master_keys,
        client=client,
        sealer=sealer,
        endpoint_cache=cache,
        limits=limits,
        dispatcher=dispatcher,
        waiting_calls=waiting_calls,
        interpreter=interpreter,
        recorder=recorder,
        counts=counts,
        accounts=accounts,
        breaker=CircuitBreaker(accounts, store, recorder, dispatcher, limits, clock),
        api_keys=await open_api_keys(settings, store, clock, ids),
        shutdown=Shutdown(clock.monotonic),
    )


def _delivery(core: Core) -> tuple[DeliverySender, Pinger, EndpointService]:
    sender = DeliverySender(
        endpoints=core.endpoint_cache,
        sealer=core.sealer,
        client=core.client,
        master_keys=core.master_keys,
        recorder=core.recorder,
        store=core.store,
        limits=core.limits,
        clock=core.clock,
        ids=core.ids,
        schedule=core.settings.retry_schedule,
        timeout=core.settings.delivery_timeout,
        dispatcher=core.dispatcher,
        watch=EndpointWatch(
            recorder=core.recorder,
            store=core.store,
            limits=core.limits,
            clock=core.clock,
            disable_after=timedelta(seconds=core.settings.endpoint_disable_after),
        ),
        source=core.settings.link_base,
        attempted=core.counts.attempted,
    )
    pinger = Pinger(sender, core.recorder, core.limits, core.dispatcher)
    endpoints = EndpointService(
        store=core.store,
        cache=core.endpoint_cache,
        sealer=core.sealer,
        pinger=pinger,
        limits=core.limits,
        dispatcher=core.dispatcher,
        clock=core.clock,
        check_url=core.client.check,
        watch=sender.watch,
    )
    return sender, pinger, endpoints


def _workers(core: Core, sender: DeliverySender, heartbeat: ReplicaHeartbeat) -> dict[Work, Worker[Any]]:
    policy = core.settings.on_unconfirmed
    performers: Sequence[Any] = (
        Submitter(core.accounts, core.recorder, core.store, core.breaker, core.clock),
        Poller(core.accounts, core.recorder, core.breaker, core.limits, core.clock, policy),
        sender,
    )
    workers = [
        Worker(one, core.dispatcher, core.limits, core.store, core.clock, heartbeat) for one in performers
    ]
    for worker in workers:
        core.dispatcher.register(worker)
    return {worker.work: worker for worker in workers}


def _services(core: Core, endpoints: EndpointService) -> Services:
    store, clock, accounts = core.store, core.clock, core.accounts
    return Services(
        settings=core.settings,
        role=core.role,
        clock=clock,
        ids=core.ids,
        store=store,
        jobs=_job_service(core),
        endpoints=endpoints,
        deliveries=DeliveryService(store=store, limits=core.limits, dispatcher=core.dispatcher, clock=clock),
        replays=ReplayService(store, core.endpoint_cache, core.dispatcher, clock, core.ids),
        api_keys=core.api_keys,
        providers=ProviderStatus(
            accounts=accounts, breaker=core.breaker, counts=core.counts, store=store, clock=clock
        ),
        asset_links=AssetLinks(
            store=store,
            accounts=accounts,
            master_keys=core.master_keys,
            clock=clock,
            limits=core.limits,
            dispatcher=core.dispatcher,
        ),
        callbacks=CallbackReceiver(accounts, core.master_keys, core.recorder, clock),
        wait_reasons=WaitReasons(
            store=store,
            accounts=accounts,
            breaker=core.breaker,
            limits=core.limits,
            recorder=core.recorder,
            clock=clock,
        ),
        waiting_calls=core.waiting_calls,
        public_keys=core.master_keys.public_keys,
        render=core.interpreter.view,
        readiness=Readiness(lambda: store.write(probe.write), clock.monotonic),
        shutdown=core.shutdown,
        access_log=AccessLog(tuple(ipaddress.ip_network(text) for text in core.settings.trusted_proxies)),
    )


def _job_service(core: Core) -> JobService:
    return JobService(
        store=core.store,
        accounts=core.accounts,
        recorder=core.recorder,
        dispatcher=core.dispatcher,
        waiting_calls=core.waiting_calls,
        master_keys=core.master_keys,
        ids=core.ids,
        clock=core.clock,
        check_url=core.client.check,
        deadline=timedelta(seconds=core.settings.job_deadline),
    )


def _retention(core: Core) -> Retention:
    return Retention(
        store=core.store,
        recorder=core.recorder,
        clock=core.clock,
        keep=timedelta(days=core.settings.retention_days),
        limits=core.limits,
        decides=core.interpreter.next_work.decides,
    )


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


def _policy(settings: Settings) -> JobPolicy:
    return JobPolicy(
        on_unconfirmed=settings.on_unconfirmed,
        unconfirmed_after=timedelta(seconds=settings.unconfirmed_after),
        link_base=settings.link_base,
        link_life=timedelta(days=settings.asset_link_days),
    )


def _limit(
    accounts: Mapping[str, AccountSetup], endpoints: EndpointCache, work: Work, lane: str
) -> ConcurrencyLimit:
    setup = accounts.get(lane) if work is not Work.DELIVER else None
    if setup is not None:
        return ConcurrencyLimit(max=setup.settings.max_in_flight, rate=setup.settings.rate_limit)
    return limit_of(endpoints.get(lane))


def start(app: App) -> list[asyncio.Task[None]]:
    """Start the loops of a service. Returns their tasks."""
    runs = [worker.run() for worker in app.workers.values()]
    if app.workers:
        runs += [app.retention.run(), app.api.replays.run(), app.sender.watch.run()]
    runs += [app.heartbeat.run(), app.core.counts.run()]
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
