"""Virtual time: event loops without sockets and threads, with a clock that jumps to the next moment."""

import asyncio
import contextlib
import heapq
import itertools
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

Do = Callable[[], object]
TURNS = 5_000


class Spinning(Exception):
    """A service that runs on and on in one moment of time."""


class VirtualTime:
    """The true time, the coming actions, and the loops that live in it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.loops: list[VirtualLoop] = []
        self._happenings: list[tuple[float, int, Do]] = []
        self._numbers = itertools.count()

    def after(self, seconds: float, do: Do) -> None:
        """Call `do` after `seconds`."""
        heapq.heappush(self._happenings, (self.now + max(0.0, seconds), next(self._numbers), do))

    @property
    def idle(self) -> bool:
        """Return whether no action is coming."""
        return not self._happenings

    def run(self, until: float, done: Callable[[], bool] = lambda: False) -> None:
        """Let time pass until a moment or until `done`. Raises `Spinning` where it no longer passes."""
        turns = 0
        while True:
            busy = [loop for loop in self.loops if loop.busy]
            for loop in busy:
                loop.turn()
            if busy:
                turns += 1
                if turns > TURNS:
                    raise Spinning
                continue
            if done():
                return
            turns = 0
            ahead = min([loop.next_at for loop in self.loops], default=float("inf"))
            if self._happenings:
                ahead = min(ahead, self._happenings[0][0])
            if ahead > until:
                self.now = max(self.now, until)
                return
            self.now = max(self.now, ahead)
            while self._happenings and self._happenings[0][0] <= self.now:
                heapq.heappop(self._happenings)[2]()


class VirtualLoop(asyncio.AbstractEventLoop):
    """The event loop of one process.

    While paused it does not run. `lag` is how far its clock is behind the true time, because it stood still.
    """

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        # The clock of the loop starts at 1,000 s, like `Process.elapsed`.
        self.lag = -1000.0
        self.paused = self.dead = False
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self.failures: list[str] = []
        time.loops.append(self)

    @property
    def busy(self) -> bool:
        """Return whether something can run now."""
        return not self.paused and (bool(self._ready) or self.next_at <= self._time.now)

    @property
    def next_at(self) -> float:
        """Return the true time of the next timer; infinity where nothing is going to run."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        if self.paused or not self._timers:
            return float("inf")
        return self._timers[0][0] + self.lag

    def turn(self) -> None:
        """Run everything that is ready, once."""
        while self._timers and self._timers[0][0] + self.lag <= self._time.now:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled():
                self._ready.append(timer)
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            for _ in range(len(self._ready)):
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
                if self.paused:
                    break
        finally:
            events._set_running_loop(before)

    def die(self) -> None:
        """Never run again: the process was killed."""
        self.dead = self.paused = True
        if self in self._time.loops:
            self._time.loops.remove(self)

    def bury(self) -> None:
        """Close all that never ran to its end, so that the interpreter does not report it."""
        self.die()
        events._set_running_loop(self)
        try:
            while tasks := asyncio.all_tasks(self):
                for task in tasks:
                    task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio's own switch
                    with contextlib.suppress(RuntimeError):
                        coroutine: Any = task.get_coro()
                        coroutine.close()
                    asyncio.tasks._unregister_task(task)
        finally:
            events._set_running_loop(None)

    # The interface that asyncio uses.

    def time(self) -> float:
        """Return the time of this process's clock."""
        return self._time.now - self.lag

    def call_soon(  # type: ignore[override]  # the one signature that asyncio itself uses
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run a callback in the next turn. Returns its handle."""
        handle = asyncio.Handle(callback, args, self, context)
        if not self.dead:
            self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]  # as above
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run a callback at a moment of this loop's clock. Returns its timer."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if not self.dead:
            heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def call_later(  # type: ignore[override]  # as above
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run a callback after `delay` seconds. Returns its timer."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def create_future(self) -> "asyncio.Future[Any]":
        """Return a new future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]  # as above
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> "asyncio.Task[Any]":
        """Return a new task of this loop."""
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep an error that was not caught."""
        error = context.get("exception")
        if not self.dead and error is not None:
            self.failures.append(f"{context.get('message')}: {error!r}")

    def get_debug(self) -> bool:
        """Return False: there is no debug mode."""
        return False

    def is_running(self) -> bool:
        """Return whether this loop runs now."""
        return events._get_running_loop() is self

    def is_closed(self) -> bool:
        """Return whether the loop's process is dead."""
        return self.dead

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: a cancelled timer is skipped when its moment comes."""
