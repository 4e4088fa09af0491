"""Fixtures of all stories."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.stories.deployment import Deployment, deployed


@pytest.fixture
async def deployment(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Deployment]:
    """Yield a deployment with default settings, at providers with the knobs of the mark `providers`."""
    mark = request.node.get_closest_marker("providers")
    async with deployed(tmp_path, *(mark.args if mark else ())) as made:
        yield made
