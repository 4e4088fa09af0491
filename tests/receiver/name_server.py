"""A name server on loopback: some names resolve, some get no answer, and the rest do not exist."""

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import cast

A, AAAA = 1, 28
SILENT: Sequence[str] = ("silent",)
"""The addresses of a name that never gets an answer."""


class NameServer(asyncio.DatagramProtocol):
    """A name server that answers from a table. A name that is not in it does not exist."""

    def __init__(self, table: Mapping[str, Sequence[str]]) -> None:
        self.table = dict(table)
        self.asked: Counter[str] = Counter()
        self.news = asyncio.Event()
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        name, kind, end = question(data)
        self.asked[name] += kind == A
        self.news.set()
        addresses = self.table.get(name, self.table.get("*." + name.partition(".")[2]))
        if addresses is SILENT:
            return
        records = [record(one, kind) for one in addresses or () if (":" in one) == (kind == AAAA)]
        flags = 0x8180 if addresses is not None else 0x8183
        head = data[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0)
        self.transport.sendto(head + data[12:end] + b"".join(records), peer)

    async def until(self, name: str, count: int = 1) -> None:
        """Wait until the addresses of a name were queried `count` times."""
        while self.asked[name] < count:
            self.news.clear()
            await self.news.wait()


def question(data: bytes) -> tuple[str, int, int]:
    """Return the name and the record type of a query, and the offset of the end of its question."""
    labels, at = [], 12
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels).lower(), struct.unpack(">H", data[at + 1 : at + 3])[0], at + 5


def record(address: str, kind: int) -> bytes:
    """Return the record of an address, with a lifetime of 0 so that it is not cached."""
    packed = socket.inet_pton(socket.AF_INET6 if kind == AAAA else socket.AF_INET, address)
    # 0xC00C points to the name in the question, at byte 12 of the message.
    return b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(packed)) + packed


@contextlib.asynccontextmanager
async def naming(table: Mapping[str, Sequence[str]]) -> AsyncIterator[NameServer]:
    """Run a name server on a port of its own. Yields it."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: NameServer(table), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()
