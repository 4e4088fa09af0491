"""How the commands talk to a service, and how they show what it says."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import click
import httpx
from rich.console import Console
from rich.table import Table

DEFAULT_URL = "http://127.0.0.1:8080"
Columns = Sequence[str]
JOB: Columns = ("id", "provider", "operation", "state", "progress", "completed_by", "created_at")
ENDPOINT: Columns = ("id", "url", "events", "state", "created_at")
EVENT: Columns = ("id", "type", "timestamp", "data.id")
DELIVERY: Columns = ("id", "type", "endpoint", "state", "attempts_made", "next_attempt_at")
KEY: Columns = ("id", "name", "scopes", "created_at", "expires_at")
ENTRY: Columns = ("at", "kind", "outcome", "to", "type", "status", "note")
ATTEMPT: Columns = ("at", "status", "latency_ms", "error")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
limit = click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many.")


def call(method: str, path: str, **request: Any) -> Any:
    """What the service answers, or a failure in one line."""
    url = os.environ.get("RINGBACK_URL", DEFAULT_URL)
    key = os.environ.get("RINGBACK_API_KEY", "")
    if not key.isascii() or not key:
        raise click.UsageError("set RINGBACK_API_KEY to a key of the service at RINGBACK_URL")
    try:
        with httpx.Client(base_url=url, timeout=90, trust_env=False) as client:
            headers = {"authorization": f"Bearer {key}", **request.pop("headers", {})}
            answer = client.request(method, path, headers=headers, **request)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError):
        raise click.ClickException(
            f"no service answers at {url}; set RINGBACK_URL or start `ringback serve`"
        ) from None
    if answer.is_success:
        return answer.json() if answer.content else None
    raise click.ClickException(_problem(answer))


def _problem(answer: httpx.Response) -> str:
    try:
        told = answer.json()
        details = "; ".join(
            f"{one['pointer'] or one['name']}: {one['detail']}" for one in told.get("errors", [])
        )
        return f"{told['code']}: {details or told['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"the service answered {answer.status_code}"


def show(value: Any, columns: Columns, *, plain: bool, title: str = "") -> None:
    """A list as a table, or as JSON."""
    if plain:
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
        return
    rows = value["data"] if isinstance(value, dict) and "data" in value else [value]
    table = Table(title=title or None, title_justify="left")
    for column in columns:
        table.add_column(column.rpartition(".")[2], overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row, column) for column in columns))
    Console(soft_wrap=False).print(table)
    if isinstance(value, dict) and value.get("next_cursor") and value.get("has_more", True):
        click.echo(f"more behind --cursor {value['next_cursor']}")


def _cell(row: Mapping[str, Any], column: str) -> str:
    value: Any = row
    for part in column.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def json_object(_context: click.Context, _parameter: click.Parameter, text: str | None) -> Any:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        raise click.BadParameter("is not valid JSON") from None
    if not isinstance(value, dict):
        raise click.BadParameter("must be a JSON object")
    return value


def pairs(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    if any("=" not in text for text in texts):
        raise click.BadParameter("write key=value")
    return dict(text.split("=", 1) for text in texts)


def given(**parameters: Any) -> dict[str, Any]:
    """The parameters that were given."""
    return {name: value for name, value in parameters.items() if value not in (None, (), [], {}, "")}
