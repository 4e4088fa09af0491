"""The command `ringback top`: jobs, providers, endpoints and rates, live at a terminal."""

import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from receiver.cli.client import Away, call
from receiver.cli.output import formed, is_json, is_quiet, print_json
from receiver.cli.params import Real
from receiver.cli.terminal import plain
from receiver.cli.waterfall import span

WINDOW = timedelta(minutes=5)
"""The time that rates cover."""
OPEN = ("pending", "queued", "running", "unconfirmed")
"""The states of open jobs that are shown."""
MOST = 30
"""The most rows of a table."""
Labels = tuple[str, ...]
Series = Mapping[Labels, float]


@click.command()
@click.option(
    "--every", type=Real(0.5, 60), default=2.0, show_default=True, help="Seconds between two looks."
)
@click.option("--once", is_flag=True, help="Show it once, and end.")
@formed
def top(every: float, once: bool) -> None:
    """Show jobs, providers, endpoints and rates, live. Ctrl-C ends it.

    \b
    Example:
      ringback top
      ringback top --once --json
    """
    if is_quiet():
        raise click.UsageError("--quiet prints ids, and `top` has none; --json prints its numbers")
    if is_json():
        print_json(_read())
        return
    console = Console(highlight=False)
    if once or not sys.stdout.isatty():
        console.print(_shown(_read(), ""))
        return
    with Live(console=console, auto_refresh=False, screen=True) as screen:
        known: dict[str, Any] = {}
        while True:
            trouble = ""
            try:
                known = _read()
            except Away as error:
                # The last numbers stay, with the reason why they are old.
                trouble = error.format_message()
                if not known:
                    raise
            screen.update(_shown(known, trouble), refresh=True)
            time.sleep(every)


def _read() -> dict[str, Any]:
    """Return the numbers: each a list of labels with a value."""
    since = (datetime.now(UTC) - WINDOW).isoformat()
    return {
        "object": "top",
        "open": _series("jobs_open", "account,state"),
        "ended": _series("jobs", "account,outcome", since),
        "events": _series("events", "", since),
        "callbacks": _series("callbacks", "", since),
        "polls": _series("polls", "", since),
        "missed": _series("callbacks_missed", "account", since),
        "owed": _series("deliveries_owed", "endpoint"),
        "oldest_due": _series("delivery_oldest_due_seconds", "endpoint"),
        "states": _series("endpoint_state", "endpoint,state"),
        "attempts": _series("delivery_attempts", "endpoint,class", since),
    }


def _series(metric: str, by: str, since: str | None = None) -> list[dict[str, Any]]:
    query = {"metric": metric, "by": by, **({"since": since} if since else {})}
    found = call("GET", "/v1/stats", params=query)["data"]
    return [{"labels": one["labels"], "value": one.get("value", one.get("count"))} for one in found]


def _by_labels(series: Iterable[Mapping[str, Any]]) -> Series:
    return {tuple(one["labels"].values()): one["value"] for one in series}


def _shown(told: Mapping[str, Any], trouble: str) -> Group:
    parts: list[Any] = [_rates(told), _accounts(told), _endpoints(told)]
    return Group(*([Text(plain(trouble), style="red")] if trouble else []), *parts)


def _rates(told: Mapping[str, Any]) -> Text:
    minutes = WINDOW.total_seconds() / 60
    sums = {
        name: sum(one["value"] for one in told[name]) for name in ("events", "callbacks", "polls", "attempts")
    }
    rates = ", ".join(f"{total / minutes:.1f} {name}" for name, total in sums.items())
    return Text(f"a minute, over the last {minutes:.0f}: {rates}\n")


def _accounts(told: Mapping[str, Any]) -> Table:
    open_, ended = _by_labels(told["open"]), _by_labels(told["ended"])
    missed = _by_labels(told["missed"])
    names = sorted({key[0] for key in (*open_, *ended)})
    rows = [
        [
            name,
            *(_count(open_.get((name, state), 0)) for state in OPEN),
            _count(ended.get((name, "succeeded"), 0)),
            _count(sum(ended.get((name, bad), 0) for bad in ("failed", "expired"))),
            _count(missed.get((name,), 0)),
        ]
        for name in names
    ]
    return _table("Accounts", ["account", *OPEN, "succeeded", "failed", "missed"], rows)


def _endpoints(told: Mapping[str, Any]) -> Table:
    owed, oldest = _by_labels(told["owed"]), _by_labels(told["oldest_due"])
    states = {key[0]: key[1] for key in _by_labels(told["states"])}
    attempts: dict[str, dict[str, float]] = defaultdict(dict)
    for (endpoint, kind), count in _by_labels(told["attempts"]).items():
        attempts[endpoint][kind] = count
    rows = [
        [
            name,
            states.get(name, ""),
            _count(count),
            span(oldest.get((name,), 0)) if oldest.get((name,)) else "",
            _count(attempts[name].get("2xx", 0)),
            _count(sum(value for kind, value in attempts[name].items() if kind != "2xx")),
        ]
        for (name,), count in owed.items()
    ]
    return _table("Endpoints", ["endpoint", "state", "owed", "oldest due", "delivered", "failed"], rows)


def _count(value: float) -> str:
    return f"{value:,.0f}" if value else ""


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(head):
        table.add_column(name, justify="left" if number == 0 or name == "state" else "right", no_wrap=True)
    for row in rows[:MOST]:
        table.add_row(*(Text(plain(cell)) for cell in row))
    if len(rows) > MOST:
        table.add_row(Text(f"and {len(rows) - MOST} more"))
    return table
