"""`ringback config`, `migrate` and `secrets`: commands that look at this machine's settings and database."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel, SecretStr
from rich.console import Console
from rich.table import Column, Table

from receiver.app import data_dir, masters_of
from receiver.cli.serve import CONFIG
from receiver.clock import Clock
from receiver.config import Loaded, load
from receiver.errors import Misconfigured
from receiver.keys import Masters
from receiver.replica import DEAD
from receiver.reseal import reseal
from receiver.secretkeys import MASTERS_FILE, add_master
from receiver.store import Store, database_path, existing, open_driver
from receiver.store.migrations import Migration, migrations
from receiver.store.move import move
from receiver.store.pgurl import is_postgres, target, without_password
from receiver.store.postgres import PostgresDriver
from receiver.store.replicas import without_key
from receiver.store.sqlite import SqliteDriver

MASK = "***"


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields if name != "options"}
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def effective(loaded: Loaded) -> list[tuple[str, Any, str]]:
    """Every setting: its name, its value with secrets masked, and where it came from."""
    found = []
    for name in type(loaded.settings).model_fields:
        value = _plain(getattr(loaded.settings, name))
        if name == "database_url":
            value = without_password(value)
        if name == "providers":
            for account, settings in value.items():
                options = loaded.settings.providers[account].options
                settings |= {key: _masked(key, inner) for key, inner in options.items()}
                for key, inner in settings.items():
                    place = f"providers.{account}.{key}"
                    found.append((place, inner, loaded.origins.get(place, "default")))
        else:
            found.append((name, value, loaded.origins.get(name, "default")))
    return found


def _masked(name: str, value: Any) -> Any:
    return MASK if "secret" in name or "key" in name else _plain(value)


@click.command()
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def config(config: Path | None, as_json: bool) -> None:
    """Print the effective settings and where each came from, secrets masked.

    \b
    Example:
      ringback config --config /etc/ringback.toml
    """
    found = effective(load(config))
    if as_json:
        told = {name: {"value": value, "from": origin} for name, value, origin in found}
        click.echo(json.dumps(told, indent=2))
        return
    shown = Table("setting", Column("value", overflow="fold"), Column("from", overflow="fold"))
    for name, value, origin in found:
        shown.add_row(name, json.dumps(value), origin)
    Console().print(shown)


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
      ringback migrate --from sqlite:///ringback.db --to postgresql://ringback@db/ringback
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
    if plan and not is_postgres(url) and not database_path(url).exists():
        return migrations("sqlite")
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
    click.echo("equal on both sides; set database_url, secret_keys and api_key, then start")


@click.group()
def secrets() -> None:
    """Look after the master keys.

    \b
    Example:
      ringback secrets rotate
    """


@secrets.command()
@CONFIG
def rotate(config: Path | None) -> None:
    """Add a master key, encrypt stored secrets anew, and say when the old one may go.

    The service must be stopped meanwhile; it takes up the new key when it starts.
    """
    loaded = load(config)
    settings, clock = loaded.settings, Clock()
    if settings.secret_keys:
        raise Misconfigured(
            "secret_keys",
            "are set; put a new one in front of them, restart all replicas, then run `ringback secrets "
            "reencrypt`",
        )
    asyncio.run(_rotate(loaded, clock))
    _say_when(loaded)
    click.echo(f"the old key lies behind the new one in {data_dir(settings) / MASTERS_FILE}")


@secrets.command()
@CONFIG
def reencrypt(config: Path | None) -> None:
    """Encrypt stored secrets under the newest master key, once every replica was restarted with it."""
    loaded = load(config)
    count = asyncio.run(_with_store(loaded, masters_of(loaded.settings, Clock())))
    click.echo(f"encrypted {count} rows under the newest key")
    _say_when(loaded)


def _say_when(loaded: Loaded) -> None:
    days = max(loaded.settings.asset_link_days, 7)
    click.echo(
        f"keep the old key for {days:g} days: until then callbacks of open jobs and asset links may carry it"
    )


async def _rotate(loaded: Loaded, clock: Clock) -> None:
    folder = data_dir(loaded.settings)
    store = Store(open_driver(loaded.settings.database_url, on_fatal=click.echo))
    await store.open(migrate=loaded.settings.migrate_on_start)
    try:
        masters = Masters(add_master(folder, clock.entropy), clock.entropy)
        count = await _reencrypt(store, masters)
    finally:
        await store.close()
    click.echo(f"added master key {masters.newest} and encrypted {count} rows under it")


async def _with_store(loaded: Loaded, masters: Masters) -> int:
    store = Store(open_driver(loaded.settings.database_url, on_fatal=click.echo))
    await store.open(migrate=loaded.settings.migrate_on_start)
    try:
        return await _reencrypt(store, masters)
    finally:
        await store.close()


async def _reencrypt(store: Store, masters: Masters) -> int:
    """Encrypt what is stored under the newest key, which every replica that runs must have."""
    since = Clock().now() + await store.skew() - DEAD
    late = await store.read(without_key(masters.newest, since))
    if store.shared and late:
        raise Misconfigured(
            "secret_keys",
            f"a running replica does not have the newest key ({masters.newest}) yet; first restart all "
            "replicas with both keys, then encrypt",
        )
    return await reseal(store, masters)
