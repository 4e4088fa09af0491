"""Large bodies are read on a thread, a few at once, so that the event loop goes on meanwhile.

A thread helps only as far as no single call into the C library takes long, because each of them holds the
interpreter: `handlers.json` limits the values of a body and reads them in steps, and `large_json` cuts long
texts into pieces. A parsed body is freed on the thread, too, where little of it is needed: to free
100,000 values is one such call.
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
"""Bytes of a body that is read at once, on the loop."""
THREADS = 2
ROOM = 128 * 1024 * 1024
"""Bytes of large requests that may be read or wait for it; beyond them a request is told to come again."""

SWITCH = sys.getswitchinterval()
SWITCH_SOON = 0.001
"""Seconds after which a thread lets go of the interpreter when another waits for it: usually, and while
large bodies are read, because the loop waits so long each time that it wakes.
"""


class Offload:
    """The threads, and the bytes that they have in hand."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="large")
        self._held = 0

    async def read(self, size: int, work: Callable[[], Result]) -> Result:
        """Return the result of `work` on a body of `size` bytes; `StoreUnavailable` when too much waits."""
        if size <= LIGHT:
            return work()
        if self._held and self._held + size > ROOM:
            raise StoreUnavailable("too many large bodies are being read")
        return await self.run(size, work)

    async def run(self, size: int, work: Callable[[], Result]) -> Result:
        """Return the result of `work` on `size` bytes, of which something else bounds the number."""
        if size <= LIGHT:
            return work()
        if not self._held:
            sys.setswitchinterval(SWITCH_SOON)
        self._held += size
        working = asyncio.get_running_loop().run_in_executor(self._threads, work)
        working.add_done_callback(lambda _: self._let_go(size))
        try:
            return await asyncio.shield(working)
        finally:
            del working  # its error knows this frame: a cycle would keep the body in memory

    def _let_go(self, size: int) -> None:
        self._held -= size
        if not self._held:
            sys.setswitchinterval(SWITCH)


OFFLOAD = Offload()
"""One for the process: the interpreter is one too."""
