"""Fixtures of all stories."""

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.stories.deployment import Deployment, deployed


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    """Yield a deployment with default settings."""
    async with deployed(tmp_path) as made:
        yield made


@pytest.fixture
def nobody() -> Iterator[str]:
    """Yield an address at which no server answers or can begin to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"
