"""The keys and the way out that a start makes of its settings, held against the database."""

from importlib.metadata import version
from pathlib import Path

from receiver.config.key_files import add_master, read_masters
from receiver.config.settings import Settings
from receiver.domain.clock import Clock
from receiver.domain.errors import Misconfigured
from receiver.egress.address_guard import guard
from receiver.egress.client import HttpClient
from receiver.egress.logged_client import LoggedClient
from receiver.security.tokens import MasterKeys
from receiver.store import Store, database_path, reencryption
from receiver.store.postgres.url import is_postgres


def data_dir(settings: Settings) -> Path:
    """Where made keys lie: beside the database's file."""
    return settings.data_dir or database_path(settings.database_url).resolve().parent


def require(settings: Settings, name: str) -> None:
    """Raise `Misconfigured` where this secret must be set: with PostgreSQL all replicas need the same one, so
    none of them can make it."""
    if is_postgres(settings.database_url):
        raise Misconfigured(name, "is required with PostgreSQL, the same for every replica")


def master_keys_of(settings: Settings, clock: Clock) -> MasterKeys:
    """The master keys: from the settings, or from `data_dir`, where one is made when there is none."""
    given = [key.get_secret_value() for key in settings.secret_keys]
    if not given:
        require(settings, "secret_keys")
        folder = data_dir(settings)
        given = read_masters(folder) or add_master(folder, clock.entropy)
    return MasterKeys(given, clock.entropy)


def client_of(settings: Settings) -> HttpClient:
    """The way out that these settings allow."""
    try:
        return LoggedClient(
            guard(settings.egress_allow, http=settings.egress_http),
            ca_file=settings.egress_ca_file,
            agent=f"ringback/{version('ringback')}",
        )
    except OSError:
        raise Misconfigured("egress_ca_file", "cannot be read as certificates (PEM)") from None


async def check_master_keys(store: Store, master_keys: MasterKeys) -> None:
    """Raise `Misconfigured` where a stored secret needs a master key that is not configured."""
    missing = sorted(await store.read(reencryption.kids()) - set(master_keys.kids))
    if missing:
        raise Misconfigured(
            "secret_keys", f"stored secrets need the master key {missing[0]}, which is not configured"
        )
