"""Fixtures of the tests in a browser."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from tests.browser.chromium import chromium


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Yield a browser."""
    async with chromium() as made:
        yield made
