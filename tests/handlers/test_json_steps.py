"""Large bodies: they are read in many short steps, with the same values as in one step."""

import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import json
from tests.bench.bodies import SHAPES
from tests.handlers.strategies import JSON, LIMITED
from tests.handlers.test_forgiving import FORGIVEN
from tests.handlers.test_json import LONE, NUMBERS, REFUSED

MIB = 1024 * 1024
READERS: tuple[Callable[[bytes], Any], ...] = (json.read, json.forgive)
SPELLED = st.lists(
    st.sampled_from(
        [b"[", b"]", b"{", b"}", b'"', b"\\", b",", b":", b"1", b"a", b"\xc3\xa9", b"\xf0\x9f", b" "]
    )
).map(b"".join)
BODIES = (*REFUSED.values(), *(body for body, _ in FORGIVEN.values()), *(f'"{one}"'.encode() for one in LONE))


def outcome(read: Callable[[bytes], Any], body: bytes) -> Any:
    """Return the value that a reader makes of a body as text, or `refused` for any `BadJson`."""
    try:
        return repr(read(body))
    except json.BadJson:
        return "refused"


@pytest.fixture
def in_steps(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[bytes], Any], bytes], Any]:
    """Return a function that reads a body as a large one, in pieces of a few bytes, for its outcome."""

    def told(read: Callable[[bytes], Any], body: bytes) -> Any:
        with monkeypatch.context() as patch:
            for name, value in {"LIGHT": -1, "AT_ONCE": -1, "PIECE": 3}.items():
                patch.setattr(json, name, value)
            return outcome(read, body)

    return told


@pytest.mark.parametrize("read", READERS)
def test_steps_change_no_meaning(read: Callable[[bytes], Any], in_steps: Callable[..., Any]) -> None:
    for body in BODIES:
        for one in (body, b"[1," + body + b"]", b'{"a":' + body + b"}", b"[" * 65 + body + b"]" * 65):
            assert in_steps(read, one) == outcome(read, one), one


@pytest.mark.parametrize(
    "number", [*NUMBERS.values(), b"[1.\xd9\xa3]", b"[1\xd9\xa3]", b"[1e\xd9\xa3]", b"[-0]"]
)
def test_steps_take_the_same_numbers(number: bytes, in_steps: Callable[..., Any]) -> None:
    for read in READERS:
        assert in_steps(read, number) == outcome(read, number)


@LIMITED
@given(JSON.map(json.write) | SPELLED)
def test_any_bytes_mean_the_same_in_steps(body: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        before = [outcome(read, body) for read in READERS]
        for name, value in {"LIGHT": -1, "AT_ONCE": -1, "PIECE": 3}.items():
            patch.setattr(json, name, value)
        assert [outcome(read, body) for read in READERS] == before


@pytest.mark.parametrize("cut", range(2, 12))
def test_a_string_ends_where_it_ends_however_the_pieces_fall(
    cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b"[" * 3 + b'"a\\",[,","\\\\",[],",\\"' + b"," * 20 + b'",{},"unended\\",,'
    whole = b"".join(json._between_strings(body))
    monkeypatch.setattr(json, "PIECE", cut)
    assert b"".join(json._between_strings(body)) == whole == b"[[[,,[],,{},"


class Watched:
    """A pattern that records the number of bytes of each search."""

    def __init__(self, pattern: re.Pattern[bytes], seen: list[int]) -> None:
        self._pattern = pattern
        self._seen = seen

    def sub(self, new: bytes, data: bytes, count: int = 0) -> bytes:
        self._seen.append(len(data))
        return self._pattern.sub(new, data, count)

    def subn(self, new: bytes, data: bytes, count: int = 0) -> tuple[bytes, int]:
        self._seen.append(len(data))
        return self._pattern.subn(new, data, count)

    def match(self, data: bytes, start: int = 0, end: int = sys.maxsize) -> re.Match[bytes] | None:
        self._seen.append(min(end, len(data)) - start)
        return self._pattern.match(data, start, end)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_search_looks_at_more_than_a_piece(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    for name, value in list(vars(json).items()):
        if isinstance(value, re.Pattern):
            monkeypatch.setattr(json, name, Watched(value, seen))
    for read in READERS:
        outcome(read, b'{"a":' + SHAPES[shape](4 * MIB) + b"}")
    assert max(seen, default=0) <= json.PIECE


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "value",
    [[0] * 90_000, ["a" * 20] * 90_000, {f"k{number}": 0 for number in range(90_000)}, [[1.5]] * 45_000],
    ids=["numbers", "texts", "names", "lists"],
)
def test_many_values_are_many_steps(read: Callable[[bytes], Any], value: Any) -> None:
    body, steps = json.write({"a": value}), 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal steps
        steps += event == "call"

    sys.setprofile(count)
    try:
        found = read(body)
    finally:
        sys.setprofile(None)
    assert found == {"a": value}
    assert steps > 90_000 // json.AT_ONCE * 100


def test_what_surely_outgrows_a_limit_does() -> None:
    values: list[Any] = [["a"] * 100, {f"k{n}": 0 for n in range(100)}, "x" * 300, 10**1000, [[]] * 200]
    for value in values:
        assert json.outgrows(value, 200)
        assert not json.outgrows(value, 200_000)


@LIMITED
@given(JSON, st.integers(0, 60))
def test_what_fits_never_outgrows(value: Any, limit: int) -> None:
    size = len(json.write(value))
    assert not json.outgrows(value, size)
    if json.outgrows(value, limit):
        assert size > limit
