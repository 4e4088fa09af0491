"""Servers that a test starts end with it."""

import ctypes
import signal


def dies_with_us(how: signal.Signals = signal.SIGKILL) -> None:
    """Have the system end the process when its parent is gone, however that ended; for `preexec_fn`."""
    ctypes.CDLL(None).prctl(1, how)
