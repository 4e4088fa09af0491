"""Further replicas of a deployment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from receiver.api import application
from receiver.app import App, running
from receiver.cli.sandbox import Later, listening
from receiver.domain.clock import Clock
from receiver.work.heartbeat import Role
from tests.stories.deployment import Deployment


@asynccontextmanager
async def another(
    deployment: Deployment, role: Role = Role.ALL, clock: Clock | None = None
) -> AsyncIterator[tuple[App, str]]:
    """Run one more replica of a deployment. Yields it and its URL."""
    later, first = Later(), deployment.services.core
    async with listening(later) as url, running(first.loaded, role=role, clock=clock) as services:
        later.app = application(services.api)
        yield services, url
