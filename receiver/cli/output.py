"""The output of commands: tables on a terminal, tab-separated lines in a pipe, `key: value`, JSON or ids."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import click
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from receiver.cli.terminal import plain, say, tell, wrapped

Columns = Sequence[str]
JOB: Columns = (
    "id",
    "state",
    "provider",
    "operation",
    "progress",
    "created_at",
    "completed_by",
    "waiting.reason",
    "error.code",
)
JOB_SHORT: Columns = (
    "id",
    "state",
    "why=error.code|waiting.reason",
    "provider",
    "operation",
    "progress",
    "created_at",
    "completed_by",
)
ENDPOINT: Columns = ("id", "state", "url", "events", "created_at", "disabled_reason")
EVENT: Columns = ("id", "type", "timestamp", "data.id")
DELIVERY: Columns = (
    "id",
    "state",
    "type",
    "endpoint",
    "url",
    "attempts_made",
    "last_status",
    "next_attempt_at",
    "reason",
)
REPLAY: Columns = (
    "id",
    "state",
    "endpoint",
    "only",
    "total",
    "made",
    "pending",
    "delivered",
    "failed",
    "canceled",
    "created_at",
)
DELIVERY_SHORT: Columns = (
    "id",
    "state",
    "status=last_status",
    "attempts=attempts_made",
    "type",
    "endpoint",
    "url",
    "next_attempt_at",
    "reason",
)
SOURCE: Columns = ("id", "url", "scheme", "event", "handler", "challenge")
KEY: Columns = ("id", "name", "scopes", "created_at", "expires_at")
ENTRY: Columns = (
    "at",
    "kind",
    "outcome",
    "to",
    "by",
    "state",
    "status",
    "type",
    "latency_ms",
    "count",
    "endpoint",
    "verdict",
    "error",
    "reason",
    "note",
)
ENTRY_SHORT: Columns = (
    "at",
    "kind",
    "outcome=outcome|to|type|state",
    "status",
    "by",
    "latency_ms",
    "count",
    "error",
    "reason",
    "note",
    "endpoint",
)
"""The columns for a terminal, which has less room. `header=a|b` shows the first field that is not empty."""
ATTEMPT: Columns = ("at", "status", "latency_ms", "error", "answer")
REASON: Columns = ("endpoint", "status", "delivery", "reason")
PROVIDER: Columns = (
    "id",
    "on",
    "blocked",
    "missed=health.callbacks_missed",
    "error_rate=health.error_rate",
    "handler",
    "default_operation",
    "operations",
    "blocked_reason",
)
TEXTS = frozenset({"error", "reason", "note", "answer", "finding", "blocked_reason", "operations"})
"""The columns that hold sentences. A sentence that does not fit in its row is printed below it."""
TEXT_WIDTH = 24
"""The least width of a column of long sentences, in characters."""
GAP = 2
"""Blanks between two columns."""
BELOW = "    "
"""The indent of a sentence below its row."""
SECRETS = ("secret", "callback_secret", "key")
"""Fields with secrets, which the API returns only once."""
COLOURS = {
    "unconfirmed": "yellow",
    "queued": "cyan",
    "running": "blue",
    "succeeded": "green",
    "delivered": "green",
    "active": "green",
    "failed": "red",
    "expired": "red",
    "exhausted": "red",
    "disabled": "red",
    "canceled": "magenta",
    "ok": "green",
    "warn": "yellow",
    "wrong": "red",
}
FORM = "ringback.form"
"""The key of the chosen form of output in the `meta` of click's context."""


def _form(context: click.Context, parameter: click.Parameter, chosen: bool) -> None:
    if not chosen:
        return
    if FORM in context.meta:
        raise click.UsageError("choose one of --json and --quiet")
    context.meta[FORM] = parameter.name


_JSON = click.option(
    "--json", "as_json", is_flag=True, expose_value=False, callback=_form, help="Print JSON."
)
_QUIET = click.option(
    "-q", "--quiet", is_flag=True, expose_value=False, callback=_form, help="Print only ids, one a line."
)


def formed(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options `--json` and `--quiet` to a command."""
    return _JSON(_QUIET(command))


def is_json() -> bool:
    """Return whether `--json` was given."""
    return click.get_current_context().meta.get(FORM) == "as_json"


def is_quiet() -> bool:
    """Return whether `--quiet` was given: only ids are printed."""
    return click.get_current_context().meta.get(FORM) == "quiet"


def print_json(value: Any) -> None:
    """Print JSON in ASCII, so that no control character reaches the terminal."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=True).replace("\x7f", "\\u007f"))


def show_list(
    page: Mapping[str, Any], columns: Columns, *, short: Columns = (), more: str = "--cursor"
) -> None:
    """Print a page of a list as a table, as JSON or as ids.

    `short` are the columns for a terminal; `more` is the option that takes the cursor of the next page.
    """
    if is_json():
        print_json(page)
        return
    if is_quiet():
        for row in page["data"]:
            say(_id_of(row))
    else:
        table(page["data"], columns, short)
    if page.get("next_cursor") and page.get("has_more", True):
        say(f"there are more: add {more} {page['next_cursor']}", err=True)


def show_one(item: Mapping[str, Any], *, without: Sequence[str] = ()) -> None:
    """Print one object as lines of `key: value`, as JSON or as its id.

    With `--quiet`, secrets that are returned only once are printed to standard error.
    """
    if is_json():
        print_json(item)
    elif is_quiet():
        say(_id_of(item))
        for name in SECRETS:
            if item.get(name):
                say(f"{name}: {item[name]}", err=True)
    else:
        for name, value in flat({name: item[name] for name in item if name not in {"object", *without}}):
            tell(f"{name}: {value}")


def _id_of(item: Mapping[str, Any]) -> str:
    """Return the id of an object. Raises `click.UsageError` for one that has none."""
    if item.get("id") is None:
        raise click.UsageError("--quiet prints ids, and what this command shows has none; use --json")
    return str(item["id"])


def flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield every value inside `value` with its dotted name; empty values at the top level only."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(inner, Mapping | list) for inner in value):
        for index, inner in enumerate(value):
            yield from flat(inner, f"{name}.{index}")
    elif (text := _text(value)) or "." not in name:
        yield name, text or "-"


def table(rows: Sequence[Mapping[str, Any]], columns: Columns, short: Columns = ()) -> None:
    """Print rows: tab-separated with a header line in a pipe, aligned on a terminal."""
    on_terminal = sys.stdout.isatty()
    chosen = [column.rpartition("=") for column in (short if short and on_terminal else columns)]
    names = [name or fields for name, _, fields in chosen]
    cells = [[plain(_cell(row, fields)) for _, _, fields in chosen] for row in rows]
    if on_terminal:
        if rows:
            _aligned(*_one_day(names, cells))
        else:
            say("(none)", err=True)
        return
    for line in (names, *cells):
        click.echo("\t".join(line))


def _one_day(names: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Move the date of a first column `at` into its header when all rows share the date."""
    days = {row[0][:10] for row in rows}
    if names[0] != "at" or len(days) != 1:
        return names, rows
    return [f"at {days.pop()}", *names[1:]], [[row[0][11:].rstrip("Z"), *row[1:]] for row in rows]


def _aligned(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns, each as wide as its content; a column that does not fit is left out.

    A sentence that is longer than its column is printed below its row. Cells are never cut or wrapped.
    """
    console = Console(highlight=False)
    filled = [at for at in range(len(names)) if at == 0 or any(row[at] for row in rows)]
    natural = {at: max(cell_len(text) for text in (names[at], *(row[at] for row in rows))) for at in filled}
    widths = fitted([(names[at], natural[at]) for at in filled], console.width)
    for row in (names, *rows):
        line, below = Text(style="bold" if row is names else ""), []
        for at in filled:
            name, text = names[at], row[at]
            if name in TEXTS and row is not names and text and cell_len(text) > widths.get(name, 0):
                below.append(f"{name}: {text}")
                text = ""
            if name in widths:
                coloured = row is not names and name not in TEXTS
                line.append(text, style=COLOURS.get(text, "") if coloured else "")
                line.append(" " * (widths[name] - cell_len(text) + GAP))
        line.rstrip()
        console.print(line, soft_wrap=True)
        for text in below:
            click.echo(wrapped(text, console.width, first=BELOW, rest=BELOW * 2))
    hidden = [names[at] for at in filled if names[at] not in widths and names[at] not in TEXTS]
    if hidden:
        tell(f"no room for: {', '.join(hidden)} (a wider window, a pipe or --json has all)", err=True)


def fitted(columns: Sequence[tuple[str, int]], width: int) -> dict[str, int]:
    """Return the widths of the columns that fit. Long sentences share the room that other columns leave.

    The first column always fits; the others get room in their order.
    """
    texts = {name: natural for name, natural in columns if name in TEXTS and natural > TEXT_WIDTH}
    used, widths = 0, {}
    for number, (name, natural) in enumerate(columns):
        if name not in texts and (number == 0 or used + natural <= width):
            widths[name] = natural
            used += natural + GAP
    # The shortest first, so that the room that one does not need goes to the longer ones.
    for count, name in enumerate(sorted(texts, key=lambda one: texts[one])):
        share = (width - used + GAP) // (len(texts) - count) - GAP
        if share >= TEXT_WIDTH:
            widths[name] = min(texts[name], share)
            used += widths[name] + GAP
    return widths


def _cell(row: Mapping[str, Any], column: str) -> str:
    """Return the text of the first of the fields `a|b` that is not empty."""
    for name in column.split("|"):
        value: Any = row
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if text := _text(value):
            return text
    return ""


def _text(value: Any) -> str:
    if value is None or value in ({}, []):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return ", ".join(_text(inner) for inner in value)
    if isinstance(value, Mapping):
        return json.dumps(value)
    return str(value)


def show_below(rows: list[dict[str, Any]], columns: Columns) -> None:
    """Print the rows that belong to the object just shown, unless `--json` or `--quiet` was given."""
    if not (is_json() or is_quiet()):
        click.echo("")
        table(rows, columns)
