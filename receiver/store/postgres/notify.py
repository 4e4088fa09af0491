"""NOTIFY as a bell between replicas: hints, coalesced, after the commit; the scan of due work is the truth.

Inside a transaction NOTIFY makes commits wait for each other, so it is never there.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import asyncpg

from receiver.domain.errors import StoreUnavailable
from receiver.store.postgres.url import PostgresTarget

CHANNEL = "ringback"
GATHER, APART = 0.01, 0.1
"""Seconds for which hints are gathered before they go out together, and how far apart they do."""
AGAIN = 1.0


class Bell:
    """Rings at the other replicas, and hears them. `ring` sends words."""

    def __init__(self, target: PostgresTarget, name: str, ring: Callable[[str], Awaitable[None]]) -> None:
        self._target = target
        self._name = name
        self._ring = ring
        self._words: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ringing = False
        self._rung_at = 0.0

    def tell(self, word: str) -> None:
        """Pass a hint on, soon."""
        self._words.add(word)
        if not self._ringing:
            self._ringing = True
            self._start(self._send())

    def listen(self, heard: Callable[[str], None]) -> None:
        """Hear hints, as long as a connection can be had; an empty one after each time that none could."""
        self._start(self._hear(heard))

    async def close(self) -> None:
        """Ring and hear no more."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self) -> None:
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(max(GATHER, self._rung_at + APART - clock()))
        self._rung_at = clock()
        words, self._words, self._ringing = self._words, set(), False
        with contextlib.suppress(StoreUnavailable):
            await self._ring(" ".join((self._name, *sorted(words))))

    async def _hear(self, heard: Callable[[str], None]) -> None:
        def take(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            sender, *words = str(payload).split(" ")
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
                    await connection.add_listener(CHANNEL, take)
                    heard("")
                    await gone.wait()
                finally:
                    connection.terminate()
            await asyncio.sleep(AGAIN)
