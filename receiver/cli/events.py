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
    TYPE,
    Id,
    Real,
    Since,
    given,
    limit,
)
from receiver.cli.rows import LiveRows
from receiver.cli.stream import BACK, events_from, told_once
from receiver.domain.event_types import JOB_FINAL

LIVE = {"at": 24, "type": 22, "about": 37, "id": 52}
"""The columns of `events tail` and their widths."""


@click.group(cls=Group)
def events() -> None:
    """List, follow and show events.

    \b
    Example:
      ringback events list --type 'job.*' --after evt_...
    """


@events.command("list")
@click.option("--after", help="Go on behind this event, or where the last list ended.")
@TYPE
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


@events.command("tail")
@TYPE
@click.option("--since", "after", type=Since(), help="Begin in the past: 10m, 2h, 3d, a time, or start.")
@click.option("--job", type=Id(), help="Only events of this job, until it is final.")
@formed
def tail_events(job: str | None, **query: Any) -> None:
    """Print events as they come, until interrupted; the service may restart meanwhile.

    With --json, each event is one line.

    \b
    Example:
      ringback events tail --type 'job.*' --since 10m
    """
    if job is not None and given(**query):
        raise click.UsageError("--job tells all events of the job; leave out --type and --since")
    where = path("events", "stream") if job is None else path("jobs", job, "stream")
    rows = LiveRows(LIVE)
    for event in events_from(where, given(**query), told_once(BACK), until=JOB_FINAL if job else ()):
        data = event["data"]
        rows.add(event, [event["timestamp"], event["type"], str(data.get("id") or ""), event["id"]])


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
