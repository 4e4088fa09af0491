"""Fixtures of all stories."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.stories.deployment import Deployment, deployed
from tests.stories.tools import SILENT


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    """Yield a deployment with default settings."""
    async with deployed(tmp_path) as made:
        yield made


@pytest.fixture
async def silent(tmp_path: Path) -> AsyncIterator[Deployment]:
    """Yield a deployment at providers that finish nothing: no late result adds an event to a canceled job."""
    async with deployed(tmp_path, SILENT) as made:
        yield made
