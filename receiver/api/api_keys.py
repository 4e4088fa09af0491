"""API keys: found by their hash, read again when another process may have changed them."""

import hmac
from dataclasses import dataclass, field

from handlers.values import immutable
from receiver.domain.clock import Clock
from receiver.store import Store
from receiver.store import endpoints as table
from receiver.store.endpoints import ApiKey
from receiver.store.statements import ms

OLD = 0.5
"""Seconds after which keys are read again, so that a revoked one dies everywhere within a second."""


@immutable
class Caller:
    """Whose key it is."""

    id: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """Whether the key has the scope."""
        return scope in self.scopes or "admin" in self.scopes


@dataclass(slots=True)
class ApiKeyStore:
    """Knows whose key has a hash. `bootstrap` is the hash of the key in the settings."""

    store: Store
    clock: Clock
    bootstrap: bytes | None = field(default=None, repr=False)
    _keys: dict[bytes, ApiKey] = field(default_factory=dict, repr=False)
    _read_at: float = -1e9

    async def find(self, key_hash: bytes) -> Caller | None:
        """Whose key it is, while it is valid."""
        if self.bootstrap is not None and hmac.compare_digest(self.bootstrap, key_hash):
            return Caller("key_bootstrap", frozenset({"admin"}))
        if self.clock.monotonic() - self._read_at > OLD:
            self._keys = {key.hash: key for key in await self.store.read(table.keys())}
            self._read_at = self.clock.monotonic()
        key = self._keys.get(key_hash)
        if key is None or (key.expires_at is not None and key.expires_at <= ms(self.clock.now())):
            return None
        return Caller(key.id, frozenset(key.scopes))

    def forget(self) -> None:
        """Keys were changed."""
        self._read_at = -1e9
