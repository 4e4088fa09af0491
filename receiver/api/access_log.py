"""The access log: a debug line for each call. Its path is logged without tokens, its query not at all."""

import logging

from starlette.types import Scope

from handlers.values import immutable
from receiver.egress.address_guard import Network
from receiver.observability import peer

LOGGER = logging.getLogger("ringback.api")


@immutable
class AccessLog:
    """Logs calls. Requests that come from a `trusted` proxy are logged with the address that it forwards."""

    trusted: tuple[Network, ...]

    def __call__(self, scope: Scope, status: int, request_id: str) -> None:
        """Log one call and the status of its response."""
        if LOGGER.isEnabledFor(logging.DEBUG):
            caller = peer(scope, self.trusted)
            about = {"request_id": request_id, "status": status}
            LOGGER.debug("%s %s from %s", scope["method"], scope["path"], caller, extra=about)
