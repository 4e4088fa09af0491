"""Large bodies are read on a thread, a few at once, so that the event loop goes on meanwhile.

A thread helps only as far as no single call into the C library takes long, because each of them holds the
interpreter: `handlers.json` limits the values of a body and `receiver.bulk` cuts long texts into pieces.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from receiver.errors import StoreUnavailable

Told = TypeVar("Told")

LIGHT = 64 * 1024
"""Bytes of a body that is read at once, on the loop: a few milliseconds at worst."""
THREADS = 2
ROOM = 128 * 1024 * 1024
"""Bytes of large requests that may be read or wait for it; beyond them a request is told to come again."""


class Large:
    """The threads, and the bytes that they have in hand."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="large")
        self._held = 0

    async def read(self, size: int, work: Callable[[], Told]) -> Told:
        """Return the result of `work` on a body of `size` bytes; `StoreUnavailable` when too much waits."""
        if size <= LIGHT:
            return work()
        if self._held and self._held + size > ROOM:
            raise StoreUnavailable("too many large bodies are being read")
        return await self.run(size, work)

    async def run(self, size: int, work: Callable[[], Told]) -> Told:
        """Return the result of `work` on `size` bytes, of which something else bounds the number."""
        if size <= LIGHT:
            return work()
        self._held += size
        working = asyncio.get_running_loop().run_in_executor(self._threads, work)
        working.add_done_callback(lambda _: self._let_go(size))
        try:
            return await asyncio.shield(working)
        finally:
            del working  # its error knows this frame: a cycle would keep the body in memory

    def _let_go(self, size: int) -> None:
        self._held -= size


LARGE = Large()
"""One for the process: the interpreter is one too."""
