"""The master keys and the HTTP client that a start makes from its settings, and a check of the keys."""

from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path

from receiver.config.key_files import MASTERS_FILE, add_master, read_masters
from receiver.config.settings import Settings
from receiver.domain.clock import Clock
from receiver.domain.errors import Misconfigured
from receiver.egress.address_guard import guard
from receiver.egress.client import Called, HttpClient
from receiver.egress.logged_client import LoggedClient
from receiver.egress.proxy import proxy_of
from receiver.security.tokens import MasterKeys
from receiver.store import Store, database_path, reencryption
from receiver.store.postgres.url import is_postgres


def data_dir(settings: Settings) -> Path:
    """Return the folder of generated keys: `data_dir`, by default the folder of the database file."""
    return settings.data_dir or database_path(settings.database_url).resolve().parent


def require(settings: Settings, name: str) -> None:
    """Raise `Misconfigured` with PostgreSQL, where a secret must be set.

    All replicas need the same one, so none of them can generate it.
    """
    if is_postgres(settings.database_url):
        raise Misconfigured(name, "is required with PostgreSQL, the same for every replica")


def master_keys_of(settings: Settings, clock: Clock, needed: Collection[str] = frozenset()) -> MasterKeys:
    """Return the master keys of the settings, or those in `data_dir`, where one is made if none exists.

    Raises `Misconfigured` where there is none and the database needs those with the ids `needed`.
    """
    given = [key.get_secret_value() for key in settings.secret_keys]
    if not given:
        require(settings, "secret_keys")
        folder = data_dir(settings)
        given = read_masters(folder)
        if not given and needed:
            missing = f"{folder / MASTERS_FILE} is missing, and the database needs its key {min(needed)}"
            raise Misconfigured("data_dir", f"{missing}; put the file back from your backup")
        given = given or add_master(folder, clock.entropy)
    return MasterKeys(given, clock.entropy)


def client_of(settings: Settings, called: Called | None = None) -> HttpClient:
    """Return the HTTP client for these settings; `called` hears of each call.

    Raises `Misconfigured` for a bad `egress_ca_file`.
    """
    try:
        return LoggedClient(
            guard(settings.egress_allow, http=settings.egress_http, hosts=settings.egress_allow_hosts),
            ca_file=settings.egress_ca_file,
            agent=f"ringback/{version('ringback')}",
            called=called,
            proxy=proxy_of(settings.egress_proxy.get_secret_value()) if settings.egress_proxy else None,
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
