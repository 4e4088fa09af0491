"""The composition root: builds everything once, starts it, and stops it in order. No globals."""

import asyncio
import contextlib
import functools
import ipaddress
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any

from starlette.types import Scope

from receiver.api import ROUTES
from receiver.api.api_keys import ApiKeyStore
from receiver.api.health import Readiness
from receiver.api.openapi import description
from receiver.config.load import Loaded
from receiver.config.settings import Settings
from receiver.config.startup import check_kids, gateway_of, keyring_of, masters_of
from receiver.delivery.configured_endpoints import sync
from receiver.delivery.ping import Pinger
from receiver.delivery.sender import DeliverySender
from receiver.domain.clock import Clock, Wall
from receiver.domain.errors import Misconfigured, StoreUnavailable
from receiver.domain.model import Endpoint, Work
from receiver.egress.address_guard import Network
from receiver.egress.client import HttpClient
from receiver.events.endpoint_cache import EndpointCache
from receiver.events.interpreter import Interpreter
from receiver.events.next_work import JobPolicy
from receiver.events.recorder import FEED, Recorder
from receiver.jobs.retention import Retention
from receiver.jobs.service import JobService
from receiver.jobs.wait_reasons import WaitReasons
from receiver.observability import LOGGER, peer
from receiver.providers.accounts import Accounts
from receiver.providers.asset_links import AssetLinks
from receiver.providers.callbacks import CallbackReceiver
from receiver.providers.circuit_breaker import PROBES, CircuitBreaker
from receiver.providers.hourly_counts import HourlyCounts
from receiver.providers.polling import Poller
from receiver.providers.status import ProviderStatus
from receiver.providers.submission import Submitter
from receiver.security.tokens import IdGenerator, MasterKeys
from receiver.store import Store, jobs, open_driver
from receiver.store import endpoints as table
from receiver.store.record import RecordContext
from receiver.store.transfer import unfinished
from receiver.work.heartbeat import ReplicaHeartbeat, Role
from receiver.work.limits import ConcurrencyLimits, NullLimits
from receiver.work.slots import ConcurrencyLimit
from receiver.work.worker import AT_LAST, Dispatcher, Worker

API_LOGGER = logging.getLogger("ringback.api")


@dataclass(slots=True, kw_only=True)
class Services:
    """Everything that answers a request."""

    settings: Settings
    clock: Clock
    store: Store
    ids: IdGenerator
    masters: MasterKeys
    gateway: HttpClient
    endpoints: EndpointCache
    accounts: Accounts
    tally: HourlyCounts
    lanes: ConcurrencyLimits
    recording: Recorder
    meaning: Interpreter
    blocking: CircuitBreaker
    keyring: ApiKeyStore
    replica: ReplicaHeartbeat
    hints: Dispatcher
    jobs: JobService = field(init=False)
    assets: AssetLinks = field(init=False)
    callbacks: CallbackReceiver = field(init=False)
    providers: ProviderStatus = field(init=False)
    testing: Pinger = field(init=False)
    workers: dict[Work, Worker] = field(init=False)
    housekeeper: Retention = field(init=False)
    waits: WaitReasons = field(init=False)
    trusted: tuple[Network, ...] = field(init=False)
    readiness: Readiness = field(init=False)
    draining: bool = False
    _ends: float = math.inf
    _description: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Set the performers and drivers on what they stand on."""
        settings, clock, accounts, recording = self.settings, self.clock, self.accounts, self.recording
        fanout = self._fanout()
        submitter = Submitter(accounts, recording, self.store, self.blocking, clock)
        poller = Poller(accounts, recording, self.blocking, self.lanes, clock, settings.on_unconfirmed)
        performers = (submitter, poller, fanout)
        if self.replica.role is not Role.API:
            for one in performers:
                self.hints.workers[one.work] = Worker(
                    one, self.hints, self.lanes, self.store, clock, self.replica
                )
        self.workers = self.hints.workers
        fanout.worker = self.workers.get(Work.DELIVER)
        recording.sender, recording.hints = fanout, self.hints
        self.replica.on_change, self.replica.on_reclaim = self._take_up, functools.partial(self.heard, "")
        self.jobs = self._jobs()
        self.assets = AssetLinks(self.store, accounts, self.masters, clock, self.lanes, self.hints)
        self.callbacks = CallbackReceiver(accounts, self.masters, recording, clock)
        self.providers = ProviderStatus(accounts, self.blocking)
        self.testing = Pinger(fanout, recording, self.lanes, self.hints)
        self.housekeeper = self._housekeeper()
        self.waits = self._waits()
        self.readiness = Readiness(lambda: self.store.write(table.probe), clock.monotonic)
        self.trusted = tuple(ipaddress.ip_network(text) for text in settings.trusted_proxies)

    def _jobs(self) -> JobService:
        return JobService(
            store=self.store,
            accounts=self.accounts,
            recording=self.recording,
            masters=self.masters,
            ids=self.ids,
            clock=self.clock,
            check_url=self.gateway.check,
            deadline=timedelta(seconds=self.settings.job_deadline),
        )

    def _housekeeper(self) -> Retention:
        return Retention(
            store=self.store,
            recording=self.recording,
            clock=self.clock,
            keep=timedelta(days=self.settings.retention_days),
            lanes=self.lanes,
            decides=self.meaning.agenda.decides,
        )

    def _waits(self) -> WaitReasons:
        return WaitReasons(
            store=self.store,
            accounts=self.accounts,
            blocking=self.blocking,
            lanes=self.lanes,
            recording=self.recording,
            clock=self.clock,
        )

    def _fanout(self) -> DeliverySender:
        return DeliverySender(
            endpoints=self.endpoints,
            gateway=self.gateway,
            masters=self.masters,
            recording=self.recording,
            store=self.store,
            lanes=self.lanes,
            clock=self.clock,
            ids=self.ids,
            schedule=self.settings.retry_schedule,
            timeout=self.settings.delivery_timeout,
            hints=self.hints,
            attempted=self.tally.attempted,
        )

    @property
    def description(self) -> dict[str, Any]:
        """The API's OpenAPI document, made when it is first asked for."""
        if not self._description:
            self._description = description(ROUTES, version("ringback"))
        return self._description

    def log_call(self, scope: Scope, status: int, request_id: str) -> None:
        """Note a call, for whoever debugs: its path is logged without tokens, its query not at all."""
        if API_LOGGER.isEnabledFor(logging.DEBUG):
            who = peer(scope, self.trusted)
            about = {"request_id": request_id, "status": status}
            API_LOGGER.debug("%s %s from %s", scope["method"], scope["path"], who, extra=about)

    @property
    def time_left(self) -> float:
        """Seconds that are left of the grace; all that stops shares it."""
        return max(0.0, self._ends - self.clock.monotonic())

    def hurry(self, seconds: float) -> None:
        """Have all stopped in so many seconds, where it would not be before."""
        self.draining = True
        self._ends = min(self._ends, self.clock.monotonic() + seconds)

    async def drain(self) -> None:
        """Say that we stop, end every wait, and give work in hand the rest of the grace."""
        self.hurry(self.settings.shutdown_grace)
        self.recording.watchers.close()
        await asyncio.gather(*(worker.stop(self.time_left) for worker in self.workers.values()))

    async def alter(self, endpoint_id: str, change: Callable[[Endpoint], Endpoint]) -> Endpoint | None:
        """Change an endpoint as it is stored now, in one transaction; None when it is there no more."""
        changed: list[Endpoint] = []

        def change_row(row: Any) -> tuple[Any, ...]:
            changed[:] = [change(self.endpoints.open(row))]
            return self.endpoints.resealed(changed[0], row)

        if await self.store.write(lambda: table.alter(endpoint_id, change_row)) is None:
            return None
        await self.refresh()
        return changed[0]

    async def save(self, endpoint: Endpoint) -> None:
        """Store a new endpoint and serve it; `Conflict` where there are as many as there may be."""
        row = self.endpoints.sealed(endpoint)
        await self.store.write(lambda: table.add(row))
        await self.refresh()

    async def refresh(self) -> None:
        """Take the endpoints as they are stored, and deliver all that waited for one that is new here."""
        generation, found = await self.store.read(table.of_generation())
        self.endpoints.adopt(generation, found)
        self.wake_deliveries()

    def wake_deliveries(self) -> None:
        """Something became deliverable."""
        self.hints.wake(Work.DELIVER)

    def heard(self, word: str) -> None:
        """Another process passes something on; an empty word says that some may have been missed."""
        if word in {"", FEED}:
            self.recording.watchers.tell([], events=True)
        for work, worker in self.workers.items():
            if word in {"", work.value}:
                worker.wake()

    async def _take_up(self) -> None:
        """Endpoints, keys or blocked accounts were changed through another process."""
        self.keyring.forget()
        await self.refresh()
        await self.blocking.load(PROBES[0])
        self.heard("")


@contextlib.asynccontextmanager
async def running(
    loaded: Loaded,
    *,
    clock: Clock | None = None,
    on_fatal: Callable[[str], None] = LOGGER.critical,
    work: bool = True,
    role: Role = Role.ALL,
) -> AsyncIterator[Services]:
    """The service with its workers, as long as the context lasts. `work` off leaves due work alone."""
    wall = Wall()
    clock = clock or Clock(now=wall.now, real=wall.real)
    store = Store(open_driver(loaded.settings.database_url, on_fatal=on_fatal))
    await store.open(migrate=loaded.settings.migrate_on_start)
    services = None
    try:
        if await store.read(unfinished()):
            raise Misconfigured("database_url", "a move into this database is not finished; run it again")
        services = await _build(loaded, store, clock, wall, role)
        await _tell_strays(store, services.accounts)
        tasks = _start(services) if work else []
        try:
            yield services
        finally:
            await _stop(services, tasks)
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if services is None else services.time_left + AT_LAST):
                await store.close()
        if services is not None:
            await services.gateway.close()


async def _build(loaded: Loaded, store: Store, clock: Clock, wall: Wall, role: Role) -> Services:
    settings = loaded.settings
    masters = masters_of(settings, clock)
    await check_kids(store, masters)
    ids = IdGenerator(clock.now, clock.entropy)
    gateway = gateway_of(settings)
    lanes = ConcurrencyLimits(lambda work, lane: _slots(loaded, endpoints, work, lane), clock.monotonic)
    endpoints = EndpointCache(masters, lambda changed: lanes.end_hold(changed.id, changed.max_in_flight))
    meaning = Interpreter(loaded.accounts, endpoints, masters, _rules(settings), clock.chance)
    lease = functools.partial(_lease, settings, clock)
    replica = ReplicaHeartbeat(store, clock, wall, lanes, ids.new("rpc"), role, masters.kids)
    slots = NullLimits() if role is Role.API else lanes
    recording = Recorder(store, RecordContext(meaning, slots, ids, clock.now, lease, replica.name))
    tally = HourlyCounts(store, clock)
    accounts = Accounts(loaded.accounts, gateway, masters, clock, settings.public_url, tally.count)
    services = Services(
        settings=settings,
        clock=clock,
        store=store,
        ids=ids,
        masters=masters,
        gateway=gateway,
        endpoints=endpoints,
        accounts=accounts,
        tally=tally,
        lanes=lanes,
        recording=recording,
        meaning=meaning,
        blocking=CircuitBreaker(accounts, store, recording, lanes, clock),
        keyring=await keyring_of(settings, store, clock, ids),
        replica=replica,
        hints=Dispatcher(store.tell),
    )
    await sync(settings.endpoints, endpoints, gateway, store, clock)
    await replica.join()
    await services.refresh()
    await services.housekeeper.begin()
    await services.blocking.load()
    store.listen(services.heard)
    return services


async def _tell_strays(store: Store, accounts: Accounts) -> None:
    """Log the open jobs that nothing here can go on with."""
    for account, count in (await store.read(jobs.open_by_account())).items():
        if not accounts.serves(account):
            why = "off: it has no api_key" if account in accounts.setups else "not configured"
            LOGGER.warning("%d open jobs belong to account %s, which is %s", count, account, why)


def _rules(settings: Settings) -> JobPolicy:
    return JobPolicy(
        settings.on_unconfirmed,
        timedelta(seconds=settings.unconfirmed_after),
        settings.link_base,
        timedelta(days=settings.asset_link_days),
    )


def _lease(settings: Settings, clock: Clock) -> tuple[datetime, float]:
    lease = timedelta(seconds=settings.delivery_timeout + 15)
    return clock.now() + lease, clock.monotonic() + lease.total_seconds()


def _slots(loaded: Loaded, endpoints: EndpointCache, work: Work, lane: str) -> ConcurrencyLimit:
    setup = loaded.accounts.get(lane) if work is not Work.DELIVER else None
    if setup is not None:
        return ConcurrencyLimit(setup.settings.max_in_flight, rate=setup.settings.rate_limit)
    endpoint = endpoints.get(lane)
    return ConcurrencyLimit(endpoint.max_in_flight if endpoint else 64, adaptive=True)


def _start(services: Services) -> list[asyncio.Task[None]]:
    runs = [worker.run() for worker in services.workers.values()]
    if services.workers:
        runs.append(services.housekeeper.run())
    runs += [services.replica.run(), services.tally.run()]
    return [asyncio.create_task(run) for run in runs]


async def _stop(services: Services, tasks: Sequence[asyncio.Task[None]]) -> None:
    await services.drain()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    with contextlib.suppress(StoreUnavailable, TimeoutError):
        async with asyncio.timeout(services.time_left + AT_LAST):
            await services.tally.flush()
            await services.replica.leave()
