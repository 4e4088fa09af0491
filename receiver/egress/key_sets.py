"""The public keys of senders (RFC 7517), fetched through the guarded client and kept for a day at most."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from handlers import json
from handlers.contract import Proof
from handlers.errors import BadPayload, BadSignature
from receiver.domain.errors import StoreUnavailable
from receiver.egress.client import CallFailed, HttpCall, HttpClient

LOGGER = logging.getLogger("ringback.keys")
LIFE = 86_400.0
"""Seconds for which keys are kept: fal asks for a day at most."""
AGAIN = 60.0
"""Seconds between two fetches for keys that are not known: forged signatures cause no more.

A fetch because of age does not count: a key that is new right after it is found at once.
"""
TIMEOUT = 5.0
"""Seconds for a fetch. A sender waits meanwhile."""
CAP = 256 * 1024
LISTED = 500
MOST = 50
"""Most bytes of a set, most keys that are looked at, and most that are kept."""


class KeysUnavailable(StoreUnavailable):
    """The error for keys that cannot be fetched: the sender is asked to come again."""


@dataclass
class _KeySet:
    """The keys of one URL. The times are monotonic, in seconds; `looked_at` is of newer keys."""

    keys: tuple[str, ...] = ()
    fetched_at: float = float("-inf")
    tried_at: float = float("-inf")
    looked_at: float = float("-inf")
    fails: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class KeySets:
    """The key sets of senders, by URL. Only settings and descriptions name one: their number is bounded."""

    def __init__(self, client: HttpClient, monotonic: Callable[[], float]) -> None:
        self._client = client
        self._monotonic = monotonic
        self._sets: dict[str, _KeySet] = {}

    async def keys(self, url: str, *, beside: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return the public keys of a URL.

        With `beside`, keys among which the right one is not, newer ones are fetched, once a minute at most.
        Raises `KeysUnavailable` when there are none, or when newer ones could not be fetched.
        """
        held = self._sets.setdefault(url, _KeySet())
        if not beside and not self._old(held):
            # Genuine messages wait for no fetch that a forged one caused.
            return held.keys
        async with held.lock:
            now = self._monotonic()
            newer = bool(beside) and held.keys == beside
            if newer and now - held.looked_at >= AGAIN:
                held.looked_at = now
                await self._fetch(url, held, now)
            elif self._old(held) and now - held.tried_at >= AGAIN:
                await self._fetch(url, held, now)
        # The signature of a key that could not be fetched is not known to be wrong.
        if self._old(held) or (held.fails and held.keys == beside):
            raise KeysUnavailable("the public keys of the sender could not be fetched")
        return held.keys

    async def proved(self, url: str, verify: Callable[[tuple[str, ...]], Proof]) -> Proof:
        """Return the verdict of `verify` under the keys of a URL, under newer ones where it refuses those.

        Raises `BadSignature` and `KeysUnavailable`.
        """
        keys = await self.keys(url)
        try:
            return verify(keys)
        except BadSignature:
            # The sender may have a new key.
            newer = await self.keys(url, beside=keys)
            if newer == keys:
                raise
        return verify(newer)

    def _old(self, held: _KeySet) -> bool:
        return self._monotonic() - held.fetched_at >= LIFE

    async def _fetch(self, url: str, held: _KeySet, now: float) -> None:
        held.tried_at, held.fails = now, True
        try:
            answer = await self._client.call(HttpCall(method="GET", url=url, timeout=TIMEOUT, cap=CAP + 1))
            if answer.status != 200 or len(answer.body) > CAP:
                raise BadPayload(f"it answered {answer.status} with {len(answer.body)} bytes")
            held.keys, held.fetched_at, held.fails = read_keys(answer.body), now, False
        except (CallFailed, BadPayload) as error:
            LOGGER.warning("the keys of %s could not be fetched: %s", url, error)


def read_keys(body: bytes) -> tuple[str, ...]:
    """Return the keys of a JSON Web Key Set, each as its text. Raises `BadPayload` without any."""
    from handlers import web_tokens  # noqa: PLC0415  # its library takes long, and few accounts have key sets

    try:
        found = json.as_object(json.forgive(body)).get("keys")
    except json.BadJson as error:
        raise BadPayload(f"it is no key set: {error}") from None
    listed = found[:LISTED] if isinstance(found, list) else []
    keys = [text for text in map(web_tokens.key_text, listed) if text is not None]
    if not keys:
        raise BadPayload("it has no key of Ed25519, RSA or P-256")
    return tuple(keys[:MOST])
