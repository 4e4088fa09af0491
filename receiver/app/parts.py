"""The parts of a service beside its core: deliveries, workers, and the services that the routes use."""

import ipaddress
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from receiver.api.access_log import AccessLog
from receiver.api.browser_sessions import BrowserSessions
from receiver.api.readiness import Readiness
from receiver.api.services import Services
from receiver.app.core import Core
from receiver.delivery.delivery_service import DeliveryService
from receiver.delivery.endpoint_service import EndpointService
from receiver.delivery.endpoint_watch import EndpointWatch
from receiver.delivery.handshake import Handshake
from receiver.delivery.ping import Pinger
from receiver.delivery.replay_service import ReplayService
from receiver.delivery.sender import DeliverySender
from receiver.domain.model import Work
from receiver.egress.key_sets import KeySets
from receiver.events.log_lines import Sparing
from receiver.feed.tailer import FeedTailer
from receiver.jobs.retention import Retention
from receiver.jobs.service import JobService
from receiver.jobs.tokens import JobTokens
from receiver.jobs.wait_reasons import WaitReasons
from receiver.metrics.gauges import GaugeCollector, StoreGauges
from receiver.metrics.statistics import Statistics
from receiver.providers.asset_links import AssetLinks
from receiver.providers.callbacks import CallbackReceiver
from receiver.providers.downloads import Downloads
from receiver.providers.polling import Poller
from receiver.providers.status import ProviderStatus
from receiver.providers.submission import Submitter
from receiver.sources.receiver import SourceReceiver, check_sources
from receiver.store import probe
from receiver.work.heartbeat import ReplicaHeartbeat
from receiver.work.worker import Worker


def delivery(core: Core) -> tuple[DeliverySender, Pinger, EndpointService]:
    """Return the parts that deliver events."""
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
        watch=_watch(core),
        source=core.settings.link_base,
        attempted=core.counts.attempted,
        metrics=core.metrics,
        spans=core.spans,
        sparing=Sparing(core.clock.monotonic),
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
        handshake=Handshake(core.client, core.settings.link_base),
    )
    return sender, pinger, endpoints


def _watch(core: Core) -> EndpointWatch:
    return EndpointWatch(
        recorder=core.recorder,
        store=core.store,
        limits=core.limits,
        clock=core.clock,
        disable_after=timedelta(seconds=core.settings.endpoint_disable_after),
    )


def workers(core: Core, sender: DeliverySender, heartbeat: ReplicaHeartbeat) -> dict[Work, Worker[Any]]:
    """Return the workers, registered with the dispatcher."""
    policy = core.settings.on_unconfirmed
    performers: Sequence[Any] = (
        Submitter(core.accounts, core.recorder, core.store, core.breaker, core.clock, core.spans),
        Poller(core.accounts, core.recorder, core.breaker, core.limits, core.clock, policy, core.spans),
        sender,
    )
    made = [
        Worker(one, core.dispatcher, core.limits, core.store, core.clock, heartbeat) for one in performers
    ]
    for worker in made:
        core.dispatcher.register(worker)
    return {worker.work: worker for worker in made}


def services(core: Core, endpoints: EndpointService) -> Services:
    """Return the services that the routes use."""
    store, clock, accounts = core.store, core.clock, core.accounts
    links, gauges = _asset_links(core), StoreGauges(store, clock)
    key_sets = KeySets(core.client, core.clock.monotonic)
    return Services(
        settings=core.settings,
        role=core.role,
        clock=clock,
        ids=core.ids,
        store=store,
        jobs=_job_service(core),
        job_tokens=JobTokens(store, core.master_keys, clock),
        feed=FeedTailer(store, core.waiting_calls, clock.monotonic, core.places),
        endpoints=endpoints,
        deliveries=DeliveryService(store=store, limits=core.limits, dispatcher=core.dispatcher, clock=clock),
        replays=ReplayService(store, core.endpoint_cache, core.dispatcher, clock, core.ids),
        api_keys=core.api_keys,
        providers=ProviderStatus(
            accounts=accounts, breaker=core.breaker, counts=core.counts, store=store, clock=clock
        ),
        asset_links=links,
        downloads=Downloads(links=links, client=core.client),
        sources=_sources(core, key_sets),
        callbacks=CallbackReceiver(
            accounts, core.master_keys, core.recorder, key_sets, clock, core.metrics, core.spans
        ),
        wait_reasons=_wait_reasons(core),
        waiting_calls=core.waiting_calls,
        public_keys=core.master_keys.public_keys,
        render=core.interpreter.view,
        readiness=Readiness(lambda: store.write(probe.write), clock.monotonic),
        shutdown=core.shutdown,
        metrics=core.metrics,
        gauges=_gauge_collector(core, gauges),
        spans=core.spans,
        sessions=BrowserSessions(store, core.api_keys, core.master_keys, clock),
        statistics=Statistics(store=store, clock=clock, gauges=gauges),
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


def _sources(core: Core, key_sets: KeySets) -> SourceReceiver:
    check_sources(core.settings.sources, core.client.check)
    return SourceReceiver(core.loaded.sources, core.recorder, key_sets, core.ids, core.clock)


def _asset_links(core: Core) -> AssetLinks:
    return AssetLinks(
        store=core.store,
        accounts=core.accounts,
        master_keys=core.master_keys,
        clock=core.clock,
        limits=core.limits,
        dispatcher=core.dispatcher,
        metrics=core.metrics,
    )


def _gauge_collector(core: Core, gauges: StoreGauges) -> GaugeCollector:
    collector = GaugeCollector(gauges, core.accounts.setups, lambda: core.breaker.blocked)
    core.metrics.gauges = collector.collect
    return collector


def _wait_reasons(core: Core) -> WaitReasons:
    return WaitReasons(
        store=core.store,
        accounts=core.accounts,
        breaker=core.breaker,
        limits=core.limits,
        recorder=core.recorder,
        clock=core.clock,
    )


def retention(core: Core) -> Retention:
    """Return the retention of a deployment."""
    return Retention(
        store=core.store,
        recorder=core.recorder,
        clock=core.clock,
        keep=timedelta(days=core.settings.retention_days),
        limits=core.limits,
        metrics=core.metrics,
        decides=core.interpreter.next_work.decides,
    )
