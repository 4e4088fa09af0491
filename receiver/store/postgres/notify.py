"""LISTEN and NOTIFY between replicas: hints that are coalesced and sent after the commit.

A lost hint costs only time, because replicas also scan for due work. NOTIFY never runs inside a transaction
that writes, because it makes commits wait for one another.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import asyncpg

from receiver.domain.errors import StoreUnavailable
from receiver.store.postgres.url import PostgresTarget

CHANNEL = "ringback"
GATHER, APART = 0.01, 0.1
"""Seconds for which hints are collected before they are sent together, and seconds between two sends."""
AGAIN = 1.0
"""Seconds before the next attempt to listen, after a connection failed or ended."""


class Bell:
    """A channel of hints between this replica and the others. `ring` sends the text of a notification."""

    def __init__(self, target: PostgresTarget, name: str, ring: Callable[[str], Awaitable[None]]) -> None:
        self._target = target
        self._name = name
        self._ring = ring
        self._words: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ringing = False
        self._rung_at = 0.0

    def tell(self, word: str) -> None:
        """Send a hint to the other replicas, together with others, within `APART` seconds."""
        self._words.add(word)
        if not self._ringing:
            self._ringing = True
            self._start(self._send())

    def listen(self, heard: Callable[[str], None]) -> None:
        """Call `heard` with each hint of another replica until `close`. Reconnects when necessary.

        Each new connection begins with an empty hint: hints may have been missed before it.
        """
        self._start(self._hear(heard))

    async def close(self) -> None:
        """Stop sending and listening."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self) -> None:
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(max(GATHER, APART - (clock() - self._rung_at)))
        self._rung_at = clock()
        words, self._words, self._ringing = self._words, set(), False
        with contextlib.suppress(StoreUnavailable):
            await self._ring(" ".join((self._name, *sorted(words))))

    async def _hear(self, heard: Callable[[str], None]) -> None:
        def take(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            sender, *words = str(payload).split(" ")
            # The server sends a replica its own notifications too.
            if sender != self._name:
                for word in words:
                    heard(word)

        gone = asyncio.Event()
        while True:
            gone.clear()
            with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection = await asyncpg.connect(self._target.dsn, timeout=5, command_timeout=5)
                connection.add_termination_listener(lambda *_: gone.set())
                try:
                    # The empty hint follows LISTEN: hints before it are lost, later ones are received.
                    await connection.add_listener(CHANNEL, take)
                    heard("")
                    await gone.wait()
                finally:
                    connection.terminate()
            await asyncio.sleep(AGAIN)
