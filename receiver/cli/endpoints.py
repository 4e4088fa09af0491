"""The command group `ringback endpoints`."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from receiver.cli.client import call, path
from receiver.cli.groups import Group
from receiver.cli.output import ENDPOINT, formed, show_list, show_one
from receiver.cli.params import (
    FORMATS,
    START,
    Id,
    NearestChoice,
    Pattern,
    Real,
    Since,
    Whole,
    cursor,
    given,
    limit,
    numbers,
    pairs,
    read_input,
)
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
FILTER = click.option(
    "--filter",
    metavar="JSON",
    callback=read_input,
    help="Conditions on the event's data, as JSON, @file, or - for standard input.",
)
SIGNATURES = click.option(
    "--signature",
    "signatures",
    multiple=True,
    type=NearestChoice(("v1", "v1a")),
    help="How its deliveries are signed; repeatable.  [default: v1]",
)
SCHEDULE = click.option(
    "--retry-schedule",
    metavar="SECONDS,...",
    callback=numbers,
    help="Seconds between attempts, such as 5,60.",
)
TIMEOUT = click.option("--timeout", type=Real(1, 60), help="Seconds for one attempt.")
FORMAT = click.option("--format", type=NearestChoice(FORMATS), help="How its deliveries are written.")
TEMPLATE = click.option("--template", help="JSON with {/data/id} and the like, for --format template.")
RATE = click.option("--rate-limit", type=Real(0.001, 10000), help="Deliveries per second.")
HANDSHAKE = click.option(
    "--handshake", is_flag=True, help="Ask the receiver first, by OPTIONS as CloudEvents do."
)
RESETS = (
    "events",
    "max-in-flight",
    "signatures",
    "retry-schedule",
    "timeout",
    "rate-limit",
    "format",
    "template",
)
"""The fields that an update can give their default again."""
IN_FLIGHT = click.option("--max-in-flight", type=Whole(1, 1000), help="Deliveries at once.")


@click.group(cls=Group)
def endpoints() -> None:
    """Create, list, update, test, explain, pause, resume, rotate, replay and delete endpoints.

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
@FILTER
@SIGNATURES
@SCHEDULE
@TIMEOUT
@RATE
@FORMAT
@TEMPLATE
@HANDSHAKE
@click.option("--paused", is_flag=True, help="Its deliveries wait until it is resumed.")
@click.option("--secret", help="Signs its deliveries (whsec_...); made when missing.")
@click.option("--include-result", is_flag=True, help="Events carry the provider's terminal body.")
@formed
def create_endpoint(url: str, include_result: bool, paused: bool, **others: Any) -> None:
    """Create an endpoint and print the secret that verifies its deliveries.

    Without --event it receives the four final types: job.succeeded, job.failed, job.canceled and job.expired.

    \b
    Example:
      ringback endpoints create https://app.example/hooks
      ringback endpoints create https://a.example/hooks --event 'job.*'
    """
    others |= {"events": list(others["events"]), "signatures": list(others["signatures"])}
    others["state"] = "paused" if paused else None
    others["handshake"] = others["handshake"] or None
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
@FILTER
@click.option("--drop-filter", is_flag=True, help="It takes every event of its types again.")
@click.option(
    "--reset",
    "resets",
    multiple=True,
    type=NearestChoice(RESETS),
    help="The field's default again; repeatable.",
)
@HANDSHAKE
@SIGNATURES
@SCHEDULE
@TIMEOUT
@RATE
@FORMAT
@TEMPLATE
@click.option(
    "--include-result/--no-include-result", default=None, help="Events carry the provider's terminal body."
)
@formed
def update_endpoint(
    id: str,  # noqa: A002  # the argument is called ID
    include_result: bool | None,
    dropped: tuple[str, ...],
    drop_filter: bool,
    resets: tuple[str, ...],
    **others: Any,
) -> None:
    """Update an endpoint; only the given fields change.

    --event replaces the list of events, --header adds or replaces one header.

    \b
    Example:
      ringback endpoints update ep_... --url https://new.example/hooks
      ringback endpoints update ep_... --event job.succeeded --event job.failed
    """
    _consistent(others, dropped, resets, drop_filter=drop_filter)
    # `given` drops empty values, but an empty description clears the note.
    note = others.pop("description")
    others |= {"events": list(others["events"]), "signatures": list(others["signatures"])}
    # The API removes a header whose value is null.
    others["headers"] |= dict.fromkeys(dropped)
    others["handshake"] = others["handshake"] or None
    body = given(**others) | ({"filter": None} if drop_filter else {})
    body |= dict.fromkeys(name.replace("-", "_") for name in resets)
    body |= {} if note is None else {"description": note}
    body |= {} if include_result is None else {"include": ["result"] if include_result else []}
    if not body:
        raise click.UsageError("give what to update, for example --url or --event")
    show_one(call("PATCH", path("endpoints", id), body=body))


def _consistent(
    others: Mapping[str, Any], dropped: Sequence[str], resets: Sequence[str], *, drop_filter: bool
) -> None:
    """Raise `click.UsageError` for options that contradict each other, and for an empty URL."""
    if others["url"] == "":
        raise click.UsageError("--url must not be empty")
    if drop_filter and others["filter"] is not None:
        raise click.UsageError("choose one of --filter and --drop-filter")
    names = {name.lower() for name in others["headers"]}
    for name in dropped:
        if name.lower() in names:
            raise click.UsageError(f"choose one of --header and --drop-header for {name}")
    for name in resets:
        if others.get(name.replace("-", "_")) not in (None, (), [], {}):
            raise click.UsageError(f"--reset {name}: is given a value as well; choose one of the two")


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


@endpoints.command("pause")
@click.argument("id", type=Id())
@formed
def pause_endpoint(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Pause an endpoint; its deliveries wait until it is resumed.

    \b
    Example:
      ringback endpoints pause ep_...
    """
    show_one(call("POST", path("endpoints", id, "pause")))


@endpoints.command("rotate")
@click.argument("id", type=Id())
@click.option(
    "--overlap",
    "overlap_seconds",
    type=Whole(0, 604800),
    help="Seconds for which the present secret signs as well.  [default: 86400]",
)
@click.option("--secret", help="The new secret (whsec_...); made when missing.")
@formed
def rotate_endpoint(id: str, overlap_seconds: int | None, secret: str | None) -> None:  # noqa: A002  # ID
    """Give an endpoint a new secret and print it; the present one signs as well until the overlap ends.

    \b
    Example:
      ringback endpoints rotate ep_... --overlap 3600
    """
    body = given(secret=secret) | ({} if overlap_seconds is None else {"overlap_seconds": overlap_seconds})
    show_one(call("POST", path("endpoints", id, "rotate-secret"), body=body))


@endpoints.command("explain")
@click.argument("id", type=Id())
@click.argument("event", type=Id(), required=False)
@click.option("--type", "type_", type=Pattern(), help="An event type, with --data in place of an event's id.")
@click.option("--data", metavar="JSON", callback=read_input, help="An event's data: JSON, @file, or -.")
@formed
def explain_endpoint(id: str, event: str | None, type_: str | None, data: Any) -> None:  # noqa: A002  # ID
    """Explain whether an endpoint takes an event, and which clause of its filter decides it.

    \b
    Example:
      ringback endpoints explain ep_... evt_...
      ringback endpoints explain ep_... --type job.failed --data @data.json
    """
    if (event is None) is (type_ is None or data is None):
        raise click.UsageError("give an event's id, or --type and --data")
    body = given(event=event, type=type_) | ({} if data is None else {"data": data})
    show_one(call("POST", path("endpoints", id, "explain"), body=body))


@endpoints.command("replay")
@click.argument("id", type=Id())
@click.option("--since", type=Since(), help="From when: 10m, 2h, 3d, a time, or start.")
@click.option("--until", type=Since(), help="Before when.")
@EVENTS
@click.option(
    "--only",
    type=NearestChoice(("failed", "missing", "all")),
    help="Events without a delivery that succeeded, without any, or all.  [default: failed]",
)
@click.option("--dry-run", is_flag=True, help="Only count them.")
@formed
def replay_endpoint(id: str, dry_run: bool, **others: Any) -> None:  # noqa: A002  # the argument is called ID
    """Send old events to an endpoint again, a few at a time.

    \b
    Example:
      ringback endpoints replay ep_... --since 2026-11-20T00:00:00Z --dry-run
      ringback endpoints replay ep_... --only missing
    """
    moments = {name: others[name] for name in ("since", "until") if others[name] not in {None, START}}
    body = given(events=list(others["events"]), only=others["only"]) | moments
    body |= {"dry_run": True} if dry_run else {}
    show_one(call("POST", path("endpoints", id, "replay"), body=body))


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
