"""Values that the service answers with, as frozen dataclasses. Moments are aware datetimes in UTC.

A word that a newer service may add (a state, a reason, a code) is a plain text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from ringback.reading import Raw

Item = TypeVar("Item")
FINAL = frozenset({"succeeded", "failed", "canceled", "expired"})
"""The states in which a job stays."""


@dataclass(frozen=True, kw_only=True)
class Asset(Raw):
    """A generated file. `url` is a stable link of the service, None once the job's links were revoked.

    `provider_url` is the provider's own link, None where it must not be handed on.
    """

    index: int
    kind: str
    url: str | None
    provider_url: str | None = None
    expires_at: datetime | None = None
    deletes_at: datetime | None = None
    mime_type: str | None = None
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    fps: float | None = None
    has_sound: bool | None = None


@dataclass(frozen=True, kw_only=True)
class JobError(Raw):
    """The reason why a job did not succeed."""

    code: str
    message: str
    provider_code: str | None = None


@dataclass(frozen=True, kw_only=True)
class Waiting(Raw):
    """The reason why an open job does not move. `until` is the time of the next try."""

    reason: str
    detail: str
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Job(Raw):
    """A job.

    `callback_secret` is set by `submit` only, `input` by `get` only, and `sequence` in events only.
    """

    id: str
    provider: str
    operation: str
    state: str
    provider_job_id: str | None
    progress: float | None
    metadata: Mapping[str, str]
    assets: tuple[Asset, ...]
    error: JobError | None
    usage: Mapping[str, Any] | None
    waiting: Waiting | None
    completed_by: str | None
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    deadline_at: datetime
    result: Mapping[str, Any] | None = field(default=None, repr=False)
    input: Any = field(default=None, repr=False)
    callback_secret: str | None = field(default=None, repr=False)
    sequence: int | None = None

    @property
    def final(self) -> bool:
        """Return whether the job has ended. A final state never changes."""
        return self.completed_at is not None or self.state in FINAL

    @property
    def succeeded(self) -> bool:
        """Return whether the job has ended with its files."""
        return self.state == "succeeded"


@dataclass(frozen=True, kw_only=True)
class TimelineEntry(Raw):
    """An entry of a job's timeline. The fields that depend on its kind are in `raw`."""

    at: datetime
    kind: str


@dataclass(frozen=True, kw_only=True)
class ProviderMessage(Raw):
    """A message of the provider as it came: secrets are replaced, and with `cut` the body goes on."""

    id: str
    at: datetime
    kind: str
    outcome: str
    headers: Mapping[str, str]
    body: str
    bytes: int
    cut: bool


@dataclass(frozen=True, kw_only=True)
class JobToken(Raw):
    """A token that reads one job and nothing else: the `api_key` of another client."""

    job: str | None = None
    token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Endpoint(Raw):
    """An endpoint. The values of its headers are masked."""

    id: str
    url: str
    events: tuple[str, ...]
    description: str
    headers: Mapping[str, str]
    max_in_flight: int
    include: tuple[str, ...]
    state: str
    disabled_reason: str | None
    from_file: bool
    created_at: datetime
    updated_at: datetime
    filter: Mapping[str, Any] | None = None
    signatures: tuple[str, ...] = ("v1",)
    retry_schedule: tuple[float, ...] | None = None
    timeout: float | None = None
    format: str = "standard"
    template: str | None = None
    rate_limit: float | None = None
    previous_secrets_until: tuple[datetime, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LastAttempt(Raw):
    """The last request to an endpoint."""

    at: datetime
    status: int | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class EndpointWithHealth(Endpoint):
    """An endpoint with its failures, its breaker and the deliveries that it is owed."""

    failing_since: datetime | None = None
    last_attempt: LastAttempt | None = None
    owed: int = 0
    oldest_owed_at: datetime | None = None
    breaker: str = "closed"


@dataclass(frozen=True, kw_only=True)
class NewEndpoint(Endpoint):
    """An endpoint with the secret that signs its deliveries."""

    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class EndpointSecret(Raw):
    """The secret that signs the deliveries to an endpoint."""

    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Explanation(Raw):
    """The answer whether an endpoint takes an event. `clause` points at the deciding part of its filter."""

    matches: bool
    because: str
    clause: str | None = None


@dataclass(frozen=True, kw_only=True)
class Replay(Raw):
    """Old events that are sent to an endpoint again. A dry run has no id."""

    id: str | None
    endpoint: str
    state: str
    only: str
    since: datetime | None
    until: datetime | None
    events: tuple[str, ...] | None
    total: int
    made: int
    pending: int
    delivered: int
    failed: int
    canceled: int
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Attempt(Raw):
    """One request of a delivery. `answer` is the beginning of the receiver's answer."""

    id: str
    delivery: str
    at: datetime
    status: int | None
    latency_ms: float
    error: str | None
    answer: str


@dataclass(frozen=True, kw_only=True)
class Delivery(Raw):
    """One event for one endpoint, or for a job's own callback URL."""

    id: str
    event: str
    type: str
    endpoint: str | None
    url: str | None
    job: str | None
    state: str
    attempts_made: int
    reason: str | None
    last_status: int | None
    last_error: str | None
    created_at: datetime
    updated_at: datetime
    next_attempt_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class DeliveryWithAttempts(Delivery):
    """A delivery with its attempts, oldest first."""

    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, kw_only=True)
class Whereabouts(Raw):
    """The delivery status of an event at one endpoint. `endpoint` is None for the job's callback URL."""

    endpoint: str | None
    delivery: str | None
    status: str
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ApiKey(Raw):
    """An API key, without the key itself."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class NewApiKey(ApiKey):
    """A new API key. `key` is shown this once."""

    key: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Operation(Raw):
    """An operation of a provider, and whether callbacks or polls report its end."""

    name: str
    kind: str | None
    callback: bool
    poll: bool


@dataclass(frozen=True, kw_only=True)
class Provider(Raw):
    """A configured account with its operations, its capabilities and its health in the last hour."""

    id: str
    handler: str
    on: bool
    blocked: bool
    blocked_at: datetime | None
    blocked_reason: str | None
    default_operation: str
    example: Mapping[str, Any]
    operations: tuple[Operation, ...]
    can: Mapping[str, bool]
    in_flight: int
    health: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Source(Raw):
    """A source of the settings. Its messages are posted to `url` and become events of the type `event`."""

    id: str
    url: str
    event: str
    scheme: str
    handler: str | None
    tolerance: int
    challenge: str | None


@dataclass(frozen=True, kw_only=True)
class SigningKey(Raw):
    """A public key that verifies `v1a` signatures: `Webhook` takes its `public_key`."""

    kid: str
    public_key: str
    kty: str = "OKP"
    crv: str = "Ed25519"
    alg: str = "EdDSA"
    use: str = "sig"
    x: str = ""


@dataclass(frozen=True)
class Page(Generic[Item]):
    """A page of a list. `next_cursor` is None at the end."""

    items: tuple[Item, ...]
    next_cursor: str | None
