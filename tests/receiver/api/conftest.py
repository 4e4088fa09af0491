"""Fixture of the API's tests: a client of the application of a service at rest."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.receiver.api_client import client_of
from tests.receiver.store_fixture import StoreFixture


@pytest.fixture
async def client(fixture: StoreFixture) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the service with the admin key."""
    async with client_of(fixture.services.api) as made:
        yield made
