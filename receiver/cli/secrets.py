"""The command group `ringback secrets`."""

import asyncio
from pathlib import Path

import click

from receiver.cli.groups import Group
from receiver.cli.params import CONFIG
from receiver.config.key_files import MASTERS_FILE, add_master, read_masters
from receiver.config.load import Loaded, load
from receiver.config.startup import data_dir, master_keys_of
from receiver.domain.clock import Clock
from receiver.domain.errors import Misconfigured
from receiver.security.tokens import MasterKeys
from receiver.store import Store, existing, open_driver
from receiver.store.postgres.url import is_postgres, without_password
from receiver.store.reencryption import reseal
from receiver.store.replicas import without_key
from receiver.work.heartbeat import DEAD

SET = (
    "are set: put the new key last and restart every replica, put it first and restart every replica, "
    "then run `ringback secrets reencrypt`"
)
"""The steps to change keys that are set, for an error message."""
NAME_IT = "name the settings of the service with --config, or set RINGBACK_DATABASE_URL and RINGBACK_DATA_DIR"
"""The fix when the settings name no database or no key file."""


@click.group(cls=Group)
def secrets() -> None:
    """Manage master keys.

    \b
    Example:
      ringback secrets rotate --config /etc/ringback.toml
    """


@secrets.command()
@CONFIG
def rotate(config: Path | None) -> None:
    """Add a master key, encrypt stored secrets under it, and print when the old key may be removed.

    For a single process with its keys in `data_dir`; stop it first. The key file keeps its owner and mode, so
    the command may run as root. When `secret_keys` is set, follow the steps in deploy/README.md: new key
    last, restart every replica, new key first, restart every replica, `ringback secrets reencrypt`.

    \b
    Example:
      ringback secrets rotate --config /etc/ringback.toml
    """
    loaded = load(config)
    settings = loaded.settings
    if settings.secret_keys:
        raise Misconfigured("secret_keys", SET)
    asyncio.run(_rotate(loaded, _keys_file(loaded), Clock()))
    _say_when(loaded)


@secrets.command()
@CONFIG
def reencrypt(config: Path | None) -> None:
    """Encrypt stored secrets under the newest master key.

    Every replica must have that key already: restart all replicas with both keys first. The command fails
    while a replica without the key runs, because that replica could not sign for any endpoint.

    \b
    Example:
      ringback secrets reencrypt --config /etc/ringback.toml
    """
    loaded = load(config)
    if not loaded.settings.secret_keys:
        _keys_file(loaded)
    _name(loaded)
    count = asyncio.run(_with_store(loaded, master_keys_of(loaded.settings, Clock())))
    click.echo(f"encrypted {count} rows under the newest key")
    _say_when(loaded)


def _keys_file(loaded: Loaded) -> Path:
    """Return the file of the master keys.

    Raises `Misconfigured` with PostgreSQL, and when the database or the file does not exist.
    """
    settings = loaded.settings
    if is_postgres(settings.database_url):
        raise Misconfigured("secret_keys", "are required with PostgreSQL, the same for every replica")
    try:
        existing(settings.database_url)
    except Misconfigured as error:
        raise Misconfigured(error.setting, f"{error.problem}; {NAME_IT}") from None
    path = data_dir(settings) / MASTERS_FILE
    if not read_masters(path.parent):
        raise Misconfigured("data_dir", f"there are no master keys in {path}; {NAME_IT}")
    return path


def _name(loaded: Loaded) -> None:
    """Print the database that is about to be changed."""
    click.echo(f"database: {without_password(loaded.settings.database_url)}")


def _say_when(loaded: Loaded) -> None:
    # A job is open for 7 days at most, and its callback URL is made with the newest key at submission.
    days = max(loaded.settings.asset_link_days, 7)
    click.echo(
        f"keep the old key for {days:g} days: until then callbacks of open jobs and asset links may carry it"
    )


async def _rotate(loaded: Loaded, path: Path, clock: Clock) -> None:
    _name(loaded)
    store = Store(open_driver(loaded.settings.database_url, on_fatal=click.echo))
    await store.open(migrate=loaded.settings.migrate_on_start)
    try:
        # The file has the new key before any row needs it, so an interruption here loses no secret.
        master_keys = MasterKeys(add_master(path.parent, clock.entropy), clock.entropy)
        count = await _reencrypt(store, master_keys)
    finally:
        await store.close()
    click.echo(f"added master key {master_keys.newest} to {path} and encrypted {count} rows under it")
    click.echo("the old key stands behind it in the same file")


async def _with_store(loaded: Loaded, master_keys: MasterKeys) -> int:
    store = Store(open_driver(loaded.settings.database_url, on_fatal=click.echo))
    await store.open(migrate=loaded.settings.migrate_on_start)
    try:
        return await _reencrypt(store, master_keys)
    finally:
        await store.close()


async def _reencrypt(store: Store, master_keys: MasterKeys) -> int:
    """Encrypt all stored secrets under the newest key. Returns the number of rows.

    Raises `Misconfigured` while a running replica does not have that key.
    """
    # Heartbeats carry the database's time, hence the skew.
    since = Clock().now() + await store.skew() - DEAD
    late = await store.read(without_key(master_keys.newest, since))
    if store.shared and late:
        raise Misconfigured(
            "secret_keys",
            f"a running replica does not have the newest key ({master_keys.newest}) yet; first restart all "
            "replicas with both keys, then encrypt",
        )
    return await reseal(store, master_keys)
