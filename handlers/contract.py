"""The contract of a provider's handler: a record of pure functions, and the types that they exchange.

A handler does no I/O, never sleeps and reads no clock. Its functions (for submit, poll, callback, resolve and
cancel) build a request or read a message; `HttpMessage.received_at` is the only time that a handler knows.
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import date, datetime, timedelta
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from handlers.values import immutable

SUBMIT_TIMEOUT = timedelta(seconds=60)
"""The time for the answer to a submission, unless its operation or its account sets another."""
SYNCHRONOUS = timedelta(seconds=300)
"""The time for the answer to a submission that brings the result, which takes longer."""
Asked = TypeVar("Asked")
Told = TypeVar("Told")


class Phase(enum.StrEnum):
    """The provider's view of a job. UNKNOWN stands for a status word that no table knows."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    UNKNOWN = "unknown"

    @property
    def final(self) -> bool:
        """Whether the provider is done with the job."""
        return self in {Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELED}


class Kind(enum.StrEnum):
    """The kind of a generated file."""

    VIDEO = "video"
    IMAGE = "image"
    AUDIO = "audio"
    FILE = "file"


class FailureCode(enum.StrEnum):
    """The reason for which a job failed, in the service's own terms."""

    REJECTED = "rejected"
    GENERATION_FAILED = "generation_failed"
    CONTENT_POLICY = "content_policy"
    NO_CREDIT = "no_credit"
    RESULT_MISSING = "result_missing"
    LOST = "lost"
    DEADLINE = "deadline"
    CANCELED_BY_PROVIDER = "canceled_by_provider"


class Proof(enum.Enum):
    """The result of a callback's verification: PROVED may end a job, UNPROVED is a hint."""

    PROVED = "proved"
    UNPROVED = "unproved"


@immutable
class HttpRequest:
    """A request to a provider. `path` is relative to the account's base URL and is sent byte for byte.

    `origin` is another origin in place of the base URL, where the handler trusts it with the key.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    origin: str | None = None

    def url(self, base_url: str) -> str:
        """Return the whole URL, for an account with this base URL."""
        return (self.origin or base_url) + self.path


@immutable
class HttpMessage:
    """A received message. Header names are in lower case, and a header that comes twice stays visible.

    A callback has the `method` of its request and the `target`, the path with its query.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    received_at: datetime
    method: str = "POST"
    target: str = field(default="", repr=False)

    def every(self, name: str) -> list[str]:
        """Return all values of the header `name` (lower case), in order."""
        return [value for key, value in self.headers if key == name]


@immutable
class HttpAnswer:
    """The response to a provider's challenge."""

    status: int
    body: bytes
    content_type: str = "application/json"


RECEIVED: Final = HttpAnswer(200, b'{"received":true}')
"""The usual answer to a callback."""


@immutable
class Account:
    """A configured account at a provider."""

    name: str
    base_url: str
    api_key: str = field(repr=False)


@immutable
class Keys:
    """The keys of a proof. Each kind is a sequence, newest first, because keys are rotated."""

    job: Sequence[str] = field(default=(), repr=False)
    account: Sequence[str] = field(default=(), repr=False)
    api: Sequence[str] = field(default=(), repr=False)


@immutable
class Problem:
    """A problem of an input: a JSON pointer and a sentence with the fix. A warning refuses nothing."""

    pointer: str
    detail: str
    warning: bool = False


@immutable
class Submission:
    """A job that is about to be submitted. Without a `callback_url` it is polled."""

    job_id: str
    operation: str
    input: Mapping[str, Any] = field(repr=False)
    callback_url: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)


@immutable
class JobRef:
    """A reference to a submitted job, for polls and cancellations.

    `kept_url` is the URL that the submission's answer gave for them, where there is one.
    """

    job_id: str
    provider_job_id: str
    operation: str
    kept_url: str | None = field(default=None, repr=False)


@immutable
class AssetRef:
    """A reference to an asset that needs a fresh link. `source` is the value stored with the asset."""

    job: JobRef
    index: int
    source: str


@immutable(kw_only=True)
class Asset:
    """A generated file, as the provider describes it.

    `url` may be handed on and stored; it is None for a link that may not. `source` is the handler's own value
    from which `resolve` gets a fresh link. `expires_at` is the end of the link, `deletes_at` the end of the
    file. `duration` is in seconds.
    """

    kind: Kind
    url: str | None = None
    source: str | None = None
    expires_at: datetime | None = None
    deletes_at: datetime | None = None
    mime_type: str | None = None
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    fps: float | None = None
    has_sound: bool | None = None


@immutable
class Failure:
    """The reason for a failure: the provider's code, its sentence, and the service's code."""

    provider_code: str | None
    message: str
    code: FailureCode = FailureCode.GENERATION_FAILED


@immutable(kw_only=True)
class Update:
    """A provider's report about a job in normal form: the result of submit, poll, callback and cancel alike.

    `result` None keeps the whole body of a success. `left` is the number of files beyond those that a job
    keeps; they stay with the provider. `kept_url` is a URL of the provider for later requests about the job.
    """

    provider_job_id: str | None
    phase: Phase
    progress: float | None = None
    assets: tuple[Asset, ...] = ()
    left: int | None = None
    result: Mapping[str, Any] | None = field(default=None, repr=False)
    failure: Failure | None = None
    usage: Mapping[str, Any] | None = None
    kept_url: str | None = field(default=None, repr=False)


@immutable
class Exchange(Generic[Asked, Told]):
    """A call of a provider: `build` makes the request, `parse` reads the answer.

    `parse` raises a `ProviderError` and nothing else, for any bytes.
    """

    build: Callable[[Asked, Account], HttpRequest]
    parse: Callable[[HttpMessage], Told]


def no_challenge(_message: HttpMessage) -> HttpAnswer | None:
    """Return None: most providers send no challenge."""
    return None


@immutable
class Callback:
    """The functions that verify and read a provider's callbacks.

    `verify` raises `BadSignature`, and nothing else, for any bytes; `parse` raises
    `BadPayload`, and nothing else. `provable` is true when genuine callbacks can carry a proof: a callback
    without one may then not name the id of a job. `account_wide` is true when the key of the proof belongs to
    the account: a body that names no job then proves nothing about the job of the callback URL. `received` is
    the answer to a callback, `worded` says that the provider has words for states, and `keys_url` is the
    place of the public keys that prove a callback.
    """

    verify: Callable[[HttpMessage, Keys], Proof]
    parse: Callable[[HttpMessage], Update]
    challenge: Callable[[HttpMessage], HttpAnswer | None] = no_challenge
    provable: bool = True
    account_wide: bool = False
    received: HttpAnswer = RECEIVED
    worded: bool = True
    keys_url: str | None = None


@immutable
class Operation:
    """A kind of generation: its path, its kind of file (None: no file), and the calls that exist for it.

    `callback` and `poll` are false where the provider has none. `submit_timeout` is the time for the answer
    to a submission, longer where that answer brings the result. `asked` is the path for later calls about a
    job, where it differs.
    """

    path: str
    kind: Kind | None
    callback: bool = True
    poll: bool = True
    submit_timeout: timedelta = SUBMIT_TIMEOUT
    asked: str | None = None


@immutable
class Cadence:
    """The pauses between polls: `first`, then `interval`, stretched by `factor` each time up to `ceiling`.

    Where a callback is expected, the first poll comes after `backstop`, and later polls are at least as far
    apart.
    """

    first: timedelta = timedelta(seconds=5)
    interval: timedelta = timedelta(seconds=5)
    factor: float = 1.2
    ceiling: timedelta = timedelta(seconds=30)
    backstop: timedelta = timedelta(seconds=180)


class Repoll(enum.Enum):
    """The marker of a handler that gets a fresh link by one more poll of the job."""

    REPOLL = "repoll"


REPOLL: Final = Repoll.REPOLL


class Options(BaseModel):
    """The settings of an account for its handler. A handler that takes settings extends this class."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def no_check(_submission: Submission) -> Sequence[Problem]:
    """Return no problems: for a provider with unknown input rules."""
    return ()


@immutable(kw_only=True)
class Handler:
    """A provider's handler. A field that is None stands for a call that the provider does not have.

    `result` is a second request, after a poll that says success: its answer is the result. `example` is an
    input of the default operation.
    """

    name: str
    base_url: str
    operations: Mapping[str, Operation]
    submit: Exchange[Submission, Update]
    check: Callable[[Submission], Sequence[Problem]] = no_check
    poll: Exchange[JobRef, Update] | None = None
    result: Exchange[JobRef, Update] | None = None
    callback: Callback | None = None
    resolve: Exchange[AssetRef, Asset] | Repoll | None = None
    cancel: Exchange[JobRef, Update] | None = None
    cadence: Cadence = Cadence()
    idempotent_submit: bool = False
    callback_secrets: tuple[str, ...] = field(default=(), repr=False)
    reserved: frozenset[str] = frozenset({"webhook_url", "webhook_secret", "callback_url"})
    example: Mapping[str, Any] = field(default_factory=dict)
    named: frozenset[str] = field(init=False, repr=False, compare=False)
    """The operations that the table lists: it may hold others too, under any name."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "named", frozenset(self.operations))

    @property
    def default_operation(self) -> str:
        """Return the operation of a job that names none: the first of the table."""
        return next(iter(self.operations))


@immutable
class Provider:
    """An entry of `handlers.ALL`: a name, the class of its settings, and the maker of its handler."""

    name: str
    options: type[Options]
    configure: Callable[[Any], Handler]
    facts: "Facts"


@immutable(kw_only=True)
class Facts:
    """The knowledge behind a handler: its sources, how sure each fact is, and the day of the last check.

    `confidence` maps `all` and the facts that differ from it to how sure they are. `proof` says how callbacks
    prove themselves, `files` how long files are there, and `rules` what is checked of an input.
    """

    title: str
    sources: tuple[str, ...]
    checked: date
    confidence: Mapping[Any, str]
    proof: str
    files: str
    rules: tuple[str, ...]
