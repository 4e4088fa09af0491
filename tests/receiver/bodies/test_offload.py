"""Large bodies are read beside the loop, and only so many of them."""

import asyncio
import sys
import threading

import pytest

from receiver.bodies.offload import LIGHT, ROOM, SWITCH, SWITCH_SOON, Offload
from receiver.domain.errors import StoreUnavailable

PATIENCE = 100.0


async def test_a_small_body_is_read_at_once_and_a_large_one_on_a_thread() -> None:
    large = Offload()
    here = threading.get_ident()
    assert await large.read(LIGHT, threading.get_ident) == here
    assert await large.read(LIGHT + 1, threading.get_ident) != here


async def test_an_error_of_reading_is_told() -> None:
    def refuse() -> None:
        raise ValueError("no")

    for size in (1, LIGHT + 1):
        with pytest.raises(ValueError, match="no"):
            await Offload().read(size, refuse)


async def test_the_loop_goes_on_and_what_is_too_much_is_told_to_come_again() -> None:
    large, go_on = Offload(), threading.Event()
    first = asyncio.ensure_future(large.read(ROOM, lambda: go_on.wait(PATIENCE)))
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await large.read(LIGHT + 1, threading.get_ident)
    assert await large.read(LIGHT, threading.get_ident) == threading.get_ident()
    assert await large.run(LIGHT + 1, threading.get_ident) != threading.get_ident()
    go_on.set()
    assert await first
    assert await large.read(LIGHT + 1, threading.get_ident)


async def test_one_body_of_any_size_is_always_read() -> None:
    assert await Offload().read(10 * ROOM, lambda: "read") == "read"


async def test_the_loop_waits_less_for_the_interpreter_while_large_bodies_are_read() -> None:
    large, go_on = Offload(), threading.Event()
    assert sys.getswitchinterval() == pytest.approx(SWITCH)
    both = [asyncio.ensure_future(large.read(LIGHT + 1, lambda: go_on.wait(PATIENCE))) for _ in range(2)]
    await asyncio.sleep(0)
    assert sys.getswitchinterval() == pytest.approx(SWITCH_SOON)
    await large.read(LIGHT, threading.get_ident)
    assert sys.getswitchinterval() == pytest.approx(SWITCH_SOON)
    go_on.set()
    assert await asyncio.gather(*both) == [True, True]
    assert sys.getswitchinterval() == pytest.approx(SWITCH)
