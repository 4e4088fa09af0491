"""Ports for servers that are stopped and started again."""

import random
import socket
from pathlib import Path

_CHOOSING = random.SystemRandom()
"""A generator that no test can seed: with a common seed, several processes would choose the same ports."""
_TAKEN: list[socket.socket] = []


def free_port() -> int:
    """Return a port that stays free for this process while nothing listens on it.

    It lies below the range of ephemeral ports. No other process of the tests chooses it: the UDP port of the
    same number stays bound until this process ends.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = _CHOOSING.randrange(first // 2, first)
        mark = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            mark.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            mark.close()
        else:
            _TAKEN.append(mark)
            return port
