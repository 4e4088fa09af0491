"""What every test of the service may count on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from receiver.egress.http1 import Connection
from receiver.store import Store
from receiver.store.sqlite import driver as sqlite
from receiver.work import worker
from tests.receiver.raw_server import Heard
from tests.receiver.store_fixture import opened
from tests.receiver.worker_fixture import PATIENCE, WorkerFixture, worker_fixture_in


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


@pytest.fixture
async def worker_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WorkerFixture]:
    """A worker at rest, which does not wait after trouble."""
    monkeypatch.setattr(worker, "AFTER_TROUBLE", 0.0)
    async with worker_fixture_in(tmp_path) as made:
        yield made


@pytest.fixture
async def running(
    worker_fixture: WorkerFixture, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[WorkerFixture]:
    """The same, its loop running; it looks once per hour where nothing tells it to."""
    monkeypatch.setattr(worker_fixture.fixture.store.driver, "scan", 3600.0)
    task = asyncio.create_task(worker_fixture.worker.run())
    yield worker_fixture
    await worker_fixture.worker.stop(0.0)
    async with asyncio.timeout(PATIENCE):
        await task


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    """Return all that our client has read so far."""
    ear = Heard()

    def data_received(connection: Connection, data: bytes) -> None:
        ear.data_received(connection, data)

    monkeypatch.setattr(Connection, "data_received", data_received)
    return ear
