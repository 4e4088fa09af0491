"""The verdict on growth: quadratic work is found, linear work on a machine that slows down is not blamed."""

import itertools
import re
from collections.abc import Callable, Iterator

import pytest

from tests.fuzz.growth import ALLOWED, ALLOWED_TWICE, ROUNDS, SERIES, STEP, grows, longer, outgrows

KIB = 1024
LIMIT = 16 * KIB
LINEAR, QUADRATIC = STEP, STEP**2
CALM, LOADED = (1.0, 1.0, 1.0), (1.0, 1.0, 5.0)
"""Factors on the costs of a round: of the small input, of the small one again, of the large one."""


def scripted(ratio: float, rounds: Iterator[tuple[float, ...]]) -> Callable[[str], float]:
    """Return a measurement of work that costs `ratio` times as much, under the load of these rounds."""
    factors = itertools.chain.from_iterable(rounds)
    return lambda fed: next(factors) * (1.0 if fed == "small" else ratio)


def verdict(ratio: float, *rounds: tuple[float, ...], allowed: float = ALLOWED) -> bool:
    """Return the verdict on work under the load of these rounds, the last of which goes on."""
    ends = itertools.chain(rounds, itertools.repeat(rounds[-1]))
    return outgrows(scripted(ratio, ends), "small", "large", allowed)


def test_a_search_that_starts_again_inside_is_found() -> None:
    started = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)

    def work(body: bytes) -> object:
        return started.sub(b"", body)

    found = grows(work, lambda size: b'"' + longer(b'\\"', size), LIMIT)
    assert found is not None
    assert "outgrows the size" in found


def summed(body: bytes) -> object:
    """Do linear work."""
    return sum(body)


def test_linear_work_is_let_pass() -> None:
    assert grows(summed, lambda size: longer(b"a", size), LIMIT) is None


def test_a_step_in_the_cost_is_let_pass() -> None:
    def work(body: bytes) -> object:
        return [sum(body) for _ in range(1 if len(body) < 64 * KIB else 50)]

    assert grows(work, lambda size: longer(b"a", size), LIMIT) is None


def test_linear_work_under_load_is_let_pass() -> None:
    assert not verdict(LINEAR, CALM)
    assert not verdict(LINEAR, *[LOADED] * (ROUNDS - 1), CALM)
    assert not verdict(LINEAR, *[LOADED] * ROUNDS, CALM)


def test_costs_of_one_series_are_not_held_against_the_next() -> None:
    fast = (0.1, 0.1, 1.0)
    assert not verdict(LINEAR, *[fast] * ROUNDS, CALM)


@pytest.mark.parametrize("number", range(ROUNDS * SERIES))
def test_quadratic_work_is_found_though_one_round_is_loaded(number: int) -> None:
    rounds = [CALM] * (ROUNDS * SERIES)
    rounds[number] = (1.9, 1.0, 1.9)
    assert verdict(QUADRATIC, *rounds)
    assert verdict(4, *rounds, allowed=ALLOWED_TWICE)


def test_a_cost_below_the_floor_is_not_compared() -> None:
    tiny = (1e-9, 1e-9, 1e-6)
    assert not verdict(QUADRATIC, tiny)
