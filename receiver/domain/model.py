"""The domain model: jobs, events, endpoints, deliveries and due work as values."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from handlers.contract import Asset, FailureCode
from handlers.values import immutable
from receiver.domain.filters import Filter

MAX_IN_FLIGHT = 64
"""The maximum of deliveries under way to one endpoint or callback origin, unless a setting names another."""
LONGEST_TIMEOUT = 60.0
"""The most seconds for one attempt that an endpoint may choose."""
Format = Literal["standard", "cloudevents", "cloudevents-binary", "slack", "discord", "teams", "template"]
"""The formats of deliveries."""
STANDARD: Final = "standard"
"""The format of deliveries unless an endpoint chooses another."""
SYMMETRIC: Final = "v1"
ASYMMETRIC: Final = "v1a"
"""The signature schemes: HMAC-SHA256 with the endpoint's secret, Ed25519 with the deployment's key."""
CALLBACK_TARGET = "callback"
"""The target of a delivery to a job's own callback URL, in place of an endpoint's id."""


class State(enum.StrEnum):
    """The service's view of a job."""

    PENDING = "pending"
    SUBMITTING = "submitting"
    UNCONFIRMED = "unconfirmed"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """Return whether the job has ended: no report changes its state any more."""
        return self in FINAL


FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELED, State.EXPIRED})


class By(enum.StrEnum):
    """The cause that completed a job."""

    CALLBACK = "callback"
    POLL = "poll"
    SUBMIT = "submit"
    DEADLINE = "deadline"
    CANCEL = "cancel"
    OPERATOR = "operator"


class Work(enum.StrEnum):
    """The kinds of due work."""

    SUBMIT = "submit"
    POLL = "poll"
    DELIVER = "deliver"


@immutable
class JobError:
    """The reason why a job did not succeed."""

    code: FailureCode
    message: str
    provider_code: str | None = None


class WaitReason(enum.StrEnum):
    """The reasons why an open job does not move."""

    UNREACHABLE = "unreachable"
    THROTTLED = "throttled"
    ACCOUNT_BLOCKED = "account_blocked"
    ACCOUNT_FULL = "account_full"
    STORE = "store"
    POLL_FAILING = "poll_failing"


@immutable
class Waiting:
    """The reason why an open job does not move, its start, and the time of the next try."""

    reason: WaitReason
    detail: str
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job: one requested generation.

    `result` is JSON, as it is stored and sent. `sequence` counts the job's events. `misses` counts answers
    that should have known the job or its file and did not, since `missing_since`. `quiet_poll` is the
    timeline entry that counts unchanged polls.

    `poll_wanted` is true after a callback that only a poll can confirm, until a poll begins. `hinted_polls`
    counts the polls that such callbacks caused; the next one starts after `hint_after`. `guessed_id` is the
    provider's id as an unproved callback named it. `intents` counts the submissions that were committed, each
    of which may have cost money. `heard` and `heard_bytes` count the callbacks that are kept; the timeline
    entry `overflow` counts further ones. `cancel_wanted` is true while the provider is still to be asked to
    cancel. From `assets_revoked_at` on, no link to a file of the job works. `kept_url` is the URL that the
    provider gave for requests about the job, `traceparent` its place in a trace (W3C Trace Context).
    """

    id: str
    account: str
    operation: str
    state: State
    created_at: datetime
    updated_at: datetime
    deadline_at: datetime
    completed_at: datetime | None = None
    provider_job_id: str | None = None
    progress: float | None = None
    progressed_at: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    assets: tuple[Asset, ...] = ()
    result: bytes | None = field(default=None, repr=False)
    error: JobError | None = None
    usage: Mapping[str, Any] | None = None
    completed_by: By | None = None
    sequence: int = 0
    misses: int = 0
    missing_since: datetime | None = None
    quiet_poll: str | None = None
    expects_callback: bool = False
    callback_url: str | None = field(default=None, repr=False)
    callback_secret: bytes | None = field(default=None, repr=False)
    callback_off: bool = False
    poll_wanted: bool = False
    guessed_id: str | None = None
    intents: int = 0
    hinted_polls: int = 0
    hint_after: datetime | None = None
    heard: int = 0
    heard_bytes: int = 0
    overflow: str | None = None
    cancel_wanted: bool = False
    waiting: Waiting | None = None
    assets_revoked_at: datetime | None = None
    kept_url: str | None = field(default=None, repr=False)
    traceparent: str | None = None

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Job":
        """Return a job with a value for every field: as `__init__` does, at a tenth of the cost."""
        # Every report reads and changes jobs. The `__init__` of a frozen dataclass sets each field by a call.
        made = object.__new__(cls)
        made.__dict__.update(values)
        return made

    def but(self, **changes: Any) -> "Job":
        """Return this job with some fields changed: as `dataclasses.replace`, at a fifth of the cost."""
        twin = object.__new__(Job)
        twin.__dict__.update(self.__dict__, **changes)
        return twin


class EndpointState(enum.StrEnum):
    """The state of an endpoint. Only an active one is sent to; the others keep collecting deliveries."""

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"


@immutable(kw_only=True)
class Endpoint:
    """A subscriber's URL.

    Deliveries have its `format`, and with the format `template` the JSON of its `template`.
    `rate_limit` is in deliveries per second. `secrets` are the signing keys in `whsec_` form, newest first.
    After a rotation the earlier ones sign as well until the moments of `retire_at`, which has one for each.
    `retry_schedule` (seconds between attempts) and `timeout` (seconds for one) are None where those of the
    settings apply.
    """

    id: str
    url: str
    events: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    state: EndpointState = EndpointState.ACTIVE
    disabled_reason: str | None = None
    description: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    include: tuple[str, ...] = ()
    max_in_flight: int = MAX_IN_FLIGHT
    secrets: tuple[str, ...] = field(default=(), repr=False)
    from_file: bool = False
    filter: Filter | None = None
    signatures: tuple[str, ...] = (SYMMETRIC,)
    retire_at: tuple[datetime, ...] = ()
    retry_schedule: tuple[float, ...] | None = None
    timeout: float | None = None
    rate_limit: float | None = None
    format: str = STANDARD
    template: str | None = None


@immutable(kw_only=True)
class Event:
    """An event. `body` is sent to every endpoint; `result` is added for endpoints that include it."""

    id: str
    type: str
    job_id: str | None
    at: datetime
    sequence: int
    body: bytes = field(repr=False)
    result: bytes | None = field(default=None, repr=False)


@immutable(kw_only=True)
class PendingDelivery:
    """A delivery with all that sending needs. `endpoint_id` is None for a job's own callback URL.

    `origin` is the id of the replay that it belongs to, or `test`, and else empty.
    """

    id: str
    event: Event
    endpoint_id: str | None
    job_id: str | None
    url: str | None = field(default=None, repr=False)
    secret: bytes | None = field(default=None, repr=False)
    origin: str = ""
    traceparent: str | None = None


@immutable(kw_only=True)
class Claim:
    """Due work taken under a lease. `owner` and `fence` together distinguish it from any other claim.

    A claim that was rolled back has the fence of the next one, which may be another replica's. `until` is the
    end of the lease on the monotonic clock, in seconds; `tries` counts earlier tries.
    """

    id: str
    work: Work
    lane: str
    fence: int
    tries: int
    until: float
    owner: str = ""


@immutable
class Reserved:
    """The answer to a request for a slot: true where one was taken, else `waits_in` is a lane to wait in."""

    waits_in: str | None = None

    def __bool__(self) -> bool:
        return self.waits_in is None


@immutable
class ScheduledWork:
    """A piece of due work: its kind, its lane, its time, and the number of earlier tries."""

    work: Work
    lane: str
    at: datetime
    tries: int = 0


class Outcome(enum.StrEnum):
    """The outcome of a report, as the timeline shows it."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    DUPLICATE = "duplicate"
    LATE = "late"
    CONTRADICTION = "contradiction"
    MISMATCH = "mismatch"
    INCOMPLETE = "incomplete"
    HINT = "hint"
    UNPARSED = "unparsed"
    REFUSED = "refused"
    UNKNOWN_WORD = "unknown-word"
    ERROR = "error"


class Source(enum.StrEnum):
    """The source of a report about a job; also the kind of its timeline entry."""

    SUBMISSION = "submission"
    CALLBACK = "callback"
    POLL = "poll"
    NOTE = "note"
