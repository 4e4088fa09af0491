"""How the demo looks: one row a job, live."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

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
    """One job of the demo."""

    job: dict[str, Any]
    says: str
    delivered: str | None = None


def picture(rows: Sequence[Row], counts: Mapping[str, int]) -> RenderableType:
    """All jobs as they are now."""
    table = Table(expand=False, pad_edge=False)
    for name in ("provider", "operation", "what goes on", "state", "", "by", "downstream got"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        job = row.job
        state = job["state"]
        done = 100.0 if state == "succeeded" else float(job["progress"] or 0)
        table.add_row(
            job["provider"],
            job["operation"],
            Text(row.says, style="dim"),
            Text(state, style=COLOURS[state]),
            ProgressBar(total=100, completed=done, width=12),
            job["completed_by"] or "",
            Text(row.delivered or "", style="green"),
        )
    line = Text.assemble(
        ("deliveries verified ", "dim"),
        (str(counts["verified"]), "bold green"),
        ("   refused ", "dim"),
        (str(counts["refused"]), "bold red" if counts["refused"] else "dim"),
        ("   terminal events ", "dim"),
        (f"{counts['final']} of {counts['jobs']}", "bold"),
    )
    return Panel(Group(table, line), title="Ringback", title_align="left", border_style="dim", expand=False)
