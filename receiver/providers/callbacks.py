"""Provider callbacks: token, proof, parsing, recording. A 200 means that the bytes are stored."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from handlers import json
from handlers.contract import Callback, HttpAnswer, HttpMessage, Keys, Proof, Update, no_challenge
from handlers.errors import BadPayload, BadSignature
from receiver.bodies.offload import OFFLOAD
from receiver.config.load import AccountSetup
from receiver.domain.clock import Clock
from receiver.domain.errors import StoreUnavailable, UnknownCallback
from receiver.domain.model import Outcome, Source
from receiver.domain.reports import Note, ProviderUpdate
from receiver.egress.key_sets import KeySets
from receiver.events.log_lines import Sparing
from receiver.events.recorder import Recorder
from receiver.metrics import Metrics
from receiver.providers.accounts import CALLBACK_ROUTE, Accounts
from receiver.security.tokens import BadToken, CallbackToken, MasterKeys
from receiver.tracing.spans import JobSpans

LOGGER = logging.getLogger("ringback.callbacks")
KEPT_HEADERS = frozenset(
    {"content-type", "user-agent", "date", "webhook-id", "webhook-timestamp", "x-webhook-event"}
)
"""The headers of a callback that its timeline entry keeps; one with the job's secret is not among them."""
UNKNOWN = "unknown"
"""The verdict on a callback with a token that is none of ours, and its account where there is none."""
REFUSALS_KEPT = 20
"""The number of refused callbacks that one job's timeline keeps; further ones are only counted."""


@dataclass(slots=True)
class CallbackReceiver:
    """A receiver of callbacks that verifies, parses and records them."""

    accounts: Accounts
    master_keys: MasterKeys
    recorder: Recorder
    key_sets: KeySets
    clock: Clock
    metrics: Metrics
    spans: JobSpans
    _refused: dict[str, int] = field(default_factory=dict)
    _sparing: Sparing = field(init=False)

    def __post_init__(self) -> None:
        """Make the counter of refusals, with the service's clock."""
        self._sparing = Sparing(self.clock.monotonic)

    async def take(
        self, account: str, token: str, headers: Sequence[tuple[str, str]], body: bytes, target: str = ""
    ) -> HttpAnswer:
        """Return the answer to a callback once it is durable. `target` is its path with the query.

        Raises `UnknownCallback` for an unknown URL and for a failed proof alike.
        """
        setup, began = self.accounts.setups.get(account), self.clock.monotonic()
        try:
            claims = self.master_keys.read_callback(account, token)
        except BadToken:
            self._say_refused("no such token", setup.name if setup else None)
            self._count(setup.name if setup else UNKNOWN, UNKNOWN)
            raise UnknownCallback from None
        if setup is None or setup.handler.callback is None:
            raise UnknownCallback
        # Signatures hold the system's time. Why: receiver/README.md#no-clock-step-ends-anything
        message = HttpMessage(200, tuple(headers), body, self.clock.outside(), target=target)
        size, callback = len(body), setup.handler.callback
        if callback.challenge is not no_challenge:
            challenge = await OFFLOAD.read(size, lambda: callback.challenge(message))
            if challenge is not None:
                return challenge
        await self._record(setup, callback, claims, token, message)
        self.metrics.observe("ringback_callback_ack_seconds", self.clock.monotonic() - began, setup.name)
        return callback.received

    def _count(self, account: str, verdict: str) -> None:
        """Count a callback that no transaction counts."""
        self.metrics.count("ringback_callbacks", account, verdict)

    async def _record(
        self,
        setup: AccountSetup,
        callback: Callback,
        claims: CallbackToken,
        token: str,
        message: HttpMessage,
    ) -> None:
        keys, began = self.accounts.keys(setup, claims.secret), self.spans.now()
        try:
            proof = await self._verified(callback, message, keys)
        except BadSignature:
            self._say_refused("the proof is missing or wrong", setup.name)
            await self._refuse(setup, claims)
            raise UnknownCallback from None
        secrets = [*_secrets(keys), token]
        update, note = await OFFLOAD.read(len(message.body), lambda: self._read(callback, message, secrets))
        if update is None:
            about = {"account": setup.name, "job": claims.job_id}
            LOGGER.warning(
                "a callback cannot be read and is only kept in the timeline of its job", extra=about
            )
        # The account's key proves the sender, but a body without an id may be about any of its jobs.
        if callback.account_wide and update is not None and update.provider_job_id is None:
            proof = Proof.UNPROVED
        self.accounts.count(setup.name, "callbacks")
        common: dict[str, Any] = {
            "job_id": claims.job_id,
            "source": Source.CALLBACK,
            "at": self.clock.now(),
            "proof": proof,
            "headers": json.write([pair for pair in message.headers if pair[0] in KEPT_HEADERS]),
            "body": message.body,
            "note": note,
        }
        confirm = setup.settings.confirm == "always" and setup.handler.poll is not None
        recorded = await self.recorder.record(
            Note(**common) if update is None else ProviderUpdate(update=update, confirm=confirm, **common)
        )
        self.spans.called_back(recorded.job, began, CALLBACK_ROUTE, recorded.outcome.value)

    async def _verified(self, callback: Callback, message: HttpMessage, keys: Keys) -> Proof:
        """Return the verdict about a callback. Raises `BadSignature`, and `KeysUnavailable`."""
        url = callback.keys_url
        if url is None:
            return callback.verify(message, keys)
        return await self.key_sets.proved(
            url, lambda public: callback.verify(message, replace(keys, account=public))
        )

    def _read(
        self, callback: Callback, message: HttpMessage, secrets: Sequence[str]
    ) -> tuple[Update | None, str | None]:
        """Return the update of a callback, fit for storing, and a note; None and None for an unreadable body.

        It raises no error, because the frames of one would keep the parsed body in memory.
        """
        try:
            return self.accounts.fit(callback.parse(message), message.body, secrets)
        except BadPayload:
            return None, None

    async def _refuse(self, setup: AccountSetup, claims: CallbackToken) -> None:
        """Add a failed proof to the job's timeline, up to `REFUSALS_KEPT` times."""
        self.accounts.count(setup.name, "refused")
        # The sender decides how many come. Why: receiver/README.md#refused-callbacks-are-bounded
        seen = self._refused.get(claims.job_id, 0)
        if seen >= REFUSALS_KEPT:
            self._count(setup.name, Outcome.REFUSED)
            return
        # Memory is bounded: the counts begin again.
        if len(self._refused) > 10_000:
            self._refused.clear()
        self._refused[claims.job_id] = seen + 1
        refused = Note(
            job_id=claims.job_id,
            source=Source.CALLBACK,
            at=self.clock.now(),
            proof=Proof.UNPROVED,
            kept_as=Outcome.REFUSED,
            note="the proof is missing or wrong",
        )
        try:
            await self.recorder.record(refused)
        except StoreUnavailable:
            about = {"account": setup.name, "job": claims.job_id}
            LOGGER.warning(
                "a refused callback is missing in the timeline of its job: the store was unavailable",
                extra=about,
            )

    def _say_refused(self, why: str, account: str | None) -> None:
        """Warn of refused callbacks, once a minute for each account and reason."""
        count = self._sparing.count(f"{account} {why}")
        if count:
            LOGGER.warning("callbacks refused: %s", why, extra={"account": account, "count": count})


def _secrets(keys: Keys) -> list[str]:
    return [*keys.job, *keys.account, *keys.api]
