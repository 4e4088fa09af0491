"""The services that the routes use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from receiver.api.access_log import AccessLog
from receiver.api.api_keys import ApiKeyStore
from receiver.api.browser_sessions import BrowserSessions
from receiver.api.readiness import Readiness
from receiver.config.settings import Settings
from receiver.delivery.delivery_service import DeliveryService
from receiver.delivery.endpoint_service import EndpointService
from receiver.delivery.replay_service import ReplayService
from receiver.domain.clock import Clock
from receiver.domain.model import Job
from receiver.events.long_polling import WaitingCalls
from receiver.feed.tailer import FeedTailer
from receiver.jobs.service import JobService
from receiver.jobs.tokens import JobTokens
from receiver.jobs.wait_reasons import WaitReasons
from receiver.metrics import Metrics
from receiver.metrics.gauges import GaugeCollector
from receiver.metrics.statistics import Statistics
from receiver.providers.asset_links import AssetLinks
from receiver.providers.callbacks import CallbackReceiver
from receiver.providers.downloads import Downloads
from receiver.providers.status import ProviderStatus
from receiver.security.ids import IdGenerator
from receiver.sources.receiver import SourceReceiver
from receiver.store import Store
from receiver.tracing.spans import JobSpans
from receiver.work.heartbeat import Role
from receiver.work.shutdown import Shutdown


@dataclass(slots=True, kw_only=True)
class Services:
    """The services of one process.

    `render` makes the JSON of a job. Feed and lists are read from `store`. `public_keys` verify `v1a`.
    """

    settings: Settings
    role: Role
    clock: Clock
    ids: IdGenerator
    store: Store
    jobs: JobService
    job_tokens: JobTokens
    feed: FeedTailer
    endpoints: EndpointService
    deliveries: DeliveryService
    replays: ReplayService
    api_keys: ApiKeyStore
    providers: ProviderStatus
    asset_links: AssetLinks
    downloads: Downloads
    sources: SourceReceiver
    callbacks: CallbackReceiver
    wait_reasons: WaitReasons
    waiting_calls: WaitingCalls
    public_keys: Mapping[str, bytes]
    render: Callable[[Job], dict[str, Any]]
    readiness: Readiness
    shutdown: Shutdown
    access_log: AccessLog
    metrics: Metrics
    gauges: GaugeCollector
    statistics: Statistics
    sessions: BrowserSessions
    spans: JobSpans
