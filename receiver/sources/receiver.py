"""The receiver of sources: challenge, proof, event. A 200 means that the event is stored."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from urllib.parse import parse_qsl

from handlers.contract import RECEIVED, HttpAnswer, HttpMessage, Keys, Update
from handlers.errors import BadPayload, BadSignature
from handlers.proofs import Verify
from handlers.values import immutable
from receiver.bodies.offload import OFFLOAD
from receiver.config.source_handlers import Read
from receiver.config.sources import SourceSettings
from receiver.domain.clock import Clock
from receiver.domain.errors import Misconfigured, UnknownCallback
from receiver.domain.model import Event
from receiver.egress.address_guard import BadUrl
from receiver.egress.key_sets import KeySets
from receiver.events.log_lines import Sparing
from receiver.events.recorder import Recorder
from receiver.security.ids import IdGenerator
from receiver.sources.challenges import by_body, by_query, signed_for_strangers
from receiver.sources.messages import SourceMessage, event_of, headers_of, sender_id_of
from receiver.sources.proofs import secrets_of, verifier_of
from receiver.store import source_messages
from receiver.store.statements import Transaction

LOGGER = logging.getLogger("ringback.sources")
READY = HttpAnswer(200, b'{"status":"ok"}')
PARAMETERS = 50
"""Most parameters of a URL that are read."""


@immutable
class _KnownSource:
    """A source of the settings, with its verifier, its secrets, and the reader of its handler."""

    settings: SourceSettings
    verify: Verify
    secrets: tuple[str, ...] = field(repr=False)
    read: Read | None


class SourceReceiver:
    """A receiver of the messages of sources."""

    def __init__(
        self,
        sources: Sequence[tuple[SourceSettings, Read | None]],
        recorder: Recorder,
        key_sets: KeySets,
        ids: IdGenerator,
        clock: Clock,
    ) -> None:
        self._known: Mapping[str, _KnownSource] = {
            one.name: _KnownSource(one, verifier_of(one), secrets_of(one), read) for one, read in sources
        }
        self._recorder = recorder
        self._key_sets = key_sets
        self._ids = ids
        self._clock = clock
        self._sparing = Sparing(clock.monotonic)

    def probe(self, name: str, query: bytes) -> HttpAnswer:
        """Return the answer to a GET of a challenge or of a check. Raises `UnknownCallback`."""
        known = self._find(name)
        return by_query(known.settings.challenge, _parameters(query)) or READY

    async def take(
        self, name: str, query: bytes, headers: Sequence[tuple[str, str]], body: bytes
    ) -> HttpAnswer:
        """Return the answer to a message once its event is durable.

        Raises `UnknownCallback` for an unknown source and for a failed proof alike.
        """
        known = self._find(name)
        # Signatures hold the system's time. Why: receiver/README.md#no-clock-step-ends-anything
        message = HttpMessage(200, tuple(headers), body, self._clock.outside())
        challenge = known.settings.challenge
        answer = by_query(challenge, _parameters(query)) or by_body(challenge, body)
        if signed_for_strangers(challenge, body):
            self._say_refused("its body is one that a challenge would have signed", name)
            raise UnknownCallback
        try:
            await self._verify(known, message)
        except BadSignature as error:
            # A challenge needs no proof; it makes no event then.
            if answer is not None:
                return answer
            self._say_refused(str(error), name)
            raise UnknownCallback from None
        await self._record(known, message)
        return answer or RECEIVED

    def _find(self, name: str) -> _KnownSource:
        known = self._known.get(name)
        if known is None:
            self._say_refused("there is no such source", None)
            raise UnknownCallback
        return known

    async def _verify(self, known: _KnownSource, message: HttpMessage) -> None:
        url = known.settings.proof.jwks_url
        if url is None:
            known.verify(message, Keys(account=known.secrets))
        else:
            await self._key_sets.proved(url, lambda keys: known.verify(message, Keys(account=keys)))

    async def _record(self, known: _KnownSource, message: HttpMessage) -> None:
        name, now = known.settings.name, self._clock.now()

        def read() -> tuple[Event, str | None]:
            sender_id = sender_id_of(known.settings, message)
            made = SourceMessage(
                id=self._ids.new("msg", now),
                source=name,
                sender_id=sender_id,
                at=now,
                headers=headers_of(known.settings, message),
                body=message.body,
                update=_read(known.read, message),
            )
            return event_of(made), sender_id

        event, sender_id = await OFFLOAD.read(len(message.body), read)

        def write() -> Transaction[Sequence[Event]]:
            if sender_id is not None and not (yield from source_messages.add(name, sender_id, now)):
                return []
            return [event]

        await self._recorder.write(write)

    def _say_refused(self, why: str, name: str | None) -> None:
        """Warn of refused messages, once a minute for each source and reason."""
        count = self._sparing.count(f"{name} {why}")
        if count:
            LOGGER.warning("messages of a source refused: %s", why, extra={"source": name, "count": count})


def check_sources(sources: Sequence[SourceSettings], check_url: Callable[[str], None]) -> None:
    """Raise `Misconfigured` for a key set at a URL that may not be called."""
    for source in sources:
        url = source.proof.jwks_url
        try:
            if url is not None:
                check_url(url)
        except BadUrl as error:
            raise Misconfigured(f"sources.{source.name}.proof.jwks_url", str(error)) from None


def _read(read: Read | None, message: HttpMessage) -> Update | None:
    try:
        return None if read is None else read(message)
    except BadPayload:
        return None


def _parameters(query: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=PARAMETERS))
    except ValueError:
        return {}
