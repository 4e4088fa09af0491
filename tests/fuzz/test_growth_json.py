"""The readers of JSON: each takes time in proportion to the body, for any content."""

from collections.abc import Callable

import pytest

from handlers import json
from receiver.api.jobs import read_wish
from receiver.bodies.large_json import unpack
from tests.fuzz.growth import JSON_UNITS, grows, longer

KIB = 1024
LIMIT = 16 * KIB
OPENINGS = ("", "[", '["', "[" * 65 + '"', '{"input":{"a":["')
ENDINGS = ("", '"]')


def strictly(body: bytes) -> object:
    """Read a body with the strict reader."""
    return json.read(body)


def as_request(body: bytes) -> object:
    """Read a body as a request for a job."""
    return read_wish(body, content_type="application/json")


def as_input(body: bytes) -> object:
    """Read a body as a stored input: its values are not counted again."""
    return unpack(body, stored=True)


READERS: tuple[Callable[[bytes], object], ...] = (strictly, json.forgive, as_request, as_input)


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_a_body_costs_in_proportion(read: Callable[[bytes], object], opening: str) -> None:
    for unit in JSON_UNITS:
        for ending in ENDINGS:

            def make(size: int, unit: str = unit, ending: str = ending) -> bytes:
                return (opening + longer(unit, size) + ending).encode()

            assert grows(read, make, LIMIT) is None


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_two_kinds_in_turn_cost_in_proportion(read: Callable[[bytes], object]) -> None:
    for first in ('"a",', '\\"', "[", " ", "9"):
        for second in ('"', "\\", "],", ",", "\\u00e9"):

            def make(size: int, first: str = first, second: str = second) -> bytes:
                half = longer(first, size // 2)
                return ("[" * 65 + '"' + half + longer(second, size // 2) + half).encode()

            assert grows(read, make, LIMIT) is None
