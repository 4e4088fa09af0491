"""`ringback endpoints`, `events`, `deliveries`, `keys` and `providers`."""

from typing import Any

import click

from receiver.cli.client import call, path
from receiver.cli.groups import Group
from receiver.cli.output import (
    ATTEMPT,
    DELIVERY,
    ENDPOINT,
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
from receiver.cli.params import DELIVERY_STATES, SCOPES, Id, Pattern, Word, cursor, given, limit, pairs
from receiver.cli.plain import say

EVENTS = click.option(
    "--event",
    "events",
    multiple=True,
    type=Pattern(),
    help="An event type, or a pattern such as job.*; repeatable.",
)
NOTE = click.option("--description", help="A note for people.")
HEADERS = click.option(
    "--header", "headers", multiple=True, callback=pairs, help="name=value, sent along; repeatable."
)
IN_FLIGHT = click.option("--max-in-flight", type=click.IntRange(1, 1000), help="Deliveries at once.")


@click.group(cls=Group)
def endpoints() -> None:
    """Create, list, update, test, resume and delete endpoints.

    \b
    Example:
      ringback endpoints create https://app.example/hooks --event 'job.*'
    """


@endpoints.command("create")
@click.argument("url")
@EVENTS
@NOTE
@HEADERS
@IN_FLIGHT
@click.option("--secret", help="Signs its deliveries (whsec_...); made when missing.")
@click.option("--include-result", is_flag=True, help="Events carry the provider's terminal body.")
@formed
def create_endpoint(url: str, include_result: bool, **others: Any) -> None:
    """Create an endpoint; prints the secret that verifies its deliveries.

    Without --event it gets the four final types: job.succeeded, job.failed, job.canceled and job.expired.

    \b
    Example:
      ringback endpoints create https://app.example/hooks
      ringback endpoints create https://a.example/hooks --event 'job.*' --header x-env=prod
    """
    others["events"] = list(others["events"])
    others["include"] = ["result"] if include_result else []
    show_one(call("POST", "/v1/endpoints", body={"url": url} | given(**others)))


@endpoints.command("list")
@cursor
@limit
@formed
def list_endpoints(**query: Any) -> None:
    """List endpoints, newest first.

    \b
    Example:
      ringback endpoints list
    """
    show_list(call("GET", "/v1/endpoints", params=given(**query)), ENDPOINT)


@endpoints.command("show")
@click.argument("id", type=Id())
@formed
def show_endpoint(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Show an endpoint.

    \b
    Example:
      ringback endpoints show ep_...
    """
    show_one(call("GET", path("endpoints", id)))


@endpoints.command("update")
@click.argument("id", type=Id())
@click.option("--url", help="Where its events go.")
@EVENTS
@NOTE
@HEADERS
@click.option(
    "--drop-header", "dropped", multiple=True, help="The name of a header to send no more; repeatable."
)
@IN_FLIGHT
@click.option(
    "--include-result/--no-include-result", default=None, help="Events carry the provider's terminal body."
)
@formed
def update_endpoint(id: str, include_result: bool | None, dropped: tuple[str, ...], **others: Any) -> None:  # noqa: A002  # the argument is called ID
    """Update an endpoint; only what is given changes.

    --event replaces the list of events, --header adds or replaces one header.

    \b
    Example:
      ringback endpoints update ep_... --url https://new.example/hooks
      ringback endpoints update ep_... --event job.succeeded --event job.failed
    """
    note = others.pop("description")
    body = given(url=others["url"], events=list(others["events"]), max_in_flight=others["max_in_flight"])
    body |= given(headers=others["headers"] | dict.fromkeys(dropped))
    body |= {} if note is None else {"description": note}
    body |= {} if include_result is None else {"include": ["result"] if include_result else []}
    if not body:
        raise click.UsageError("give what to update, for example --url or --event")
    show_one(call("PATCH", path("endpoints", id), body=body))


@endpoints.command("secret")
@click.argument("id", type=Id())
def show_secret(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Print the secret that verifies an endpoint's deliveries.

    \b
    Example:
      ringback endpoints secret ep_...
    """
    say(call("GET", path("endpoints", id, "secret"))["secret"])


@endpoints.command("test")
@click.argument("id", type=Id())
@formed
def test_endpoint(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Send `endpoint.test` now; exit code 1 unless it was answered with 2xx.

    \b
    Example:
      ringback endpoints test ep_...
    """
    attempt = call("POST", path("endpoints", id, "test"))
    show_one(attempt)
    if not 200 <= (attempt["status"] or 0) < 300:
        raise click.exceptions.Exit(1)


@endpoints.command("resume")
@click.argument("id", type=Id())
@formed
def resume_endpoint(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Resume a disabled endpoint, and deliver what it is owed.

    \b
    Example:
      ringback endpoints resume ep_...
    """
    show_one(call("POST", path("endpoints", id, "resume")))


@endpoints.command("delete")
@click.argument("id", type=Id())
def delete_endpoint(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Delete an endpoint; its pending deliveries are canceled.

    \b
    Example:
      ringback endpoints delete ep_...
    """
    call("DELETE", path("endpoints", id))
    say(f"removed {id}")


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
@click.option("--wait", type=click.FloatRange(0, 60), help="Seconds to wait for the next one.")
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
    """Print the rows that belong to what was shown."""
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
    type=Word(DELIVERY_STATES),
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
    show_list(call("GET", "/v1/deliveries", params=given(**query)), DELIVERY)


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
    type=Word(SCOPES),
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
