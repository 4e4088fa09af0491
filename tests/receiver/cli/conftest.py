"""The fixtures of the tests of commands: a scripted service and an own folder."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.receiver.scripted_service import ScriptedService, scripted_service


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    """Yield a scripted service."""
    with scripted_service() as made:
        yield made


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the empty folder in which the test runs, without a RINGBACK_ variable."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("RINGBACK_")]:
        monkeypatch.delenv(name)
    return tmp_path
