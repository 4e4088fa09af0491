"""Tests of the loop that keeps every test on this machine."""

import asyncio

import pytest

from tests.loopback import LoopbackLoop
from tests.receiver.raw_server import OK, replaying, serving


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "10.0.0.1", "h.example"])
async def test_an_address_beyond_this_machine_is_not_dialled_and_is_listed(host: str) -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(PermissionError, match=f"a test dials {host}"):
        await loop.create_connection(asyncio.Protocol, host, 9)
    assert LoopbackLoop.refused == [host]
    LoopbackLoop.refused.clear()


async def test_this_machine_is_dialled() -> None:
    async with serving(replaying(OK)) as server:
        transport, _ = await asyncio.get_running_loop().create_connection(
            asyncio.Protocol, "127.0.0.1", server.port
        )
        transport.close()
    assert LoopbackLoop.refused == []
