"""Tests of the live view of the demo: its columns, its counts, and untrusted text."""

import io
from typing import Any

import pytest
from rich.console import Console

from receiver.demo.show import COLOURS, NARROW, WIDE, Row, picture
from receiver.domain.model import State

COUNTS = {"verified": 7, "unsigned": 0, "final": 1, "jobs": 2}


def row(state: str = "running", **others: Any) -> Row:
    """Return a row of a job in a state."""
    job = {"provider": "aiml", "operation": "video", "state": state, "progress": None, "completed_by": None}
    return Row(job | others, "is polled", "job.succeeded" if state == "succeeded" else None)


def drawn(rows: list[Row], width: int, **counts: int) -> list[str]:
    """Return the lines of the view on a terminal of this width."""
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(picture(rows, COUNTS | counts, width))
    return [line.strip("\u2502 ") for line in out.getvalue().splitlines()]


def test_a_wide_terminal_shows_all_columns() -> None:
    lines = drawn([row(), row("succeeded", progress=100.0, completed_by="poll")], WIDE)
    assert lines[1].split() == ["provider", "operation", "what", "goes", "on", "state", "by", "downstream"]
    assert lines[2].split()[:5] == ["aiml", "video", "is", "polled", "running"]
    assert lines[3].split()[-2:] == ["poll", "job.succeeded"]


def test_a_narrow_terminal_shows_what_matters() -> None:
    lines = drawn([row("succeeded", completed_by="poll")], WIDE - 1)
    assert lines[1].split() == " ".join(NARROW).split()
    assert lines[2].split()[:4] == ["aiml", "is", "polled", "succeeded"]
    assert "poll" not in lines[2].split()
    assert max(map(len, drawn([row()], 80))) <= 80


@pytest.mark.parametrize(
    ("state", "progress", "filled"),
    [("pending", None, 0), ("running", 50.0, 4), ("running", 100.0, 8), ("succeeded", None, 8)],
)
def test_the_bar_is_as_full_as_the_job_is_far(state: str, progress: float | None, filled: int) -> None:
    # Without colours only the filled part of a bar is drawn.
    assert drawn([row(state, progress=progress)], 80)[2].count("\u2501") == filled


def test_the_counts_stand_below() -> None:
    assert "deliveries signed 7   unsigned 3   terminal events 1 of 2" in drawn([row()], 80, unsigned=3)


def test_the_text_of_others_cannot_drive_the_terminal() -> None:
    lines = drawn([row(provider="\x1b[2J", operation="[bold]x[/nope]", completed_by="\x07")], 160)
    assert lines[2].split()[:2] == ["\\u001b[2J", "[bold]x[/nope]"]
    assert lines[2].endswith("\\u0007")


def test_every_state_has_a_colour() -> None:
    assert set(COLOURS) == set(State)
    for state in State:
        assert state.value in drawn([row(state.value)], 80)[2].split()
