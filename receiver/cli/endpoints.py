"""The command group `ringback endpoints`."""

from typing import Any

import click

from receiver.cli.client import call, path
from receiver.cli.groups import Group
from receiver.cli.output import ENDPOINT, formed, show_list, show_one
from receiver.cli.params import Id, Pattern, Whole, cursor, given, limit, pairs
from receiver.cli.terminal import say

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
IN_FLIGHT = click.option("--max-in-flight", type=Whole(1, 1000), help="Deliveries at once.")


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
    """Create an endpoint and print the secret that verifies its deliveries.

    Without --event it receives the four final types: job.succeeded, job.failed, job.canceled and job.expired.

    \b
    Example:
      ringback endpoints create https://app.example/hooks
      ringback endpoints create https://a.example/hooks --event 'job.*'
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
def update_endpoint(
    id: str,  # noqa: A002  # the argument is called ID
    include_result: bool | None,
    dropped: tuple[str, ...],
    **others: Any,
) -> None:
    """Update an endpoint; only the given fields change.

    --event replaces the list of events, --header adds or replaces one header.

    \b
    Example:
      ringback endpoints update ep_... --url https://new.example/hooks
      ringback endpoints update ep_... --event job.succeeded --event job.failed
    """
    # `given` drops empty values, but an empty description clears the note.
    note = others.pop("description")
    body = given(url=others["url"], events=list(others["events"]), max_in_flight=others["max_in_flight"])
    # The API removes a header whose value is null.
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
        why = f"it answered {attempt['status']}" if attempt["status"] else "it did not answer"
        raise click.ClickException(
            f"{why}; an endpoint takes an event with an answer of 200 to 299: "
            "correct its server or its url, and test it again"
        )


@endpoints.command("resume")
@click.argument("id", type=Id())
@formed
def resume_endpoint(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Resume a disabled endpoint, and send its pending deliveries.

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
