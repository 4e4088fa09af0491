"""Fixtures of the tests of the client."""

from collections.abc import Iterator

import pytest

from tests.receiver.scripted_service import ScriptedService, scripted_service


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    """Yield a scripted service."""
    with scripted_service() as made:
        yield made
