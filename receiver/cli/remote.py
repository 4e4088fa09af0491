"""`ringback events`, `deliveries`, `keys` and `providers`."""

from typing import Any

import click

from receiver.cli.client import call, path
from receiver.cli.groups import Group
from receiver.cli.output import (
    ATTEMPT,
    DELIVERY,
    DELIVERY_SHORT,
    EVENT,
    KEY,
    PROVIDER,
    REASON,
    Columns,
    formed,
    is_json,
    is_quiet,
    show_list,
    show_one,
    table,
)
from receiver.cli.params import (
    DELIVERY_STATES,
    SCOPES,
    Id,
    NearestChoice,
    Pattern,
    Real,
    cursor,
    given,
    limit,
)
from receiver.cli.terminal import say


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
    """Show an event with its data and, for every endpoint, why it went or did not.

    \b
    Example:
      ringback events show evt_...
    """
    event = call("GET", path("events", id))
    show_one(event, without=("deliveries",))
    _below(event["deliveries"], REASON)


def _below(rows: list[dict[str, Any]], columns: Columns) -> None:
    """Print the rows that belong to the thing just shown."""
    if not (is_json() or is_quiet()):
        click.echo("")
        table(rows, columns)


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
    _below(delivery["attempts"], ATTEMPT)


@deliveries.command("retry")
@click.argument("id", type=Id())
@formed
def retry_delivery(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Retry a delivery now, whatever its state.

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
    """Create an API key; it is printed here only.

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


@click.command()
@cursor
@limit
@formed
def providers(**query: Any) -> None:
    """List accounts: whether each is on or blocked, and its operations.

    \b
    Example:
      ringback providers
      ringback providers --json
    """
    told = call("GET", "/v1/providers", params=given(**query))
    if not is_json():
        told["data"] = [
            one | {"operations": [operation["name"] for operation in one["operations"]]}
            for one in told["data"]
        ]
    show_list(told, PROVIDER)
