"""Liveness and readiness over HTTP."""

from starlette.responses import Response

from receiver.api.guard import RequestContext, answer
from receiver.domain.errors import StoreUnavailable


async def healthz(_context: RequestContext) -> Response:
    """Tell that the process lives."""
    return answer({"status": "ok"})


async def readyz(context: RequestContext) -> Response:
    """Tell whether the service can store and is not stopping."""
    if context.services.shutdown.begun:
        raise StoreUnavailable("the service is stopping")
    await context.services.readiness.check()
    return answer({"status": "ok"})
