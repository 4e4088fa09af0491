"""The command group `ringback deliveries`."""

from typing import Any

import click

from receiver.cli.client import call, path
from receiver.cli.groups import Group
from receiver.cli.output import (
    ATTEMPT,
    DELIVERY,
    DELIVERY_SHORT,
    formed,
    show_below,
    show_list,
    show_one,
)
from receiver.cli.params import (
    DELIVERY_STATES,
    Id,
    NearestChoice,
    cursor,
    given,
    limit,
)


@click.group(cls=Group)
def deliveries() -> None:
    """List, retry and cancel deliveries.

    \b
    Example:
      ringback deliveries list --state exhausted
    """


@deliveries.command("list")
@click.option("--endpoint", type=Id(), help="Only deliveries to this endpoint.")
@click.option(
    "--state",
    metavar="STATE",
    type=NearestChoice(DELIVERY_STATES),
    help=f"Only deliveries in this state: {', '.join(DELIVERY_STATES)}.",
)
@click.option("--event", type=Id(), help="Only deliveries of this event.")
@click.option("--job", type=Id(), help="Only deliveries about this job.")
@cursor
@limit
@formed
def list_deliveries(**query: Any) -> None:
    """List deliveries, newest first.

    \b
    Example:
      ringback deliveries list --state exhausted --endpoint ep_...
    """
    show_list(call("GET", "/v1/deliveries", params=given(**query)), DELIVERY, short=DELIVERY_SHORT)


@deliveries.command("show")
@click.argument("id", type=Id())
@formed
def show_delivery(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Show a delivery and its attempts.

    \b
    Example:
      ringback deliveries show dlv_...
    """
    delivery = call("GET", path("deliveries", id))
    show_one(delivery, without=("attempts",))
    show_below(delivery["attempts"], ATTEMPT)


@deliveries.command("retry")
@click.argument("id", type=Id())
@formed
def retry_delivery(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Retry a delivery now, in any state.

    \b
    Example:
      ringback deliveries retry dlv_...
    """
    show_one(call("POST", path("deliveries", id, "retry")))


@deliveries.command("cancel")
@click.argument("id", type=Id())
@formed
def cancel_delivery(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Cancel a pending delivery.

    \b
    Example:
      ringback deliveries cancel dlv_...
    """
    show_one(call("POST", path("deliveries", id, "cancel")))
