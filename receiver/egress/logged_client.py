"""The HTTP client with a debug line in the log for each call: method, origin, status, milliseconds.

The path is not logged: the path of an endpoint may be its only protection.
"""

import logging
import time

from receiver.egress.address_guard import printable
from receiver.egress.client import CallFailed, HttpCall, HttpClient
from receiver.egress.http1 import Answer

LOGGER = logging.getLogger("ringback.outgoing")


class LoggedClient(HttpClient):
    """An HTTP client that logs every call and its outcome at debug."""

    async def call(self, call: HttpCall) -> Answer:
        """Return the answer to `call`. Raises `CallFailed`."""
        if not LOGGER.isEnabledFor(logging.DEBUG):
            return await super().call(call)
        began, url = time.monotonic(), printable(call.url)
        try:
            answer = await super().call(call)
        except CallFailed as error:
            LOGGER.debug("%s %s failed after %s ms: %s", call.method, url, _ms(began), error)
            raise
        LOGGER.debug("%s %s took %s ms", call.method, url, _ms(began), extra={"status": answer.status})
        return answer


def _ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
