"""Ports for servers that are stopped and started again."""

import contextlib
import random
import socket
from pathlib import Path


def free_port() -> int:
    """A port that stays free while nobody listens: none of those that connections take for themselves."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(first // 2, first)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
