"""What a provider is: a record of pure functions, and the words they speak.

A handler does no I/O, never sleeps and reads no clock. Each door of a provider (submit, poll, callback,
resolve, cancel) is a function that builds a request or reads a message; `received_at` on the message is
the only time a handler knows.
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from handlers.values import immutable

SUBMIT_TIMEOUT = timedelta(seconds=60)
SYNCHRONOUS = timedelta(seconds=300)
"""The time for a submission that is answered with its result."""
Asked = TypeVar("Asked")
Told = TypeVar("Told")


class Phase(enum.StrEnum):
    """The provider's view of a job, in our words; UNKNOWN is a word of theirs that we do not know."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    UNKNOWN = "unknown"


class Kind(enum.StrEnum):
    """What a generated file is."""

    VIDEO = "video"
    IMAGE = "image"
    AUDIO = "audio"
    FILE = "file"


class FailureCode(enum.StrEnum):
    """Why a generation failed, in our words."""

    REJECTED = "rejected"
    GENERATION_FAILED = "generation_failed"
    CONTENT_POLICY = "content_policy"
    NO_CREDIT = "no_credit"
    RESULT_MISSING = "result_missing"
    LOST = "lost"
    DEADLINE = "deadline"
    CANCELED_BY_PROVIDER = "canceled_by_provider"


class Proof(enum.Enum):
    """What a callback proves beyond its token: PROVED may end a job, UNPROVED is a hint."""

    PROVED = "proved"
    UNPROVED = "unproved"


@immutable
class HttpRequest:
    """One request to a provider. `path` is relative to the account's base URL and goes out byte for byte."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)


@immutable
class HttpMessage:
    """A message as it came in: headers as pairs with lower-case names, a doubled one visible."""

    status: int
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    received_at: datetime

    def every(self, name: str) -> list[str]:
        """All values of the header `name` (lower case), in their order."""
        return [value for key, value in self.headers if key == name]


@immutable
class HttpAnswer:
    """What to answer to a provider's challenge."""

    status: int
    body: bytes
    content_type: str = "application/json"


@immutable
class Account:
    """A configured key at a provider."""

    name: str
    base_url: str
    api_key: str = field(repr=False)


@immutable
class Keys:
    """Where a proof finds its keys; each is a sequence, newest first, because rotation is normal."""

    job: Sequence[str] = field(default=(), repr=False)
    account: Sequence[str] = field(default=(), repr=False)
    api: Sequence[str] = field(default=(), repr=False)
    key_set: Mapping[str, Any] | None = None


@immutable
class Problem:
    """Something wrong with an input: a JSON pointer into it and a sentence with the fix."""

    pointer: str
    detail: str
    warning: bool = False


@immutable
class Submission:
    """What we are about to ask for. Without a `callback_url` the job is polled."""

    job_id: str
    operation: str
    input: Mapping[str, Any] = field(repr=False)
    callback_url: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)


@immutable
class JobRef:
    """Which job we ask about."""

    job_id: str
    provider_job_id: str
    operation: str


@immutable
class AssetRef:
    """Which asset we want a fresh link for; `source` is what the handler stored to find it again."""

    job: JobRef
    index: int
    source: str


@immutable(kw_only=True)
class Asset:
    """A generated file, as the provider describes it.

    `url` may be handed on and stored; None where it must not be. `source` is the handler's own recipe for
    a fresh link. `expires_at` is the link's end, `deletes_at` the file's. `duration` is in seconds.
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
    """Why it failed: the provider's word, its sentence, and our code."""

    provider_code: str | None
    message: str
    code: FailureCode = FailureCode.GENERATION_FAILED


@immutable(kw_only=True)
class Update:
    """A provider's word, normalised: the one thing that comes out of every door.

    `left` counts the files, if any, that are too many for a job to keep; they stay with the provider.
    """

    provider_job_id: str | None
    phase: Phase
    progress: float | None = None
    assets: tuple[Asset, ...] = ()
    left: int | None = None
    result: Mapping[str, Any] | None = field(default=None, repr=False)
    failure: Failure | None = None
    usage: Mapping[str, Any] | None = None


@immutable
class Exchange(Generic[Asked, Told]):
    """One question to a provider: how to ask it, and how to read the answer.

    `parse` raises a `ProviderError` and nothing else, whatever the bytes.
    """

    build: Callable[[Asked, Account], HttpRequest]
    parse: Callable[[HttpMessage], Told]


def no_challenge(_message: HttpMessage) -> HttpAnswer | None:
    """Most providers ask nothing back."""
    return None


@immutable
class Callback:
    """How a provider rings back.

    `verify` raises `BadSignature` or `UnknownKey`, and nothing else, for any bytes; `parse` raises
    `BadPayload`, and nothing else. `provable` tells that a genuine callback can carry a proof: then one that
    carries none may not name a job's id. `account_wide` tells that the proof's key is that of the account: a
    body that names no job then proves nothing about the one at whose URL it came.
    """

    verify: Callable[[HttpMessage, Keys], Proof]
    parse: Callable[[HttpMessage], Update]
    challenge: Callable[[HttpMessage], HttpAnswer | None] = no_challenge
    provable: bool = True
    account_wide: bool = False


@immutable
class Operation:
    """One thing a provider can make: where to ask, its kind of file (None: no file), whether it rings back.

    `submit_timeout` is how long the answer to a submission may take; longer where it brings the result.
    """

    path: str
    kind: Kind | None
    callback: bool = True
    poll: bool = True
    submit_timeout: timedelta = SUBMIT_TIMEOUT


@immutable
class Cadence:
    """When to poll: after `first`, then every `interval` stretched by `factor` up to `ceiling`.

    Where a callback is expected the first poll waits for `backstop` instead, and later ones stay as sparse.
    """

    first: timedelta = timedelta(seconds=5)
    interval: timedelta = timedelta(seconds=5)
    factor: float = 1.2
    ceiling: timedelta = timedelta(seconds=30)
    backstop: timedelta = timedelta(seconds=180)


class Repoll(enum.Enum):
    """A fresh link is had by asking for the job once more."""

    REPOLL = "repoll"


REPOLL: Final = Repoll.REPOLL


class Options(BaseModel):
    """An account's own settings for its handler; a handler that has some extends this."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def no_check(_submission: Submission) -> Sequence[Problem]:
    """A provider whose input rules are not known."""
    return ()


@immutable(kw_only=True)
class Handler:
    """A provider. A door that is None is one that the provider does not have; there are no flags."""

    name: str
    base_url: str
    operations: Mapping[str, Operation]
    submit: Exchange[Submission, Update]
    check: Callable[[Submission], Sequence[Problem]] = no_check
    poll: Exchange[JobRef, Update] | None = None
    callback: Callback | None = None
    resolve: Exchange[AssetRef, Asset] | Repoll | None = None
    cancel: Exchange[JobRef, Update] | None = None
    cadence: Cadence = Cadence()
    idempotent_submit: bool = False
    callback_secrets: tuple[str, ...] = field(default=(), repr=False)
    reserved: frozenset[str] = frozenset({"webhook_url", "webhook_secret", "callback_url"})

    @property
    def default_operation(self) -> str:
        """The operation meant when a job names none: the first of the table."""
        return next(iter(self.operations))


@immutable
class Provider:
    """What `handlers.ALL` lists: a name, the settings it takes, and the handler they make."""

    name: str
    options: type[Options]
    configure: Callable[[Any], Handler]
