"""Asking providers: a handler's request over the gateway, its answer or a `ProviderError`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from handlers import json
from handlers.contract import Account, Exchange, Failure, FailureCode, HttpMessage, Keys, Phase, Update
from handlers.errors import Garbled, ProviderError, Refused, Unavailable, Unreachable
from handlers.values import immutable
from receiver.clock import Clock
from receiver.config import AccountSetup
from receiver.gateway import Call, CallFailed, Gateway
from receiver.keys import Masters
from receiver.model import Job
from receiver.observe import LastHour

Asked = TypeVar("Asked")
Told = TypeVar("Told")

ANSWER_CAP = 4 * 1024 * 1024
SUBMIT_TIMEOUT = 60.0
ASK_TIMEOUT = 30.0
BEFORE_SENDING = frozenset({"request", "resolve", "connect", "tls"})
REDACTED = "[redacted]"
FAILURES: Mapping[type[ProviderError], FailureCode] = {Refused: FailureCode.CONTENT_POLICY}
"""What ends a job with a code of its own, whichever door it came by."""


@immutable
class Door:
    """How an exchange is made: how long it may take, and whether on a connection of its own."""

    name: str
    timeout: float
    fresh: bool = False


SUBMIT = Door("submit", SUBMIT_TIMEOUT, fresh=True)
POLL = Door("poll", ASK_TIMEOUT)
RESOLVE = Door("resolve", ASK_TIMEOUT)
CANCEL = Door("cancel", ASK_TIMEOUT, fresh=True)


class Accounts:
    """The configured accounts, and the way to their providers."""

    def __init__(
        self,
        setups: Mapping[str, AccountSetup],
        gateway: Gateway,
        masters: Masters,
        clock: Clock,
        public_url: str | None,
    ) -> None:
        self.setups = setups
        self.counted = {name: LastHour(clock.monotonic) for name in setups}
        self._gateway = gateway
        self._masters = masters
        self._clock = clock
        self._public_url = public_url
        self._api_keys = {name: _api_keys(setup) for name, setup in setups.items()}

    def serves(self, account: str) -> bool:
        """Whether an account is there and on."""
        setup = self.setups.get(account)
        return setup is not None and setup.on

    def count(self, account: str, name: str) -> None:
        """Count something that happened at an account."""
        if account in self.counted:
            self.counted[account].add(name)

    def calls_back(self, setup: AccountSetup, operation: str) -> bool:
        """Whether a job of this operation is going to be rung back."""
        known = setup.handler.operations[operation]
        return self._public_url is not None and setup.handler.callback is not None and known.callback

    def callback_url(self, job: Job) -> str | None:
        """The URL that the provider is given for this job."""
        if not job.expects_callback or self._public_url is None:
            return None
        return (
            f"{self._public_url}/callbacks/{job.account}/{self._masters.callback_token(job.account, job.id)}"
        )

    def secret(self, job: Job) -> str:
        """The secret that the provider is given for this job."""
        return self._masters.callback_secret(job.account, job.id)

    def keys(self, setup: AccountSetup, job_secret: str) -> Keys:
        """Every key with which a callback of this account may be proved."""
        return Keys((job_secret,), setup.handler.callback_secrets, self._api_keys[setup.name])

    async def ask(
        self, setup: AccountSetup, exchange: Exchange[Asked, Told], asked: Asked, door: Door
    ) -> tuple[Told, HttpMessage]:
        """What the provider tells, and its message; raises `ProviderError` and nothing else."""
        account = self.account(setup)
        request = exchange.build(asked, account)
        call = Call(
            request.method,
            setup.base_url + request.path,
            request.headers,
            request.body,
            timeout=door.timeout,
            cap=ANSWER_CAP,
            fresh=door.fresh,
        )
        try:
            answer = await self._gateway.call(call)
        except CallFailed as error:
            unsent = error.stage in BEFORE_SENDING and not error.written
            raise (Unreachable if unsent else Unavailable)(str(error)) from None
        message = HttpMessage(answer.status, answer.headers, answer.body, self._clock.outside())
        if answer.cut:
            raise Garbled("the answer is too large", status=answer.status)
        try:
            return exchange.parse(message), message
        except ProviderError as error:
            keys = self.keys(setup, "").api
            error.said = _hide(error.said, keys)
            error.provider_code = _hide(error.provider_code, keys)
            raise

    def account(self, setup: AccountSetup) -> Account:
        """The account as its handler sees it."""
        key = setup.settings.api_key.get_secret_value() if setup.settings.api_key else ""
        return Account(setup.name, setup.base_url, key)

    def redacted(self, update: Update, body: bytes, secrets: Sequence[str]) -> Update:
        """`update` without our secrets, where the provider's message echoes one.

        A success keeps the whole body as its result, where the handler did not choose what to keep.
        """
        if update.phase is Phase.SUCCEEDED and update.result is None:
            update = replace(update, result=_whole(body))
        escaped = b"\\" in body
        echoed = [secret for secret in secrets if secret and (escaped or secret.encode() in body)]
        if not echoed:
            return update
        failure = update.failure
        if failure is not None:
            code = _hide(failure.provider_code, echoed)
            failure = Failure(code, _hide(failure.message, echoed), failure.code)
        return replace(
            update, result=_hide(update.result, echoed), usage=_hide(update.usage, echoed), failure=failure
        )

    def secrets_of(self, job: Job) -> list[str]:
        """What must not be told on about this job: its callback URL's token, its secret and the API keys."""
        setup = self.setups[job.account]
        keys = self.keys(setup, self.secret(job))
        return [*keys.job, *keys.api, self._masters.callback_token(job.account, job.id)]


def _api_keys(setup: AccountSetup) -> tuple[str, ...]:
    """The account's key and those before it."""
    settings = setup.settings
    present = (settings.api_key,) if settings.api_key else ()
    return tuple(key.get_secret_value() for key in (*present, *settings.previous_api_keys))


def _whole(body: bytes) -> dict[str, Any] | None:
    try:
        return json.read_object(body)
    except json.BadJson:
        return None


def _hide(value: Any, secrets: Sequence[str]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, REDACTED)
        return value
    if isinstance(value, Mapping):
        return {_hide(name, secrets): _hide(inner, secrets) for name, inner in value.items()}
    if isinstance(value, list):
        return [_hide(inner, secrets) for inner in value]
    return value


def told(error: ProviderError) -> str:
    """A provider's error as a sentence for the timeline."""
    return error.said or (type(error).__doc__ or "")
