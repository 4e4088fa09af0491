"""The event loop of the tests: uvloop, as in the service, but without a way out of this machine."""

import asyncio
import ipaddress
from collections.abc import Callable
from typing import Any, ClassVar

import uvloop


class LoopbackLoop(uvloop.Loop):
    """An event loop that connects to loopback addresses only."""

    refused: ClassVar[list[str]] = []
    """The other addresses that the running test dialled. A fixture of every test asserts that there is none,
    because code under test takes the error for an ordinary failure."""

    async def create_connection(  # type: ignore[override]  # the base class spells out twenty parameters
        self, protocol: Callable[[], asyncio.BaseProtocol], host: str | None = None, *args: Any, **named: Any
    ) -> Any:
        """Open a connection. Raises `PermissionError` for an address that is not loopback."""
        if host is not None and not is_loopback(host):
            self.refused.append(host)
            raise PermissionError(f"a test dials {host}")
        return await super().create_connection(protocol, host, *args, **named)


def is_loopback(host: str) -> bool:
    """Return whether `host` is a loopback address or the name of one."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
