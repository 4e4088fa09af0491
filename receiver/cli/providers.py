"""The command `ringback providers`: accounts of a service, and the providers that this release knows."""

from typing import Any

import click

from receiver.cli.client import call
from receiver.cli.describing import check, new
from receiver.cli.groups import Group
from receiver.cli.knowledge import show
from receiver.cli.output import PROVIDER, formed, is_json, show_list
from receiver.cli.params import cursor, given, limit
from receiver.cli.trying import attempt


@click.group(cls=Group, invoke_without_command=True)
@cursor
@limit
@formed
@click.pass_context
def providers(context: click.Context, /, **query: Any) -> None:
    """List accounts, with their state and health; show, describe and try providers.

    \b
    Example:
      ringback providers
      ringback providers show fal
      ringback providers new acme
    """
    if context.invoked_subcommand is None:
        _list(query)


@providers.command("list")
@cursor
@limit
@formed
def list_accounts(**query: Any) -> None:
    """List accounts: on or blocked, health of the last hour, operations.

    \b
    Example:
      ringback providers list --json
    """
    _list(query)


def _list(query: dict[str, Any]) -> None:
    page = call("GET", "/v1/providers", params=given(**query))
    if not is_json():
        page["data"] = [
            one | {"operations": [operation["name"] for operation in one["operations"]]}
            for one in page["data"]
        ]
    show_list(page, PROVIDER)


for command in (show, new, check, attempt):
    providers.add_command(command)
