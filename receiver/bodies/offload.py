"""Threads that read large bodies, a few at once, while the event loop continues.

A thread helps only if no single call into the C library takes long, because each call holds the interpreter
lock: `handlers.json` limits the values of a body and reads them in steps, and `large_json` cuts long texts
into pieces. A parsed body of which little is needed is also freed on the thread: freeing 100,000 values is
one such call.
"""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from handlers import json
from receiver.domain.errors import StoreUnavailable

Result = TypeVar("Result")

LIGHT = json.LIGHT
"""Bytes of the largest body that is read on the event loop, without a thread."""
THREADS = 2
"""Large bodies that are read at the same time."""
ROOM = 128 * 1024 * 1024
"""Bytes of large requests that are read or wait for it, to bound memory. Further ones are refused for now."""

SWITCH = sys.getswitchinterval()
SWITCH_SOON = 0.001
"""Seconds after which a thread releases the interpreter lock when another waits for it: `SWITCH` usually,
`SWITCH_SOON` while large bodies are read, because the event loop waits so long each time that it wakes.
"""


class Offload:
    """The threads, and the number of bytes that they are reading."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="large")
        self._held = 0

    async def read(self, size: int, work: Callable[[], Result]) -> Result:
        """Return the result of `work` on a body of `size` bytes. Raises `StoreUnavailable` above `ROOM`."""
        if size <= LIGHT:
            return work()
        # While no other body is held, refusing one for its size would refuse it always.
        if self._held and self._held + size > ROOM:
            raise StoreUnavailable("too many large bodies are being read")
        return await self.run(size, work)

    async def run(self, size: int, work: Callable[[], Result]) -> Result:
        """Return the result of `work` on `size` bytes. The caller bounds the number of such calls."""
        if size <= LIGHT:
            return work()
        if not self._held:
            sys.setswitchinterval(SWITCH_SOON)
        self._held += size
        working = asyncio.get_running_loop().run_in_executor(self._threads, work)
        working.add_done_callback(lambda _: self._let_go(size))
        try:
            # A canceled caller must not cancel the future: its bytes are held until the thread has ended.
            return await asyncio.shield(working)
        finally:
            del working  # its error refers to this frame: a cycle would keep the body in memory

    def _let_go(self, size: int) -> None:
        self._held -= size
        if not self._held:
            sys.setswitchinterval(SWITCH)


OFFLOAD = Offload()
"""The only instance of the process: all threads share one interpreter lock and its switch interval."""
