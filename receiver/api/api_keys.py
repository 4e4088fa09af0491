"""API keys, looked up by their hash and read again regularly, because other processes may change them."""

import hmac
import sys
from dataclasses import dataclass, field
from datetime import datetime

from handlers.values import immutable
from receiver.config.key_files import API_KEY_FILE, write_private
from receiver.config.settings import Settings
from receiver.config.startup import data_dir, require
from receiver.domain.clock import Clock
from receiver.domain.errors import no_such
from receiver.observability import LOGGER
from receiver.security.ids import IdGenerator
from receiver.security.tokens import hash_api_key, new_api_key
from receiver.store import Store
from receiver.store import api_keys as table
from receiver.store.api_keys import ApiKey
from receiver.store.statements import ms

BOOTSTRAP = "key_bootstrap"
"""The id of the admin key in the settings."""
OLD = 0.5
"""Seconds after which keys are read again, so that every process refuses a revoked key within a second."""


@immutable
class Caller:
    """The API key of a request, or the job token: `job_id` is then the only job that it may read."""

    id: str
    scopes: frozenset[str]
    job_id: str | None = None

    def may(self, scope: str) -> bool:
        """Return whether the key has the scope."""
        return scope in self.scopes or "admin" in self.scopes


@dataclass(slots=True)
class ApiKeyStore:
    """The stored API keys. `bootstrap` is the hash of the admin key in the settings, None without one.

    Its id is `bootstrap_id`: that of a stored key with the same text, whose idempotency keys stay its own.
    """

    store: Store
    clock: Clock
    ids: IdGenerator
    bootstrap: bytes | None = field(default=None, repr=False)
    bootstrap_id: str = BOOTSTRAP
    _keys: dict[bytes, ApiKey] = field(default_factory=dict, repr=False)
    # Before any reading of a monotonic clock, so the first request reads the keys.
    _read_at: float = -1e9
    _changes: int = 0

    async def find(self, key_hash: bytes) -> Caller | None:
        """Return the caller with this key hash. Returns None for an unknown or expired key."""
        if self.bootstrap is not None and hmac.compare_digest(self.bootstrap, key_hash):
            return Caller(self.bootstrap_id, frozenset({"admin"}))
        if self.clock.monotonic() - self._read_at > OLD:
            changes = self._changes
            self._keys = {key.hash: key for key in await self.all()}
            # A key that is created or revoked during the read may be missing from it.
            if changes == self._changes:
                self._read_at = self.clock.monotonic()
        key = self._keys.get(key_hash)
        if key is None or (key.expires_at is not None and key.expires_at <= ms(self.clock.now())):
            return None
        return Caller(key.id, frozenset(key.scopes))

    async def all(self) -> list[ApiKey]:
        """Return every key, newest first."""
        return await self.store.read(table.list_all())

    async def create(
        self, name: str, scopes: tuple[str, ...], expires_at: datetime | None
    ) -> tuple[ApiKey, str]:
        """Create a key. Returns the key and its text, of which only the hash is stored.

        Raises `Conflict` when the deployment already has the maximum number of keys.
        """
        text = new_api_key(self.clock.entropy(32))
        key = ApiKey(
            id=self.ids.new("key"),
            name=name,
            hash=hash_api_key(text),
            scopes=scopes,
            created_at=ms(self.clock.now()),
            expires_at=ms(expires_at) if expires_at else None,
        )
        await self.store.write(lambda: table.add(key))
        self.forget()
        return key, text

    async def delete(self, key_id: str) -> None:
        """Revoke a key. Raises `NotFound` for an unknown id."""
        if not await self.store.write(lambda: table.delete(key_id)):
            raise no_such("key")
        self.forget()

    def forget(self) -> None:
        """Invalidate the cached keys after a change. The next request reads them again."""
        self._read_at = -1e9
        self._changes += 1


async def open_api_keys(settings: Settings, store: Store, clock: Clock, ids: IdGenerator) -> ApiKeyStore:
    """Return the API keys of a deployment. Where there is none, create an admin key in `data_dir`.

    Raises `Misconfigured` when there is none on PostgreSQL: its replicas share one key, so none can make it.
    """
    if settings.admin_key is not None:
        bootstrap = hash_api_key(settings.admin_key.get_secret_value())
        stored = await ApiKeyStore(store, clock, ids).all()
        known = next((key.id for key in stored if key.hash == bootstrap), BOOTSTRAP)
        return ApiKeyStore(store, clock, ids, bootstrap, known)
    keys = ApiKeyStore(store, clock, ids)
    if not await keys.all():
        require(settings, "admin_key")
        text = new_api_key(clock.entropy(32))
        path = data_dir(settings) / API_KEY_FILE
        # The file comes before the row: a crash in between must not leave a valid key with its text lost.
        write_private(path, text + "\n")
        key = ApiKey(
            id=ids.new("key"),
            name="first",
            hash=hash_api_key(text),
            scopes=("admin",),
            created_at=ms(clock.now()),
            expires_at=None,
        )
        await store.write(lambda: table.add(key))
        LOGGER.info("made an admin API key; it lies in %s", path)
        # Only on a terminal: redirected output is a log, and logs hold no secrets.
        if sys.stderr.isatty():
            sys.stderr.write(f"API key: {text}\n")
    return keys
