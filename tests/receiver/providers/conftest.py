"""Fixtures of the tests of providers: a scripted provider, and a service with accounts at it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.receiver.scripted_provider import ScriptedProvider, scripted_provider, service_at
from tests.receiver.store_fixture import StoreFixture


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    """Yield a provider without answers."""
    async with scripted_provider() as made:
        yield made


@pytest.fixture
async def fixture(tmp_path: Path, provider: ScriptedProvider) -> AsyncIterator[StoreFixture]:
    """Yield a service at rest with accounts at the provider."""
    async with service_at(provider, tmp_path) as made:
        yield made
