"""`ringback endpoints`, `events`, `deliveries` and `keys`."""

from typing import Any

import click

from receiver.cli.client import (
    ATTEMPT,
    DELIVERY,
    ENDPOINT,
    EVENT,
    KEY,
    as_json,
    call,
    given,
    limit,
    pairs,
    show,
)


@click.group()
def endpoints() -> None:
    """Make, list, change, test and remove endpoints.

    \b
    Example:
      ringback endpoints create https://app.example/hooks --event 'job.*'
    """


@endpoints.command("create")
@click.argument("url")
@click.option("--event", "events", multiple=True, help="An event type or pattern; may be repeated.")
@click.option("--description", help="A note for people.")
@click.option("--header", "headers", multiple=True, callback=pairs, help="name=value, sent along.")
@click.option("--include-result", is_flag=True, help="Events carry the provider's terminal body.")
@as_json
def create_endpoint(url: str, include_result: bool, as_json: bool, **others: Any) -> None:
    """Make an endpoint; prints the secret that verifies its deliveries."""
    others["events"] = list(others["events"])
    others["include"] = ["result"] if include_result else []
    made = call("POST", "/v1/endpoints", json={"url": url} | given(**others))
    show(made, ENDPOINT, plain=as_json)
    if not as_json:
        click.echo(f"secret: {made['secret']}")


@endpoints.command("list")
@click.option("--cursor", help="Where the last list ended.")
@limit
@as_json
def list_endpoints(as_json: bool, **query: Any) -> None:
    """List endpoints, newest first."""
    show(call("GET", "/v1/endpoints", params=given(**query)), ENDPOINT, plain=as_json)


@endpoints.command("show")
@click.argument("id")
@as_json
def show_endpoint(id: str, as_json: bool) -> None:  # noqa: A002  # the argument is called ID
    """Show an endpoint."""
    show(call("GET", f"/v1/endpoints/{id}"), (*ENDPOINT, "disabled_reason"), plain=as_json)


@endpoints.command("secret")
@click.argument("id")
def show_secret(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Print the secret that verifies an endpoint's deliveries."""
    click.echo(call("GET", f"/v1/endpoints/{id}/secret")["secret"])


@endpoints.command("test")
@click.argument("id")
@as_json
def test_endpoint(id: str, as_json: bool) -> None:  # noqa: A002  # the argument is called ID
    """Send `endpoint.test` now; exit code 1 when it was not taken."""
    attempt = call("POST", f"/v1/endpoints/{id}/test")
    show(attempt, ATTEMPT, plain=as_json)
    if not 200 <= (attempt["status"] or 0) < 300:
        raise click.exceptions.Exit(1)


@endpoints.command("resume")
@click.argument("id")
@as_json
def resume_endpoint(id: str, as_json: bool) -> None:  # noqa: A002  # the argument is called ID
    """Serve a disabled endpoint again, with all that it collected."""
    show(call("POST", f"/v1/endpoints/{id}/resume"), ENDPOINT, plain=as_json)


@endpoints.command("delete")
@click.argument("id")
def delete_endpoint(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Remove an endpoint; what it is owed is canceled."""
    call("DELETE", f"/v1/endpoints/{id}")
    click.echo(f"removed {id}")


@click.group()
def events() -> None:
    """Read the event feed.

    \b
    Example:
      ringback events list --type 'job.*' --after evt_...
    """


@events.command("list")
@click.option("--after", help="An event's id, or where the last list ended.")
@click.option("--type", "type", help="An event type or pattern.")
@click.option("--job", help="Only events of this job.")
@click.option("--wait", type=click.FloatRange(0, 60), help="Seconds to wait for the next one.")
@limit
@as_json
def list_events(as_json: bool, **query: Any) -> None:
    """List events, oldest first."""
    show(call("GET", "/v1/events", params=given(**query)), EVENT, plain=as_json)


@events.command("show")
@click.argument("id")
@as_json
def show_event(id: str, as_json: bool) -> None:  # noqa: A002  # the argument is called ID
    """Show an event and, for every endpoint, why it went or did not."""
    event = call("GET", f"/v1/events/{id}")
    show(event, EVENT, plain=as_json)
    if not as_json:
        show({"data": event["deliveries"]}, ("endpoint", "status", "delivery"), plain=False)


@click.group()
def deliveries() -> None:
    """List, retry and cancel deliveries.

    \b
    Example:
      ringback deliveries list --state exhausted
    """


@deliveries.command("list")
@click.option("--endpoint", help="Only deliveries to this endpoint.")
@click.option("--state", help="pending, delivered, exhausted or canceled.")
@click.option("--event", help="Only deliveries of this event.")
@click.option("--job", help="Only deliveries about this job.")
@click.option("--cursor", help="Where the last list ended.")
@limit
@as_json
def list_deliveries(as_json: bool, **query: Any) -> None:
    """List deliveries, newest first."""
    show(call("GET", "/v1/deliveries", params=given(**query)), DELIVERY, plain=as_json)


@deliveries.command("show")
@click.argument("id")
@as_json
def show_delivery(id: str, as_json: bool) -> None:  # noqa: A002  # the argument is called ID
    """Show a delivery and its attempts."""
    delivery = call("GET", f"/v1/deliveries/{id}")
    show(delivery, DELIVERY, plain=as_json)
    if not as_json:
        show({"data": delivery["attempts"]}, ATTEMPT, plain=False)


@deliveries.command("retry")
@click.argument("id")
@as_json
def retry_delivery(id: str, as_json: bool) -> None:  # noqa: A002  # the argument is called ID
    """Deliver it again now, whatever its state."""
    show(call("POST", f"/v1/deliveries/{id}/retry"), DELIVERY, plain=as_json)


@deliveries.command("cancel")
@click.argument("id")
@as_json
def cancel_delivery(id: str, as_json: bool) -> None:  # noqa: A002  # the argument is called ID
    """Try it no more."""
    show(call("POST", f"/v1/deliveries/{id}/cancel"), DELIVERY, plain=as_json)


@click.group()
def keys() -> None:
    """Make, list and revoke API keys.

    \b
    Example:
      ringback keys create ci --scope jobs:write --scope jobs:read
    """


@keys.command("create")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, help="May be repeated.")
@click.option("--expires-at", help="RFC 3339.")
@as_json
def create_key(name: str, scopes: tuple[str, ...], expires_at: str | None, as_json: bool) -> None:
    """Make an API key; it is printed here only."""
    made = call(
        "POST", "/v1/keys", json={"name": name, "scopes": list(scopes)} | given(expires_at=expires_at)
    )
    show(made, KEY, plain=as_json)
    if not as_json:
        click.echo(f"key: {made['key']}")


@keys.command("list")
@click.option("--cursor", help="Where the last list ended.")
@limit
@as_json
def list_keys(as_json: bool, **query: Any) -> None:
    """List API keys, newest first."""
    show(call("GET", "/v1/keys", params=given(**query)), KEY, plain=as_json)


@keys.command("delete")
@click.argument("id")
def delete_key(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Revoke an API key."""
    call("DELETE", f"/v1/keys/{id}")
    click.echo(f"revoked {id}")
