"""The command `ringback migrate`."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from receiver.cli.output import table
from receiver.cli.params import CONFIG
from receiver.config.load import Loaded, load
from receiver.domain.errors import Misconfigured
from receiver.store import database_path, existing, open_driver
from receiver.store.migrations import Migration
from receiver.store.postgres.driver import PostgresDriver
from receiver.store.postgres.url import is_postgres, target
from receiver.store.sqlite.check import waiting
from receiver.store.sqlite.driver import SqliteDriver
from receiver.store.transfer import move


@click.command()
@CONFIG
@click.option("--plan", is_flag=True, help="Only show what would run.")
@click.option("--from", "source", help="Move this SQLite database; nothing may serve it meanwhile.")
@click.option(
    "--to", "goal", help="Where to: an empty PostgreSQL database, or one whose move was interrupted."
)
def migrate(config: Path | None, plan: bool, source: str | None, goal: str | None) -> None:
    """Bring the database up to date, or move a deployment from SQLite to PostgreSQL.

    An interrupted move continues where it stopped when the command is run again. A move ends by comparing
    every row on both sides. The source keeps its data.

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
    # Opening a driver would lock the file; this way a plan also works while a service uses it.
    if plan and not is_postgres(url):
        return waiting(database_path(url))
    driver = open_driver(url, on_fatal=click.echo)
    await driver.open()
    try:
        return await driver.pending() if plan else await driver.migrate()
    finally:
        await driver.close()


@contextlib.contextmanager
def _named(option: str) -> Iterator[None]:
    """Name the option of a database in the mistakes of its URL."""
    try:
        yield
    except Misconfigured as error:
        raise type(error)(option, error.problem) from None


async def _move(source: str, goal: str) -> None:
    if is_postgres(source) or not is_postgres(goal):
        raise click.UsageError("a move goes from sqlite:///path to postgresql://user@host/database")
    with _named("--from"):
        ours = SqliteDriver(existing(source), on_fatal=click.echo)
        await ours.open()
    try:
        # Rows are copied as they are, so both sides need the same schema first.
        with _named("--from"):
            await ours.migrate()
        with _named("--to"):
            theirs = PostgresDriver(target(goal))
            await theirs.open()
        try:
            with _named("--to"):
                await theirs.migrate()
            moved = await move(ours, theirs, lambda table, count: click.echo(f"{table}: {count:,}"))
        finally:
            await theirs.close()
    finally:
        await ours.close()
    rows = [{"table": one.table, "rows": one.count, "checksum": one.checksum} for one in moved]
    table(rows, ("table", "rows", "checksum"))
    click.echo("equal on both sides; set database_url, secret_keys and admin_key, then start")
