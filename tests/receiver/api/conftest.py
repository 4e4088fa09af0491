"""Fixtures of the API's tests: a client of a service at rest, and a service with a file server behind it."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.receiver.api_client import client_of
from tests.receiver.download_site import Site, download_site
from tests.receiver.store_fixture import StoreFixture


@pytest.fixture
async def client(fixture: StoreFixture) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the service with the admin key."""
    async with client_of(fixture.services.api) as made:
        yield made


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Yield a service with a file server behind it."""
    async with download_site(tmp_path) as made:
        yield made
