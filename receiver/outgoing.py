"""Outgoing calls in the log, at debug: method, URL, status, milliseconds.

A URL is told without its query; one that deliveries go to without its path, which may be a secret, too.
"""

import logging
import time

from receiver.addresses import told
from receiver.exchange import Answer
from receiver.gateway import Call, CallFailed, Gateway

LOGGER = logging.getLogger("ringback.outgoing")


class LoggedGateway(Gateway):
    """A gateway that says at debug what it called and how that went."""

    async def call(self, call: Call) -> Answer:
        """The answer to `call`, or `CallFailed`."""
        if not LOGGER.isEnabledFor(logging.DEBUG):
            return await super().call(call)
        began = time.monotonic()
        url = told(call.url) if call.delivery else call.url.partition("?")[0]
        try:
            answer = await super().call(call)
        except CallFailed as error:
            LOGGER.debug("%s %s failed after %s ms: %s", call.method, url, _ms(began), error)
            raise
        LOGGER.debug("%s %s took %s ms", call.method, url, _ms(began), extra={"status": answer.status})
        return answer


def _ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
