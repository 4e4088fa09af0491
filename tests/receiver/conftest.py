"""What every test of the service may count on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from receiver.store import Store, sqlite
from tests.receiver.storehouse import opened


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database makes room for little in advance: hundreds of them are opened here."""
    monkeypatch.setattr(sqlite, "LOG_BYTES", 4096, raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a database may lie."""
    return tmp_path / "ringback.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    """A store that was just made."""
    async with opened(path) as made:
        yield made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for a lock."""
    monkeypatch.setattr(sqlite, "BUSY_MS", 10)
