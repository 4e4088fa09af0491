"""The service as a process that counts no metrics."""

import sys

from receiver.cli import main
from receiver.metrics import Metrics


def nothing(_metrics: Metrics, *_told: object, **_more: object) -> None:
    """Count nothing."""


if __name__ == "__main__":
    for name in ("add", "count", "observe", "committed", "served", "called"):
        setattr(Metrics, name, nothing)
    sys.argv = ["ringback", *sys.argv[1:]]
    main()
