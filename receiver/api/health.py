"""Liveness and readiness over HTTP."""

from starlette.responses import Response

from receiver.api.guard import RequestContext, answer
from receiver.domain.errors import StoreUnavailable


async def healthz(_context: RequestContext) -> Response:
    """Report that the process is alive."""
    return answer({"status": "ok"})


async def readyz(context: RequestContext) -> Response:
    """Report that the service can store data and is not stopping. Raises `StoreUnavailable` otherwise."""
    if context.services.shutdown.begun:
        raise StoreUnavailable("the service is stopping")
    await context.services.readiness.check()
    return answer({"status": "ok"})
