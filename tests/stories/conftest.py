"""What every story may ask for."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.stories.deployment import Deployment, deployed


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Deployment]:
    """A deployment with everything as by default."""
    async with deployed(tmp_path) as made:
        yield made
