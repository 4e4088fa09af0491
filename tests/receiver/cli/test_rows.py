"""Rows without an end: tab-separated in a pipe, aligned on a terminal, JSON lines, or ids."""

import json
from typing import Any

import click
import pytest

from receiver.cli.output import FORM
from receiver.cli.rows import LiveRows
from tests.receiver.terminal_screen import on_terminal

ITEMS = [
    ({"id": "evt_1", "text": "\u00e9\x7f"}, ["12:00", "failed"]),
    ({"id": "evt_2"}, ["12:01", "\x1b[2J"]),
]


def shown(capsys: pytest.CaptureFixture[str], **meta: Any) -> str:
    """Return the output of two rows."""
    context = click.Context(click.Command("tail"))
    context.meta.update(meta)
    with context:
        rows = LiveRows({"at": 6, "state": 10})
        for item, cells in ITEMS:
            rows.add(item, cells)
    return capsys.readouterr().out


def test_rows_in_a_pipe_have_tabs_and_one_head(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys) == "at\tstate\n12:00\tfailed\n12:01\t\\u001b[2J\n"


def test_rows_may_be_ids_or_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, **{FORM: "quiet"}) == "evt_1\nevt_2\n"
    lines = shown(capsys, **{FORM: "as_json"}).splitlines()
    assert [json.loads(line) for line in lines] == [item for item, _ in ITEMS]
    assert "\x7f" not in lines[0]


def test_rows_on_a_terminal_are_aligned() -> None:
    context = click.Context(click.Command("tail"))
    with on_terminal() as screen, context:
        rows = LiveRows({"at": 6, "state": 10})
        for item, cells in ITEMS:
            rows.add(item, cells)
    assert screen.out.lines == ["at      state", "12:00   failed", "12:01   \\u001b[2J"]
