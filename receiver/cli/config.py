"""The command `ringback config`: prints the effective settings and checks that a start would accept them."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel, SecretStr

from receiver.cli.output import print_json
from receiver.cli.own_service import say_whose_settings
from receiver.cli.params import CONFIG
from receiver.cli.terminal import tell
from receiver.config.load import AccountSetup, Loaded, load
from receiver.config.settings import Settings
from receiver.config.startup import client_of, data_dir
from receiver.domain.errors import Misconfigured
from receiver.store import database_path
from receiver.store.postgres.url import is_postgres, target, without_password

MASK = "***"
"""The text that is printed in place of a secret."""


@click.command()
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def config(config: Path | None, as_json: bool) -> None:
    """Print the effective settings, one per line, with the origin of each and with secrets masked.

    Fails when `ringback serve` would not start with these settings.

    \b
    Example:
      ringback config --config /etc/ringback.toml
      ringback config | grep providers.apiframe
    """
    loaded = load(config)
    check(loaded.settings)
    found = effective(loaded)
    say_whose_settings()
    if as_json:
        print_json({name: {"value": value, "from": origin} for name, value, origin in found})
        return
    for name, value, origin in found:
        tell(f"{name} = {json.dumps(value, ensure_ascii=False)}", note=f"# {origin}")


def check(settings: Settings) -> None:
    """Raise `Misconfigured` for settings that a start would refuse. Opens no database and creates no file."""
    if is_postgres(settings.database_url):
        target(settings.database_url)
        for name in ("secret_keys", "admin_key"):
            if not getattr(settings, name):
                raise Misconfigured(name, "is required with PostgreSQL, the same for every replica")
    else:
        folder = database_path(settings.database_url).parent
        if not folder.is_dir():
            raise Misconfigured("database_url", f"the folder {folder} does not exist; make it")
    # Creating the HTTP client reads `egress_ca_file` and fails as a start would.
    asyncio.run(_close(settings))


async def _close(settings: Settings) -> None:
    await client_of(settings).close()


def effective(loaded: Loaded) -> list[tuple[str, Any, str]]:
    """Return every setting: its name, its value with secrets masked, and its origin."""
    settings = loaded.settings
    found = []
    for name in type(settings).model_fields:
        if name == "providers":
            for setup in loaded.accounts.values():
                for key, inner in _account(setup).items():
                    place = f"providers.{setup.name}.{key}"
                    found.append((place, inner, loaded.origins.get(place, "default")))
        else:
            value = _in_effect(settings, name)
            found.append((name, value, loaded.origins.get(name, "default")))
    return found


def _in_effect(settings: Settings, name: str) -> Any:
    """Return the effective value of a setting; some defaults depend on the database or the terminal."""
    if name == "database_url":
        return without_password(settings.database_url)
    if name == "data_dir" and not is_postgres(settings.database_url):
        return str(data_dir(settings))
    if name == "log_format":
        return settings.log_format or ("text" if sys.stderr.isatty() else "json")
    return _plain(getattr(settings, name))


def _account(setup: AccountSetup) -> dict[str, Any]:
    settings, cadence = setup.settings, setup.handler.cadence
    # `options` is left out here: the file has a handler's options beside the account's own keys, and so does
    # the output.
    values = {
        name: _plain(getattr(settings, name)) for name in type(settings).model_fields if name != "options"
    }
    values |= {"handler": setup.handler.name, "base_url": setup.base_url or None}
    if settings.poll_interval is None:
        values["poll_interval"] = cadence.interval.total_seconds()
    if settings.backstop_after is None:
        values["backstop_after"] = cadence.backstop.total_seconds()
    return values | {key: _masked(key, inner) for key, inner in settings.options.items()}


def _masked(name: str, value: Any) -> Any:
    return MASK if "secret" in name or "key" in name else _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, BaseModel):
        fields = type(value).model_fields.items()
        return {
            field.alias or name: _plain(getattr(value, name)) for name, field in fields if name != "options"
        }
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value
