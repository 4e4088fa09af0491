"""Fixtures of the API's tests: a service with nothing at work, and a client of its application."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.receiver.api_client import client_of
from tests.receiver.store_fixture import StoreFixture, store_fixture


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """Yield a service with nothing at work."""
    async with store_fixture(tmp_path) as made:
        yield made


@pytest.fixture
async def client(fixture: StoreFixture) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the service with the admin key."""
    async with client_of(fixture.services.api) as made:
        yield made
