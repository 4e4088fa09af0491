"""Rows that are printed as they come: aligned on a terminal, tab-separated in a pipe, JSON lines or ids."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from receiver.cli.output import COLOURS, GAP, is_json, is_quiet
from receiver.cli.terminal import plain


class LiveRows:
    """A table without an end. `columns` are its columns with the width of each on a terminal."""

    def __init__(self, columns: Mapping[str, int]) -> None:
        self._columns = columns
        self._headed = False

    def add(self, item: Mapping[str, Any], cells: Sequence[str]) -> None:
        """Print one row: its cells, or with `--json` or `--quiet` the item or its id, at once."""
        if is_json():
            click.echo(json.dumps(item, ensure_ascii=True).replace("\x7f", "\\u007f"))
        elif is_quiet():
            click.echo(plain(str(item["id"])))
        else:
            if not self._headed:
                self._headed = True
                self._print(list(self._columns), bold=True)
            self._print([plain(cell) for cell in cells])

    def _print(self, cells: Sequence[str], *, bold: bool = False) -> None:
        if not sys.stdout.isatty():
            click.echo("\t".join(cells))
            return
        line = Text(style="bold" if bold else "")
        for cell, width in zip(cells, self._columns.values(), strict=True):
            line.append(cell.ljust(width + GAP), style="" if bold else COLOURS.get(cell, ""))
        line.rstrip()
        Console(highlight=False).print(line, soft_wrap=True)
