"""The command group `ringback keys`."""

from typing import Any

import click

from receiver.cli.client import call, path
from receiver.cli.groups import Group
from receiver.cli.output import (
    KEY,
    formed,
    show_list,
    show_one,
)
from receiver.cli.params import (
    SCOPES,
    Id,
    NearestChoice,
    cursor,
    given,
    limit,
)
from receiver.cli.terminal import say


@click.group(cls=Group)
def keys() -> None:
    """Create, list and revoke API keys.

    \b
    Example:
      ringback keys create ci --scope jobs:write --scope jobs:read
    """


@keys.command("create")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    metavar="SCOPE",
    multiple=True,
    required=True,
    type=NearestChoice(SCOPES),
    help=f"What it allows, repeatable: {', '.join(SCOPES)}.",
)
@click.option("--expires-at", help="When it ends, for example 2027-01-31T00:00:00Z.")
@formed
def create_key(name: str, scopes: tuple[str, ...], expires_at: str | None) -> None:
    """Create an API key and print it; it is not shown again.

    \b
    Example:
      ringback keys create ci --scope jobs:write --scope jobs:read
    """
    show_one(
        call("POST", "/v1/keys", body={"name": name, "scopes": list(scopes)} | given(expires_at=expires_at))
    )


@keys.command("list")
@cursor
@limit
@formed
def list_keys(**query: Any) -> None:
    """List API keys, newest first.

    \b
    Example:
      ringback keys list
    """
    show_list(call("GET", "/v1/keys", params=given(**query)), KEY)


@keys.command("delete")
@click.argument("id", type=Id())
def delete_key(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Revoke an API key.

    \b
    Example:
      ringback keys delete key_...
    """
    call("DELETE", path("keys", id))
    say(f"revoked {id}")
