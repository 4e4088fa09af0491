"""The service as a process with a wall clock that is moved from outside, by the seconds in a file.

It stands in for a machine with a clock that is set manually or by NTP. Every call of `time.time` is moved;
the monotonic clocks are not, as with a real step.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

STEPS = Path(os.environ["STEPPED_BY"])
READ_EVERY = 0.01


def stepping() -> Callable[[], float]:
    """Return the moved clock, which reads the file again every few milliseconds."""
    real, passed = time.time, time.monotonic
    offset, read_at = 0.0, 0.0

    def now() -> float:
        nonlocal offset, read_at
        if passed() - read_at > READ_EVERY:
            offset, read_at = float(STEPS.read_text() or 0), passed()
        return real() + offset

    return now


if __name__ == "__main__":
    time.time = stepping()
    # The program takes the clock when it is imported, so the import must follow the patch.
    from receiver.cli import main

    sys.argv = ["ringback", *sys.argv[1:]]
    main()
