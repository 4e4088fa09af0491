"""The live view of the demo: a table with one row per job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from receiver.cli.terminal import plain

COLOURS = {
    "pending": "dim",
    "submitting": "dim",
    "unconfirmed": "yellow",
    "queued": "cyan",
    "running": "blue",
    "succeeded": "green",
    "failed": "red",
    "canceled": "magenta",
    "expired": "red",
}


@dataclass(slots=True)
class Row:
    """A row of the table: a job, its expected course, and the type of its delivered terminal event."""

    job: dict[str, Any]
    says: str
    delivered: str | None = None


WIDE = 112
"""The least width, in characters, of a terminal that shows all columns."""
NARROW = ("provider", "what goes on", "state", "", "downstream")
"""The columns on a narrower terminal."""


def picture(rows: Sequence[Row], counts: Mapping[str, int], width: int) -> RenderableType:
    """Return the view of all jobs for a terminal `width` characters wide."""
    table = Table(expand=False, pad_edge=False, box=None)
    shown = [_cells(row) for row in rows]
    names = tuple(shown[0]) if width >= WIDE else NARROW
    for name in names:
        table.add_column(name, no_wrap=True, header_style="bold")
    for cells in shown:
        table.add_row(*(cells[name] for name in names))
    line = Text.assemble(
        ("deliveries signed ", "dim"),
        (str(counts["verified"]), "bold green"),
        ("   unsigned ", "dim"),
        (str(counts["unsigned"]), "bold red" if counts["unsigned"] else "dim"),
        ("   terminal events ", "dim"),
        (f"{counts['final']} of {counts['jobs']}", "bold"),
    )
    content = Group(table, Text(""), line)
    return Panel(content, title="Ringback", title_align="left", border_style="dim", expand=False)


def _cells(row: Row) -> dict[str, RenderableType]:
    job = row.job
    state = job["state"]
    done = 100.0 if state == "succeeded" else float(job["progress"] or 0)
    return {
        "provider": Text(plain(job["provider"])),
        "operation": Text(plain(job["operation"])),
        "what goes on": Text(row.says, style="dim"),
        "state": Text(state, style=COLOURS[state]),
        "": ProgressBar(total=100, completed=done, width=8),
        "by": Text(plain(job["completed_by"] or "")),
        "downstream": Text(row.delivered or "", style="green"),
    }
