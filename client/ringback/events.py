"""Events: a class for each type, out of a delivery or out of the feed.

Every event has `type` and, in `data`, its object as it came. A type that the client does not know is a plain
`Event`.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ringback.reading import Raw, Unreadable, read
from ringback.values import Job, Whereabouts

SOURCE = re.compile(r"source\.([a-z0-9_]{1,40})\.received", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Event(Raw):
    """An event. The same `id` stands for the same event, however often it arrives.

    `deliveries` says where it went, in the answer of `events.get` only.
    """

    id: str
    type: str
    timestamp: datetime
    data: Mapping[str, Any]
    deliveries: tuple[Whereabouts, ...] = ()


@dataclass(frozen=True, kw_only=True)
class JobEvent(Event):
    """An event of a job: `job` is the job as it was then, and its `sequence` grows with each event."""

    job: Job


# The classes below add no field, and inherit the methods that `dataclass` made: only their names differ.
class JobSucceeded(JobEvent):
    """The job is done; `job.assets` has its files."""


class JobFailed(JobEvent):
    """The job failed; `job.error` says why."""


class JobCanceled(JobEvent):
    """The job was canceled."""


class JobExpired(JobEvent):
    """The deadline passed before the job was done."""


class JobRunning(JobEvent):
    """The provider began to work."""


class JobProgressed(JobEvent):
    """The progress of the job grew."""


class JobUnconfirmed(JobEvent):
    """The answer to the submission was lost: resolve the job, or wait for its callback."""


class JobLateResult(JobEvent):
    """A result came after the job had expired or was canceled."""


@dataclass(frozen=True, kw_only=True)
class AccountState(Raw):
    """A provider's account that is refused, or works again."""

    id: str
    handler: str
    blocked: bool
    at: datetime
    reason: str | None = None
    sequence: int = 0


@dataclass(frozen=True, kw_only=True)
class ProviderEvent(Event):
    """An event of a provider's account."""

    provider: AccountState


class ProviderBlocked(ProviderEvent):
    """The provider refuses the account; submissions to it wait."""


class ProviderUnblocked(ProviderEvent):
    """The provider takes the account again."""


@dataclass(frozen=True, kw_only=True)
class EndpointState(Raw):
    """An endpoint in an event. The fields depend on the type of the event."""

    id: str
    url: str
    sequence: int = 0
    state: str | None = None
    at: datetime | None = None
    disabled_reason: str | None = None
    disabled_at: datetime | None = None
    failing_since: datetime | None = None
    disable_at: datetime | None = None
    last_status: int | None = None
    last_error: str | None = None


@dataclass(frozen=True, kw_only=True)
class EndpointEvent(Event):
    """An event of an endpoint."""

    endpoint: EndpointState


class EndpointFailing(EndpointEvent):
    """The endpoint did nothing but fail for half of the time after which it is disabled."""


class EndpointDisabled(EndpointEvent):
    """The endpoint gets no deliveries until it is resumed."""


class EndpointTest(EndpointEvent):
    """A test of the endpoint; nothing happened."""


@dataclass(frozen=True, kw_only=True)
class SourceReceived(Event):
    """A message of a source, such as a webhook about a job that was submitted elsewhere.

    `body` is its JSON, or its bytes where it is none; `sender_id` is the sender's own id of it.
    """

    source: str
    body: Any
    headers: Mapping[str, str]
    update: Mapping[str, Any] | None = None
    sender_id: str | None = None
    received_at: datetime | None = None


KINDS: Mapping[str, tuple[type[Event], str, type[Raw]]] = {
    "job.succeeded": (JobSucceeded, "job", Job),
    "job.failed": (JobFailed, "job", Job),
    "job.canceled": (JobCanceled, "job", Job),
    "job.expired": (JobExpired, "job", Job),
    "job.running": (JobRunning, "job", Job),
    "job.progressed": (JobProgressed, "job", Job),
    "job.unconfirmed": (JobUnconfirmed, "job", Job),
    "job.late_result": (JobLateResult, "job", Job),
    "provider.blocked": (ProviderBlocked, "provider", AccountState),
    "provider.unblocked": (ProviderUnblocked, "provider", AccountState),
    "endpoint.failing": (EndpointFailing, "endpoint", EndpointState),
    "endpoint.disabled": (EndpointDisabled, "endpoint", EndpointState),
    "endpoint.test": (EndpointTest, "endpoint", EndpointState),
}
"""The class of each event type, and the name and the type of the object that its `data` becomes."""


@dataclass(frozen=True, kw_only=True)
class _Message(Raw):
    """The data of a source's event."""

    body: Any = None
    body_base64: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    update: Mapping[str, Any] | None = None
    sender_id: str | None = None
    received_at: datetime | None = None


def read_event(given: object) -> Event:
    """Return the event of its type. Raises `Unreadable`."""
    plain = read(Event, given)
    known: dict[str, Any] = dict(vars(plain))
    if plain.type in KINDS:
        kind, name, inner = KINDS[plain.type]
        try:
            known[name] = read(inner, plain.data)
        except Unreadable as error:
            raise Unreadable(f"data: {error}") from None
        return kind(**known)
    source = SOURCE.fullmatch(plain.type)
    return plain if source is None else _received(plain, source[1])


def _received(plain: Event, source: str) -> SourceReceived:
    try:
        told = read(_Message, plain.data)
    except Unreadable as error:
        raise Unreadable(f"data: {error}") from None
    body = told.body
    if told.body_base64 is not None:
        try:
            body = base64.b64decode(told.body_base64, validate=True)
        except (binascii.Error, ValueError):
            raise Unreadable("data: body_base64: must be base64") from None
    return SourceReceived(
        **vars(plain),
        source=source,
        body=body,
        headers=told.headers,
        update=told.update,
        sender_id=told.sender_id,
        received_at=told.received_at,
    )
