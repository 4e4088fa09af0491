"""The service as a process that keeps no health of its endpoints, and so has no breakers."""

import sys

from receiver.cli import main
from receiver.delivery.endpoint_watch import EndpointWatch
from receiver.store.endpoint_health import EndpointAttempt


def unnoted(_watch: EndpointWatch, _made: EndpointAttempt) -> bool:
    """Return False: the attempt is not stored with its delivery, and not kept to be stored later."""
    return False


if __name__ == "__main__":
    EndpointWatch.notes = unnoted  # type: ignore[assignment]  # the only call for attempts
    sys.argv = ["ringback", *sys.argv[1:]]
    main()
