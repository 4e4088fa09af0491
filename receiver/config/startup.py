"""The keys and the way out that a start makes of its settings, held against the database."""

import sys
from importlib.metadata import version
from pathlib import Path

from receiver.api.api_keys import ApiKeyStore
from receiver.config.key_files import API_KEY_FILE, add_master, read_masters, write_private
from receiver.config.settings import Settings
from receiver.domain.clock import Clock
from receiver.domain.errors import Misconfigured
from receiver.egress.address_guard import guard
from receiver.egress.client import HttpClient
from receiver.egress.logged_client import LoggedClient
from receiver.observability import LOGGER
from receiver.security.tokens import IdGenerator, MasterKeys, hash_api_key, new_api_key
from receiver.store import Store, database_path
from receiver.store import endpoints as table
from receiver.store.endpoints import ApiKey
from receiver.store.postgres.url import is_postgres
from receiver.store.statements import ms


def data_dir(settings: Settings) -> Path:
    """Where made keys lie: beside the database's file."""
    return settings.data_dir or database_path(settings.database_url).resolve().parent


def _need(settings: Settings, name: str) -> None:
    """Refuse to make for one process a thing that several must be given."""
    if is_postgres(settings.database_url):
        raise Misconfigured(name, "is required with PostgreSQL, the same for every replica")


def masters_of(settings: Settings, clock: Clock) -> MasterKeys:
    """The master keys: from the settings, or from `data_dir`, where one is made when there is none."""
    given = [key.get_secret_value() for key in settings.secret_keys]
    if not given:
        _need(settings, "secret_keys")
        folder = data_dir(settings)
        given = read_masters(folder) or add_master(folder, clock.entropy)
    return MasterKeys(given, clock.entropy)


def gateway_of(settings: Settings) -> HttpClient:
    """The way out that these settings allow."""
    try:
        return LoggedClient(
            guard(settings.egress_allow, http=settings.egress_http),
            ca_file=settings.egress_ca_file,
            agent=f"ringback/{version('ringback')}",
        )
    except OSError:
        raise Misconfigured("egress_ca_file", "cannot be read as certificates (PEM)") from None


async def check_kids(store: Store, masters: MasterKeys) -> None:
    """Raise `Misconfigured` where a stored secret needs a master key that is not configured."""
    missing = sorted(await store.read(table.kids()) - set(masters.kids))
    if missing:
        raise Misconfigured(
            "secret_keys", f"stored secrets need the master key {missing[0]}, which is not configured"
        )


async def keyring_of(settings: Settings, store: Store, clock: Clock, ids: IdGenerator) -> ApiKeyStore:
    """Return the API keys; the first admin key is made where there is none."""
    if settings.admin_key is not None:
        return ApiKeyStore(store, clock, hash_api_key(settings.admin_key.get_secret_value()))
    if not await store.read(table.keys()):
        _need(settings, "admin_key")
        text = new_api_key(clock.entropy(32))
        key = ApiKey(ids.new("key"), "first", hash_api_key(text), ("admin",), ms(clock.now()), None)
        path = data_dir(settings) / API_KEY_FILE
        write_private(path, text + "\n")
        await store.write(lambda: table.add_key(key))
        LOGGER.info("made an admin API key; it lies in %s", path)
        if sys.stderr.isatty():
            sys.stderr.write(f"API key: {text}\n")
    return ApiKeyStore(store, clock)
