"""Fixtures of the service's tests: small files, stores and workers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from receiver.egress.http1 import Connection
from receiver.store import Store
from receiver.store.sqlite import driver as sqlite
from receiver.work import worker
from tests.receiver.raw_server import Heard
from tests.receiver.store_fixture import StoreFixture, opened, store_fixture
from tests.receiver.worker_fixture import PATIENCE, WorkerFixture, worker_fixture_in


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a database reserve little room for its log: the tests open hundreds of databases."""
    monkeypatch.setattr(sqlite, "LOG_BYTES", 4096, raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a path for a database."""
    return tmp_path / "ringback.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    """Yield a new store."""
    async with opened(path) as made:
        yield made


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """Yield the parts of a service at rest."""
    async with store_fixture(tmp_path) as made:
        yield made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the wait for SQLite's lock to 10 ms."""
    monkeypatch.setattr(sqlite, "BUSY_MS", 10)


@pytest.fixture
async def worker_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WorkerFixture]:
    """Yield a worker that does not run yet, and that does not wait after a failure."""
    monkeypatch.setattr(worker, "AFTER_TROUBLE", 0.0)
    async with worker_fixture_in(tmp_path) as made:
        yield made


@pytest.fixture
async def running(
    worker_fixture: WorkerFixture, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[WorkerFixture]:
    """Yield the worker with its loop running. Without a wake-up it looks for work once per hour."""
    monkeypatch.setattr(worker_fixture.fixture.store.driver, "scan", 3600.0)
    task = asyncio.create_task(worker_fixture.worker.run())
    yield worker_fixture
    await worker_fixture.worker.stop(0.0)
    async with asyncio.timeout(PATIENCE):
        await task


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    """Return a count of the bytes that the HTTP client reads from now on."""
    ear = Heard()

    def data_received(connection: Connection, data: bytes) -> None:
        ear.data_received(connection, data)

    monkeypatch.setattr(Connection, "data_received", data_received)
    return ear
