"""What every test may ask for: the loop that the service runs on."""

import asyncio
import functools
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop

from tests.engines import ENGINES, NEWEST, SQLITE, VERSIONS


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which engine the tests run on."""
    parser.addoption(
        "--engine", choices=(SQLITE, *VERSIONS), default=SQLITE, help="the database to test with"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Take the choice."""
    ENGINES.name = config.getoption("--engine")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """One loop for all."""
    return {"uvloop": uvloop.new_event_loop}


def _cached(made: Callable[..., ssl.SSLContext]) -> Callable[..., ssl.SSLContext]:
    """Return `made` with the contexts of clients cached; those of servers carry certificates of their own."""
    clients = functools.cache(made)

    def create(purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH, **others: Any) -> ssl.SSLContext:
        return (clients if purpose is ssl.Purpose.SERVER_AUTH else made)(purpose, **others)

    return create


@pytest.fixture(scope="session", autouse=True)
def _certificates() -> Iterator[None]:
    """Those of the system are read once for all tests: it takes longer than most of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", _cached(ssl.create_default_context))
        yield


@pytest.fixture(autouse=True)
def _databases(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test had of the server comes back when all else of it is over."""
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if folder is not None:
        ENGINES.give_back(folder)


@pytest.fixture
def on_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    """What only SQLite's users have, whatever the engine of the run."""
    monkeypatch.setattr(ENGINES, "name", SQLITE)


@pytest.fixture
def on_postgres(monkeypatch: pytest.MonkeyPatch) -> None:
    """What only PostgreSQL's users have: on the engine of the run, or on the newest where that is SQLite."""
    if ENGINES.sqlite:
        monkeypatch.setattr(ENGINES, "name", NEWEST)
