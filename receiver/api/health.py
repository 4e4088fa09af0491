"""Whether the process lives and can store."""

from starlette.responses import Response

from receiver.api.guard import Asked, answer
from receiver.errors import StoreUnavailable
from receiver.store import endpoints as table


async def healthz(_asked: Asked) -> Response:
    """Tell that the process lives."""
    return answer({"status": "ok"})


async def readyz(asked: Asked) -> Response:
    """Tell whether the service can store and is not stopping."""
    if asked.services.draining:
        raise StoreUnavailable("the service is stopping")
    await asked.services.store.write(table.probe)
    return answer({"status": "ok"})
