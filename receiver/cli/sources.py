"""The command group `ringback sources`."""

from typing import Any

import click

from receiver.cli.client import call
from receiver.cli.groups import Group
from receiver.cli.output import SOURCE, formed, show_list
from receiver.cli.params import cursor, given, limit


@click.group(cls=Group)
def sources() -> None:
    """List the senders of webhooks about jobs that were submitted elsewhere.

    \b
    Example:
      ringback sources list
    """


@sources.command("list")
@cursor
@limit
@formed
def list_sources(**query: Any) -> None:
    """List the sources of the settings, with the URL for each sender.

    \b
    Example:
      ringback sources list
    """
    show_list(call("GET", "/v1/sources", params=given(**query)), SOURCE)
