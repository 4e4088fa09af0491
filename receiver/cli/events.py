"""The command group `ringback events`."""

from typing import Any

import click

from receiver.cli.client import call, path
from receiver.cli.groups import Group
from receiver.cli.output import (
    EVENT,
    REASON,
    formed,
    show_below,
    show_list,
    show_one,
)
from receiver.cli.params import (
    Id,
    Pattern,
    Real,
    given,
    limit,
)


@click.group(cls=Group)
def events() -> None:
    """Read the event feed.

    \b
    Example:
      ringback events list --type 'job.*' --after evt_...
    """


@events.command("list")
@click.option("--after", help="Go on behind this event, or where the last list ended.")
@click.option("--type", "type", type=Pattern(), help="An event type, or a pattern such as job.*.")
@click.option("--job", type=Id(), help="Only events of this job.")
@click.option("--wait", type=Real(0, 60), help="Seconds to wait for the next one.")
@limit
@formed
def list_events(**query: Any) -> None:
    """List events, oldest first.

    \b
    Example:
      ringback events list --type job.succeeded --wait 30
    """
    show_list(call("GET", "/v1/events", params=given(**query)), EVENT, more="--after")


@events.command("show")
@click.argument("id", type=Id())
@formed
def show_event(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Show an event with its data and, for every endpoint, why it was sent there or not.

    \b
    Example:
      ringback events show evt_...
    """
    event = call("GET", path("events", id))
    show_one(event, without=("deliveries",))
    show_below(event["deliveries"], REASON)
