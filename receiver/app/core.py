"""The core of a service: the parts on which the others are built."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from receiver.api.api_keys import ApiKeyStore, open_api_keys
from receiver.config.load import AccountSetup, Loaded
from receiver.config.settings import Settings
from receiver.config.startup import check_master_keys, client_of, master_keys_of
from receiver.delivery.leases import leases
from receiver.domain.clock import Clock
from receiver.domain.errors import Misconfigured
from receiver.domain.model import Work
from receiver.egress.client import HttpClient
from receiver.events.endpoint_cache import EndpointCache
from receiver.events.interpreter import Interpreter
from receiver.events.long_polling import WaitingCalls
from receiver.events.next_work import JobPolicy
from receiver.events.recorder import FEED, Recorder
from receiver.feed.places import FeedPlaces
from receiver.metrics import Metrics
from receiver.providers.accounts import Accounts
from receiver.providers.circuit_breaker import CircuitBreaker
from receiver.providers.hourly_counts import HourlyCounts
from receiver.security.ids import IdGenerator
from receiver.security.tokens import MasterKeys
from receiver.store import Store, events, reencryption
from receiver.store.record_context import RecordContext
from receiver.store.sealing import EndpointSealer
from receiver.tracing import NoTracing, Tracing
from receiver.tracing.spans import JobSpans
from receiver.work.dispatcher import Dispatcher
from receiver.work.heartbeat import Role
from receiver.work.limits import ConcurrencyLimits, NullLimits
from receiver.work.shutdown import Shutdown
from receiver.work.slots import ConcurrencyLimit, limit_of


@dataclass(slots=True, kw_only=True)
class Core:
    """The parts on which the others are built: store, HTTP client, limits, counts and recorder."""

    loaded: Loaded
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
    metrics: Metrics
    spans: JobSpans
    places: FeedPlaces

    @property
    def settings(self) -> Settings:
        """Return the effective settings."""
        return self.loaded.settings

    def heard(self, word: str) -> None:
        """Pass on a notification of another process; an empty one stands for any that were missed."""
        if word in {"", FEED}:
            self.waiting_calls.tell([], events=True)
        self.dispatcher.heard(word)


async def build_core(loaded: Loaded, store: Store, clock: Clock, role: Role, metrics: Metrics) -> Core:
    """Return the core of a service over an open store."""
    settings, master_keys = loaded.settings, await _master_keys(loaded.settings, store, clock)
    ids, sealer = IdGenerator(clock.now, clock.entropy), EndpointSealer(master_keys)
    client, cache = client_of(settings, metrics.called), EndpointCache(sealer)
    limits = _limits(loaded.accounts, cache, clock)
    interpreter = Interpreter(loaded.accounts, master_keys, _policy(settings), clock.chance)
    name, dispatcher, waiting_calls = ids.new("rpc"), Dispatcher(store.tell), WaitingCalls(store)
    spans, counts = JobSpans(tracing_of(settings, name)), HourlyCounts(store, clock)
    slots, lease = NullLimits() if role is Role.API else limits, leases(settings.delivery_timeout, clock)
    context = RecordContext(
        rules=interpreter, endpoints=cache, limits=slots, ids=ids, now=clock.now, lease=lease, owner=name
    )
    recorder = Recorder(store, context, waiting_calls, dispatcher, metrics, spans)
    accounts = Accounts(loaded.accounts, client, master_keys, clock, settings.public_url, counts.count)
    return Core(
        loaded=loaded,
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
        metrics=metrics,
        spans=spans,
        places=FeedPlaces(await store.read(events.mark())),
    )


async def _master_keys(settings: Settings, store: Store, clock: Clock) -> MasterKeys:
    master_keys = master_keys_of(settings, clock, await store.read(reencryption.kids()))
    await check_master_keys(store, master_keys)
    return master_keys


def tracing_of(settings: Settings, replica: str) -> Tracing:
    """Return the tracing of the settings. Raises `Misconfigured` where the extra is not installed."""
    if settings.otel_endpoint is None:
        return NoTracing()
    try:
        from receiver.tracing.otlp import OtlpTracing  # noqa: PLC0415  # an extra that most do not install
    except ImportError:
        raise Misconfigured("otel_endpoint", "needs the extra: pip install 'ringback[otel]'") from None
    return OtlpTracing(settings.otel_endpoint, settings.otel_sample, replica)


def _policy(settings: Settings) -> JobPolicy:
    return JobPolicy(
        on_unconfirmed=settings.on_unconfirmed,
        unconfirmed_after=timedelta(seconds=settings.unconfirmed_after),
        link_base=settings.link_base,
        link_life=timedelta(days=settings.asset_link_days),
    )


def _limits(
    accounts: Mapping[str, AccountSetup], endpoints: EndpointCache, clock: Clock
) -> ConcurrencyLimits:
    limits = ConcurrencyLimits(functools.partial(_limit, accounts, endpoints), clock.monotonic)
    endpoints.subscribe(limits.change)
    return limits


def _limit(
    accounts: Mapping[str, AccountSetup], endpoints: EndpointCache, work: Work, lane: str
) -> ConcurrencyLimit:
    setup = accounts.get(lane) if work is not Work.DELIVER else None
    if setup is not None:
        return ConcurrencyLimit(max=setup.settings.max_in_flight, rate=setup.settings.rate_limit)
    return limit_of(endpoints.get(lane))
