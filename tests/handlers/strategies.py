"""Unexpected values: the hypothesis strategies that feed the handlers' functions, and their bounds."""

import functools
import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

LIMITED = settings(max_examples=12, deadline=None, derandomize=True, database=None)

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
SMALL = st.none() | NUMBERS | st.text(max_size=20) | st.lists(st.text(max_size=5), max_size=2)
OBJECTS = st.dictionaries(st.text(max_size=8), JSON, max_size=6)

DEEP: Any = "https://deep.example/x.mp4"
for _ in range(50):
    DEEP = {"video": [DEEP]}
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 40, 1e308, -1e308, 5e-324, 2**63, -(2**63), 10**400, 0.5, 100.0000001,
    "", " ", "0", "-1", "nan", "inf", "-inf", "1e999", "40%", "40 %", "%", "١٢", "1_000", "true", "null",
    "\x00", "\n", "\ud7ff", "\ufeff", "\U0001f600", "x" * 10_000, "success", "FINISHED", "failed",
    "https://", "https://[", "https://x\n.example", "http://cdn.example/ä.mp4", "//evil.example", "/../..",
    "https://cdn.example/a?exp=99999999999999999999", "https://cdn.example/a?exp=-1&exp=x", "javascript:1",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-13-01", "2026-11-01",
    [], {}, [[]], [{}], [None], {"": ""}, {"code": 10**400}, {"message": ["x"]}, {"message": {"message": 1}},
    [{"url": "https://cdn.example/a"}], ["https://cdn.example/a", None, 1], {"url": {}}, DEEP,
)  # fmt: skip
"""Values that have misled a reader."""


def places(body: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in `body`, including the whole of it."""
    inner = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    return [path, *(place for name, value in inner for place in places(value, (*path, name)))]


def replaced(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return `body` with another value at `path`."""
    if not path:
        return value
    inner = replaced(body[path[0]], path[1:], value)
    if isinstance(body, dict):
        return body | {path[0]: inner}
    return [inner if index == path[0] else old for index, old in enumerate(body)]


@st.composite
def mutated(draw: st.DrawFn, bodies: tuple[bytes, ...]) -> bytes:
    """Return one of `bodies` with one or two of its values replaced."""
    body = json.loads(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(places(body)))
        body = replaced(body, path, draw(SMALL))
    return json.dumps(body).encode()


def named(body: Any) -> set[str]:
    """Return the names of all fields in `body`."""
    if isinstance(body, list):
        return {name for inner in body for name in named(inner)}
    if isinstance(body, dict):
        return set(body) | {name for inner in body.values() for name in named(inner)}
    return set()


@functools.cache
def invented(bodies: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """Return a strategy for bodies of any structure, with the field names of `bodies`.

    To make it takes longer than to draw from it.
    """
    names = sorted({name for body in bodies for name in named(json.loads(body))})
    odd = st.sampled_from(ODD)
    word = st.sampled_from(names)
    inner = st.dictionaries(word, odd, max_size=3)
    told = st.dictionaries(word, odd | st.lists(odd | inner, max_size=2) | inner, max_size=4)
    return told.map(lambda body: json.dumps(body).encode())
