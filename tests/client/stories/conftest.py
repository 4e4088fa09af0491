"""Fixtures of the stories of the client."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ringback import AsyncRingback
from tests.stories.deployment import KEY, PATIENCE, Deployment, deployed


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    """Yield a deployment with default settings."""
    async with deployed(tmp_path) as made:
        yield made


@pytest.fixture
async def client(deployment: Deployment) -> AsyncIterator[AsyncRingback]:
    """Yield an async client of the deployment."""
    async with AsyncRingback(deployment.url, KEY, timeout=PATIENCE) as made:
        yield made
