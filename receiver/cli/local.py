"""`ringback migrate` and `secrets`: commands that look at this machine's settings and database."""

import asyncio
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from receiver.cli.groups import Group
from receiver.cli.params import CONFIG
from receiver.config.key_files import MASTERS_FILE, add_master, read_masters
from receiver.config.load import Loaded, load
from receiver.config.startup import data_dir, masters_of
from receiver.domain.clock import Clock
from receiver.domain.errors import Misconfigured
from receiver.security.tokens import MasterKeys
from receiver.store import Store, database_path, existing, open_driver
from receiver.store.migrations import Migration
from receiver.store.postgres.driver import PostgresDriver
from receiver.store.postgres.url import is_postgres, target, without_password
from receiver.store.reencryption import reseal
from receiver.store.replicas import without_key
from receiver.store.sqlite.check import waiting
from receiver.store.sqlite.driver import SqliteDriver
from receiver.store.transfer import move
from receiver.work.heartbeat import DEAD

SET = (
    "are set: put the new key last and restart every replica, put it first and restart every replica, "
    "then run `ringback secrets reencrypt`"
)
NAME_IT = "name the settings of the service with --config, or set RINGBACK_DATABASE_URL and RINGBACK_DATA_DIR"


@click.command()
@CONFIG
@click.option("--plan", is_flag=True, help="Only show what would run.")
@click.option("--from", "source", help="Move this SQLite database; nothing may serve it meanwhile.")
@click.option(
    "--to", "goal", help="Where to: an empty PostgreSQL database, or one whose move was interrupted."
)
def migrate(config: Path | None, plan: bool, source: str | None, goal: str | None) -> None:
    """Bring the database up to date, or move a deployment from SQLite to PostgreSQL.

    A move that was interrupted goes on where it stopped when it is started again, and ends with a comparison
    of every row on both sides. The source stays as it is.

    \b
    Example:
      ringback migrate --plan
      ringback migrate --from sqlite:///ringback.db --to postgresql://me@db/ringback
    """
    if source is not None or goal is not None:
        if plan or not (source and goal):
            raise click.UsageError("a move needs --from and --to, and no --plan")
        asyncio.run(_move(source, goal))
        return
    loaded = load(config)
    ran = asyncio.run(_migrate(loaded, plan=plan))
    for one in ran:
        click.echo(f"{'would run' if plan else 'ran'} {one.version:04d} {one.name}")
    if not ran:
        click.echo("the database is up to date")


async def _migrate(loaded: Loaded, *, plan: bool) -> list[Migration]:
    url = loaded.settings.database_url
    if plan and not is_postgres(url):
        return waiting(database_path(url))
    driver = open_driver(url, on_fatal=click.echo)
    await driver.open()
    try:
        return await driver.pending() if plan else await driver.migrate()
    finally:
        await driver.close()


async def _move(source: str, goal: str) -> None:
    if is_postgres(source) or not is_postgres(goal):
        raise click.UsageError("a move goes from sqlite:///path to postgresql://user@host/database")
    ours = SqliteDriver(existing(source), on_fatal=click.echo)
    theirs = PostgresDriver(target(goal))
    await ours.open()
    try:
        await ours.migrate()
        await theirs.open()
        try:
            await theirs.migrate()
            moved = await move(ours, theirs, lambda table, count: click.echo(f"{table}: {count:,}"))
        finally:
            await theirs.close()
    finally:
        await ours.close()
    shown = Table("table", "rows", "checksum")
    for one in moved:
        shown.add_row(one.table, f"{one.count:,}", one.checksum)
    Console().print(shown)
    click.echo("equal on both sides; set database_url, secret_keys and admin_key, then start")


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
    """Add a master key, encrypt stored secrets under it, and say when the old one may go.

    For one process whose keys lie in `data_dir`; stop it first. The key file keeps its owner and its mode, so
    this may run as root. Where `secret_keys` are set, deploy/README.md has the steps: new key last, restart
    every replica, new key first, restart every replica, `ringback secrets reencrypt`.

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

    Every replica must know that key before: restart all replicas with both keys first. While one runs that
    does not have it, this is refused: that replica could not sign for any endpoint.

    \b
    Example:
      ringback secrets reencrypt --config /etc/ringback.toml
    """
    loaded = load(config)
    if not loaded.settings.secret_keys:
        _keys_file(loaded)
    _name(loaded)
    count = asyncio.run(_with_store(loaded, masters_of(loaded.settings, Clock())))
    click.echo(f"encrypted {count} rows under the newest key")
    _say_when(loaded)


def _keys_file(loaded: Loaded) -> Path:
    """The file of the master keys, which must be there, beside the database, which must be there too."""
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
    """Say which database is about to be changed."""
    click.echo(f"database: {without_password(loaded.settings.database_url)}")


def _say_when(loaded: Loaded) -> None:
    days = max(loaded.settings.asset_link_days, 7)
    click.echo(
        f"keep the old key for {days:g} days: until then callbacks of open jobs and asset links may carry it"
    )


async def _rotate(loaded: Loaded, path: Path, clock: Clock) -> None:
    _name(loaded)
    store = Store(open_driver(loaded.settings.database_url, on_fatal=click.echo))
    await store.open(migrate=loaded.settings.migrate_on_start)
    try:
        masters = MasterKeys(add_master(path.parent, clock.entropy), clock.entropy)
        count = await _reencrypt(store, masters)
    finally:
        await store.close()
    click.echo(f"added master key {masters.newest} to {path} and encrypted {count} rows under it")
    click.echo("the old key stands behind it in the same file")


async def _with_store(loaded: Loaded, masters: MasterKeys) -> int:
    store = Store(open_driver(loaded.settings.database_url, on_fatal=click.echo))
    await store.open(migrate=loaded.settings.migrate_on_start)
    try:
        return await _reencrypt(store, masters)
    finally:
        await store.close()


async def _reencrypt(store: Store, masters: MasterKeys) -> int:
    """Encrypt all stored secrets under the newest key, which every replica that runs must have."""
    since = Clock().now() + await store.skew() - DEAD
    late = await store.read(without_key(masters.newest, since))
    if store.shared and late:
        raise Misconfigured(
            "secret_keys",
            f"a running replica does not have the newest key ({masters.newest}) yet; first restart all "
            "replicas with both keys, then encrypt",
        )
    return await reseal(store, masters)
