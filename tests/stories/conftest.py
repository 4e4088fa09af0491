"""Fixtures of all stories."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.stories.deployment import Deployment, deployed


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    """Yield a deployment with default settings."""
    async with deployed(tmp_path) as made:
        yield made
