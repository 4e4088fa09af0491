"""The growth of a reader's cost with its input: ratios of processor time within one run."""

import gc
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

Fed = TypeVar("Fed", str, bytes)

SMALLEST = 512
STEP = 8
ALLOWED = 32
"""The allowed ratio of costs: between those of linear work (8) and quadratic work (64)."""
ALLOWED_TWICE = 3
"""The same for twice the size: linear work gives 2, quadratic work 4."""
FLOOR = 0.0005
"""Seconds of processor time below which costs cannot be compared."""
ROUNDS = 3
"""Number of rounds of a series. Each measures both sizes, so a machine that slows down slows both."""
SERIES = 6
"""Number of series that must find a ratio too large: each begins anew, with no cost of the one before it.

A host that takes the processor away adds to the time of a thread, so that one series alone proves nothing.
"""

JSON_UNITS = (
    *('"', '\\"', "\\\\", "\\u0041", "\\ud83d", "\\", "[", "]", "{", "}", "[]", "[[]],", '{"a":', "],["),
    *(",", ":", " ", "\n", "-", ".", "9", "9,", "1e9,", "A", "\u00e9", "\U0001f600", "\x00"),
    *('"",', '"\\\\",', '"a":0,', "{},", '{"":0},', "null,", '\\\\"', '"a",'),
)
TEXT_UNITS = (
    *('"', "\\", "[", "]", "{", ",", ":", ";", ".", "-", "=", "/", "?", "&", "#", "%41", " ", "\t", "\n"),
    *("0", "1.", "A", "Az", "\u00e9", "\u202e", "\x00", "v1,", "v1,A ", "sha256=", "a=b;", "http://", "a@"),
    *("+json", "/callbacks/", "/assets/", "Bearer ", "whsec_", "rb_", "wait=", ", wait", "a.b.", "_", "::"),
)
"""Repeated texts. Each has a place in some grammar where a search may start again."""


def longer(unit: Fed, size: int) -> Fed:
    """Return `unit` repeated to about `size`."""
    return unit * (size // len(unit) + 1)


def cost(work: Callable[[Fed], object], fed: Fed) -> float:
    """Return the seconds of this thread's processor time for `work` on `fed`, refusals included."""
    started = time.thread_time()
    with suppress(Exception):
        work(fed)
    return time.thread_time() - started


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector, which walks over all objects, out of the measurement."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def outgrows(measured: Callable[[Fed], float], small: Fed, large: Fed, allowed: float) -> bool:
    """Return whether `large` costs more than `allowed` times as much as `small`, by every series."""
    return all(_outgrows_once(measured, small, large, allowed) for _ in range(SERIES))


def _outgrows_once(measured: Callable[[Fed], float], small: Fed, large: Fed, allowed: float) -> bool:
    """Return whether the least cost of `large` exceeds that of `small`, each of all rounds of a series.

    Load only adds to a cost, so the least of several is near the true one for both sizes. A ratio that is far
    below the allowed one needs no further round.
    """
    below = above = math.inf
    for _ in range(ROUNDS):
        below = min(below, measured(small), measured(small))
        above = min(above, measured(large))
        if above <= allowed / 2 * max(below, FLOOR):
            return False
    return above > allowed * max(below, FLOOR)


def grows(work: Callable[[Fed], object], make: Callable[[int], Fed], limit: int) -> str | None:
    """Return a sentence if `work` on `make(size)` costs more than in proportion, else None.

    A reader may change its method at some size and cost more from there on, so one step is allowed: the cost
    must outgrow the size twice in a row.
    """
    measured = partial(cost, work)
    with _uncollected():
        for size in sizes(limit):
            small = make(size)
            if measured(small) < FLOOR or measured(small) < FLOOR:
                continue
            large = make(size * STEP)
            if not outgrows(measured, small, large, ALLOWED):
                return None
            if outgrows(measured, large, make(size * STEP * 2), ALLOWED_TWICE):
                return f"the cost outgrows the size from {size} bytes of {small[:80]!r} on"
            return None
    return None


def sizes(limit: int) -> Iterable[int]:
    """Return the sizes to try, each four times the one before."""
    return itertools.takewhile(lambda size: size <= limit, (SMALLEST * 4**step for step in itertools.count()))
