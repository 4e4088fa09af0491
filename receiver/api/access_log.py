"""The access log: one debug line for each call, with its path without tokens and without its query."""

import logging

from starlette.types import Scope

from handlers.values import immutable
from receiver.egress.address_guard import Network
from receiver.observability import peer

LOGGER = logging.getLogger("ringback.api")


@immutable
class AccessLog:
    """A logger of calls. It logs requests from a `trusted` proxy with the client address that it forwards."""

    trusted: tuple[Network, ...]

    def __call__(self, scope: Scope, status: int, request_id: str) -> None:
        """Log one call and the status of its response."""
        # Checked first: working out the address of the client is wasted where debug lines are off.
        if LOGGER.isEnabledFor(logging.DEBUG):
            caller = peer(scope, self.trusted)
            about = {"request_id": request_id, "status": status}
            LOGGER.debug("%s %s from %s", scope["method"], scope["path"], caller, extra=about)
