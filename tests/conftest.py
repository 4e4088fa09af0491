"""Fixtures and hooks of every test: the event loop, the engine and the databases."""

import asyncio
import functools
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.engines import ENGINES, NEWEST, SQLITE, VERSIONS
from tests.loopback import LoopbackLoop

LONGEST = ("tests/stories/test_openapi.py", "tests/proof/")
"""Tests that take longer than all others."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that chooses the database engine."""
    parser.addoption(
        "--engine", choices=(SQLITE, *VERSIONS), default=SQLITE, help="the database to test with"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Store the chosen engine."""
    ENGINES.name = config.getoption("--engine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests: at the end, each would keep one worker busy alone."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the loop factory of all tests."""
    return {"uvloop": LoopbackLoop}


def _cached(made: Callable[..., ssl.SSLContext]) -> Callable[..., ssl.SSLContext]:
    """Return `made` with the contexts of clients cached; those of servers carry certificates of their own."""
    clients = functools.cache(made)

    def create(purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH, **others: Any) -> ssl.SSLContext:
        return (clients if purpose is ssl.Purpose.SERVER_AUTH else made)(purpose, **others)

    return create


@pytest.fixture(scope="session", autouse=True)
def _certificates() -> Iterator[None]:
    """Load the system's certificates once for all tests: that takes longer than most of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", _cached(ssl.create_default_context))
        yield


@pytest.fixture(autouse=True)
def _loopback_only() -> Iterator[None]:
    """Fail a test that dialled an address beyond this machine."""
    LoopbackLoop.refused.clear()
    yield
    assert LoopbackLoop.refused == []


@pytest.fixture(autouse=True)
def _databases(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give a test's databases back to the engine after everything else of the test has ended."""
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if folder is not None:
        ENGINES.give_back(folder)


@pytest.fixture
def on_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test on SQLite, with any engine of the run."""
    monkeypatch.setattr(ENGINES, "name", SQLITE)


@pytest.fixture
def on_postgres(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test on PostgreSQL: on the run's engine, or on the newest version where that is SQLite."""
    if ENGINES.sqlite:
        monkeypatch.setattr(ENGINES, "name", NEWEST)


@pytest.fixture
def unserved() -> Iterator[str]:
    """Yield a URL on loopback at which nothing listens, or can begin to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"
