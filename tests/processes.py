"""Servers that end with the test that started them."""

import ctypes
import signal


def dies_with_us(how: signal.Signals = signal.SIGKILL) -> None:
    """Have the system send `how` to this process when its parent ends, in any way. Used as `preexec_fn`."""
    ctypes.CDLL(None).prctl(1, how)
