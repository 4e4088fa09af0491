"""Calls to providers: the handler's request, sent over HTTP, and its parsed answer or a `ProviderError`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from handlers import json, wire
from handlers.contract import (
    SUBMIT_TIMEOUT,
    Account,
    Exchange,
    FailureCode,
    HttpMessage,
    HttpRequest,
    JobRef,
    Keys,
    Phase,
    Update,
)
from handlers.errors import ContentRefused, Garbled, ProviderError, Unavailable, Unreachable
from handlers.values import immutable
from receiver.bodies.compression import UnpackedTooLarge, Unreadable, codings, unpacked
from receiver.bodies.offload import OFFLOAD
from receiver.bodies.parts import Parts
from receiver.config.load import AccountSetup
from receiver.domain.clock import Clock
from receiver.domain.lifecycle import RESULT_LIMIT, USAGE_LIMIT
from receiver.domain.model import Job, JobError
from receiver.egress.client import CallFailed, HttpCall, HttpClient
from receiver.egress.http1 import Answer
from receiver.security.redaction import forms, hide, redacted
from receiver.security.tokens import MasterKeys

Asked = TypeVar("Asked")
Told = TypeVar("Told")
Heard = tuple[Update, str | None]
"""An update that is fit for storing, and a note of the parts that were left out of it."""

CALLBACK_PREFIX = "/callbacks/"
CALLBACK_ROUTE = f"{CALLBACK_PREFIX}{{account}}/{{token}}"
"""The route of callbacks, as metrics and traces name it."""
"""The path of a callback URL, before the account and the token."""
ANSWER_CAP = 4 * 1024 * 1024
"""The maximum bytes of an answer, compressed or not: it is held in memory as a whole."""
ASK_TIMEOUT = 30.0
"""Seconds for the answer to a poll, a cancellation or a request for a fresh link."""
FAILURES: Mapping[type[ProviderError], FailureCode] = {ContentRefused: FailureCode.CONTENT_POLICY}
"""Errors that end a job with a failure code of their own, whether a submission or a poll brought them."""


@immutable
class CallOptions:
    """The options of a call: its time-out in seconds, and with `fresh` a connection of its own."""

    timeout: float
    fresh: bool = False


# Submissions and cancellations must not arrive twice, so they get a `fresh` connection: the client repeats a
# call on a kept connection that broke before any byte of the answer.
SUBMIT = CallOptions(SUBMIT_TIMEOUT.total_seconds(), fresh=True)
POLL = CallOptions(ASK_TIMEOUT)
RESOLVE = CallOptions(ASK_TIMEOUT)
CANCEL = CallOptions(ASK_TIMEOUT, fresh=True)


class Accounts:
    """The configured accounts, and the calls to their providers."""

    def __init__(
        self,
        setups: Mapping[str, AccountSetup],
        client: HttpClient,
        master_keys: MasterKeys,
        clock: Clock,
        public_url: str | None,
        counting: Callable[[str, str], object],
    ) -> None:
        self.setups = setups
        self._counting = counting
        self._client = client
        self._master_keys = master_keys
        self._clock = clock
        self._public_url = public_url
        self._api_keys = {name: _api_keys(setup) for name, setup in setups.items()}

    def serves(self, account: str) -> bool:
        """Return whether an account is configured and on."""
        setup = self.setups.get(account)
        return setup is not None and setup.on

    def count(self, account: str, name: str) -> None:
        """Count an event of a configured account, such as a submission, under `name`."""
        if account in self.setups:
            self._counting(account, name)

    def calls_back(self, setup: AccountSetup, operation: str) -> bool:
        """Return whether the provider will send a callback for a job of this operation."""
        known = setup.handler.operations[operation]
        return self._public_url is not None and setup.handler.callback is not None and known.callback

    def submission(self, setup: AccountSetup, operation: str) -> CallOptions:
        """Return the options of a submission, with the time-out of the account or else of the operation."""
        own = setup.settings.submit_timeout
        known = setup.handler.operations.get(operation)
        usual = known.submit_timeout if known else SUBMIT_TIMEOUT
        return replace(SUBMIT, timeout=usual.total_seconds() if own is None else own)

    def longest_submission(self) -> timedelta:
        """Return the longest time that a submission may take, over all accounts and operations."""
        timeouts = (
            self.submission(one, name).timeout
            for one in self.setups.values()
            for name in one.handler.operations
        )
        return timedelta(seconds=max(timeouts, default=SUBMIT.timeout))

    def callback_url(self, job: Job) -> str | None:
        """Return the callback URL that the provider gets for this job, None where it gets none."""
        if not job.expects_callback or self._public_url is None:
            return None
        token = self._master_keys.callback_token(job.account, job.id)
        return f"{self._public_url}{CALLBACK_PREFIX}{job.account}/{token}"

    def secret(self, job: Job) -> str:
        """Return the secret that the provider gets for this job."""
        return self._master_keys.callback_secret(job.account, job.id)

    def keys(self, setup: AccountSetup, job_secret: str) -> Keys:
        """Return every key with which a callback of this account may be proved."""
        return Keys((job_secret,), setup.handler.callback_secrets, self._api_keys[setup.name])

    async def ask(
        self, setup: AccountSetup, exchange: Exchange[Asked, Told], subject: Asked, options: CallOptions
    ) -> tuple[Told, HttpMessage]:
        """Call the provider. Returns the parsed answer and its message. Raises `ProviderError` only."""
        request = exchange.build(subject, account_of(setup))
        return await self.send(setup, request, request.body, exchange.parse, options)

    async def send(
        self,
        setup: AccountSetup,
        request: HttpRequest,
        body: bytes | Parts,
        parse: Callable[[HttpMessage], Told],
        options: CallOptions,
    ) -> tuple[Told, HttpMessage]:
        """Send a built request with `body` in place of its own. Returns and raises as `ask` does."""
        call = HttpCall(
            method=request.method,
            url=request.url(setup.base_url),
            headers=request.headers,
            body=body,
            timeout=options.timeout,
            cap=ANSWER_CAP,
            fresh=options.fresh,
        )
        try:
            answer = await self._client.call(call)
        except CallFailed as error:
            # A request that was written as a whole may have been accepted, even if no answer came.
            raise (Unavailable if error.written else Unreachable)(str(error)) from None
        if answer.cut:
            raise Garbled("the answer is too large", status=answer.status)
        codes, at = _codings(answer), self._clock.outside()
        parsed = await OFFLOAD.run(
            # A compressed answer may unpack to any size up to the maximum, so its own size says nothing.
            ANSWER_CAP if codes else len(answer.body),
            lambda: _read(answer, codes, at, parse),
        )
        if isinstance(parsed, ProviderError):
            # A provider's error message may echo the API key with which it was called.
            keys = forms(self.keys(setup, "").api)
            parsed.said, parsed.provider_code = hide(parsed.said, keys), hide(parsed.provider_code, keys)
            raise parsed
        return parsed

    async def polled(self, job: Job, ref: JobRef) -> tuple[Heard, HttpMessage]:
        """Poll the provider, and ask for the result where a second request brings it.

        Raises `ProviderError` only. The account's handler must have a poll.
        """
        setup = self.setups[job.account]
        poll, result = setup.handler.poll, setup.handler.result
        assert poll is not None  # noqa: S101  # the caller has checked it
        found, message = await self.ask(setup, self.heard(job, poll), ref, POLL)
        if result is None or found[0].phase is not Phase.SUCCEEDED:
            return found, message
        return await self.ask(setup, self.heard(job, result), ref, POLL)

    def heard(self, job: Job, exchange: Exchange[Asked, Update]) -> Exchange[Asked, Heard]:
        """Return `exchange` with a parser that returns updates fit for storing.

        A large answer is then parsed, cut and freed on one thread.
        """
        secrets = self.secrets_of(job)

        def parse(message: HttpMessage) -> Heard:
            return self.fit(exchange.parse(message), message.body, secrets)

        return Exchange(exchange.build, parse)

    def fit(self, update: Update, body: bytes, secrets: Sequence[str]) -> Heard:
        """Return `update` fit for storing, and a note of the parts left out.

        Secrets that the message echoes are removed, and at most the files that a job keeps are left. A
        success keeps the whole body as its result, unless the handler chose a part of it.
        """
        if update.phase is Phase.SUCCEEDED and update.result is None:
            update = replace(update, result=_whole(body))
        if len(body) > USAGE_LIMIT:
            # A smaller body yields nothing that is too large, and most bodies are smaller.
            update = _bounded(update)
        escaped, quoted = b"\\" in body, b"%" in body
        # Only in a body with escapes or percent signs may a secret be spelled in another way; escapes make
        # the raw body useless for the search.
        spelled = forms(secrets) if escaped or quoted else secrets
        echoed = [secret for secret in spelled if secret and (escaped or secret.encode() in body)]
        return redacted(update, echoed) if echoed else (update, None)

    def plain(self, job: Job, error: ProviderError) -> JobError:
        """Return a provider's error about a job, without secrets."""
        secrets = forms(self.secrets_of(job))
        code = FAILURES.get(type(error), FailureCode.REJECTED)
        # The service's own sentence holds no secret.
        message = hide(error.said, secrets) or error.meaning()
        return JobError(code, message, hide(error.provider_code, secrets))

    def secrets_of(self, job: Job) -> list[str]:
        """Return the secrets of a job, not to be passed on: callback token, job secret and all keys."""
        setup = self.setups[job.account]
        keys = self.keys(setup, self.secret(job))
        return [*keys.job, *keys.account, *keys.api, self._master_keys.callback_token(job.account, job.id)]


def account_of(setup: AccountSetup) -> Account:
    """Return an account as its handler sees it."""
    key = setup.settings.api_key.get_secret_value() if setup.settings.api_key else ""
    return Account(setup.name, setup.base_url, key)


def _codings(answer: Answer) -> list[str]:
    return codings([value for name, value in answer.headers if name == "content-encoding"])


def _read(
    answer: Answer, codes: list[str], at: datetime, parse: Callable[[HttpMessage], Told]
) -> tuple[Told, HttpMessage] | ProviderError:
    """Return the result of `parse` and the message, or the provider's error without its frames.

    The frames would keep the parsed answer in memory.
    """
    try:
        message = HttpMessage(answer.status, answer.headers, _plain(answer, codes), at)
        return parse(message), message
    except ProviderError as error:
        error.__context__ = error.__cause__ = None
        return error.with_traceback(None)


def _plain(answer: Answer, codes: list[str]) -> bytes:
    """Return the body of an answer, decompressed. Raises `Garbled` where that is impossible."""
    if not codes or not answer.body:
        return answer.body
    try:
        return unpacked(answer.body, codes, ANSWER_CAP)
    except (Unreadable, UnpackedTooLarge) as error:
        raise Garbled(str(error), status=answer.status) from None


def _api_keys(setup: AccountSetup) -> tuple[str, ...]:
    """Return the API keys of an account: the current one, then the previous ones."""
    settings = setup.settings
    present = (settings.api_key,) if settings.api_key else ()
    return tuple(key.get_secret_value() for key in (*present, *settings.previous_api_keys))


def _bounded(update: Update) -> Update:
    """Return `update` with no more files, result and usage than a job keeps."""
    kept = wire.kept(update.assets)
    return replace(
        update,
        assets=kept,
        left=len(update.assets) - len(kept),
        result=_fitting(update.result, RESULT_LIMIT),
        usage=_fitting(update.usage, USAGE_LIMIT),
    )


def _fitting(value: Mapping[str, Any] | None, limit: int) -> Mapping[str, Any] | None:
    """Return `value`, None where its JSON is longer than `limit` bytes."""
    if value is None or json.outgrows(value, limit):
        return None
    return value if len(json.write(value)) <= limit else None


def _whole(body: bytes) -> dict[str, Any] | None:
    try:
        return json.as_object(json.forgive(body))
    except json.BadJson:
        return None
