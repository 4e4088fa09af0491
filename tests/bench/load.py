"""A load generator that leaves the machine to the service: prepared bytes over kept connections.

Its own garbage collection waits until a load is over, or it would count as a slow answer of the service.
"""

import asyncio
import contextlib
import gc
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from receiver.egress.http1 import Connection
from receiver.egress.request_bytes import request_bytes

CONNECTIONS = 64
LIVE = request_bytes("GET", "/healthz", "127.0.0.1", [], b"")
"""The first request of each new connection: to accept 64 at once is not the load that is measured."""


@dataclass(slots=True)
class Result:
    """The result of a load: seconds in all, milliseconds of each request, and the number not acknowledged."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def rate(self) -> float:
        """Return the number of acknowledged requests per second."""
        return (len(self.latencies) - self.failed) / self.seconds

    def quantile(self, share: float) -> float:
        """Return a quantile of the latencies, in milliseconds."""
        return quantile(self.latencies, share)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values lie; NaN where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def prepared(port: int, path: str, secret: str, body: bytes) -> bytes:
    """Return one callback as bytes."""
    headers = [("content-type", "application/json"), ("x-webhook-secret", secret)]
    return request_bytes("POST", path, f"127.0.0.1:{port}", headers, body)


@contextlib.contextmanager
def _unswept() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def closed(port: int, requests: Sequence[bytes]) -> Result:
    """Send requests as fast as they are answered, over 64 connections."""
    waiting = iter(requests)
    result = Result(0.0)

    async def one() -> None:
        connection = await connect(port)
        for request in waiting:
            started = time.perf_counter()
            answer = await connection.ask(request, 4096)
            result.latencies.append((time.perf_counter() - started) * 1000)
            result.failed += answer.status != 200
        connection.close()

    with _unswept():
        started = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
        result.seconds = time.perf_counter() - started
    return result


async def opened(port: int, requests: Sequence[bytes], rate: float) -> tuple[Result, list[float]]:
    """Send requests at a fixed rate, which does not depend on the answers.

    Returns the result, and the monotonic moment at which each request was sent.
    """
    idle = deque([await connect(port) for _ in range(CONNECTIONS)])
    await asyncio.gather(*(connection.ask(LIVE, 4096) for connection in idle))
    result, sent = Result(0.0), [0.0] * len(requests)

    async def one(index: int, request: bytes) -> None:
        connection = idle.popleft() if idle else await connect(port)
        sent[index] = time.monotonic()
        started = time.perf_counter()
        answer = await connection.ask(request, 4096)
        result.latencies.append((time.perf_counter() - started) * 1000)
        result.failed += answer.status != 200
        idle.append(connection)

    with _unswept():
        started = time.monotonic()
        tasks = []
        for index, request in enumerate(requests):
            pause = started + index / rate - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            tasks.append(asyncio.create_task(one(index, request)))
        await asyncio.gather(*tasks)
        result.seconds = time.monotonic() - started
    for connection in idle:
        connection.close()
    return result, sent


async def connect(port: int) -> Connection:
    """Return a connection to a server of this machine."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection
