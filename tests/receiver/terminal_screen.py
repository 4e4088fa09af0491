"""A terminal in place of the output streams of this process."""

import contextlib
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest


class Terminal(io.StringIO):
    """A text stream that is a terminal."""

    def isatty(self) -> bool:
        """Return that it is a terminal."""
        return True

    @property
    def lines(self) -> list[str]:
        """Return the printed lines."""
        return self.getvalue().splitlines()


@dataclass
class Screen:
    """The two output streams of a command on a terminal."""

    out: Terminal = field(default_factory=Terminal)
    err: Terminal = field(default_factory=Terminal)


@contextlib.contextmanager
def on_terminal(columns: int = 80, *, kind: str = "dumb") -> Iterator[Screen]:
    """Run on a terminal as long as the context lasts. A `dumb` one has no colours and no live lines."""
    made = Screen()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", made.out)
        patch.setattr(sys, "stderr", made.err)
        for name, value in {"COLUMNS": str(columns), "LINES": "24", "TERM": kind}.items():
            patch.setenv(name, value)
        for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
            patch.delenv(name, raising=False)
        yield made
