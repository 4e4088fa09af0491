"""The choice of ports for the tests' own servers."""

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests import ports

HOLD = "from tests import ports; print(ports.free_port(), flush=True); input()"


@contextmanager
def another() -> Iterator[int]:
    """Yield the port that another process has chosen, as long as that process runs."""
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate("\n")


class Repeating(random.Random):
    """A generator that returns a given port first, and random ones after it."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.first = [port]

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        """Return the given port once, then random ones."""
        return self.first.pop() if self.first else super().randrange(start, stop, step)


def test_a_port_is_chosen_by_one_process_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with another() as theirs:
        monkeypatch.setattr(ports, "_CHOOSING", Repeating(theirs))
        assert ports.free_port() != theirs
    monkeypatch.setattr(ports, "_CHOOSING", Repeating(theirs))
    assert ports.free_port() == theirs, "it ended, so its port is free again"
