"""The command group `ringback replays`."""

from typing import Any

import click

from receiver.cli.client import call, path
from receiver.cli.groups import Group
from receiver.cli.output import REPLAY, formed, show_list, show_one
from receiver.cli.params import Id, cursor, given, limit


@click.group(cls=Group)
def replays() -> None:
    """List, show and cancel replays; `ringback endpoints replay` starts one.

    \b
    Example:
      ringback replays list
    """


@replays.command("list")
@click.option("--endpoint", type=Id(), help="Only replays of this endpoint.")
@cursor
@limit
@formed
def list_replays(**query: Any) -> None:
    """List replays, newest first.

    \b
    Example:
      ringback replays list
      ringback replays list --endpoint ep_...
    """
    show_list(call("GET", "/v1/replays", params=given(**query)), REPLAY)


@replays.command("show")
@click.argument("id", type=Id())
@formed
def show_replay(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Show a replay and its progress.

    \b
    Example:
      ringback replays show rpl_...
    """
    show_one(call("GET", path("replays", id)))


@replays.command("cancel")
@click.argument("id", type=Id())
@formed
def cancel_replay(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Cancel a replay and its pending deliveries.

    \b
    Example:
      ringback replays cancel rpl_...
    """
    show_one(call("POST", path("replays", id, "cancel")))
